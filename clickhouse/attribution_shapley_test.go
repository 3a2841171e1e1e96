package clickhouse

import (
	"fmt"
	"math"
	"math/bits"
	"testing"
	"time"

	"waymark/tracker"
	"waymark/tracker/wire"
)

// shapleyByHand is the Shapley value by its definition: over all sets without
// the key, what it adds to the set, weighted by |S|! (n − |S| − 1)! / n!. A set is
// worth the journeys whose keys all lie in it.
func shapleyByHand(journeys map[uint]float64, n int) []float64 {
	worth := func(set uint) float64 {
		total := 0.0
		for keys, conversions := range journeys {
			if keys&^set == 0 {
				total += conversions
			}
		}
		return total
	}
	factorial := func(k int) float64 { return math.Round(math.Gamma(float64(k) + 1)) }
	values := make([]float64, n)
	for set := range uint(1) << n {
		size, alone := bits.OnesCount(set), worth(set)
		for key := range n {
			if set&(1<<key) == 0 {
				values[key] += factorial(size) * factorial(n-size-1) / factorial(n) * (worth(set|1<<key) - alone)
			}
		}
	}
	return values
}

// The classic glove game checks the definition above: a left glove and one of
// two right ones are worth 1, in sets that together also take 1 away.
func TestShapleyByHand(t *testing.T) {
	got := shapleyByHand(map[uint]float64{0b011: 1, 0b101: 1, 0b111: -1}, 3)
	for i, want := range []float64{2. / 3, 1. / 6, 1. / 6} {
		if math.Abs(got[i]-want) > 1e-12 {
			t.Errorf("player %d gets %v, want %v", i, got[i], want)
		}
	}
}

// Twelve channels, journeys over random sets of them, through the database:
// the closed form of the view is the Shapley value.
func TestShapleyAgainstDefinition(t *testing.T) {
	const channels, journeys = 12, 150
	db := openTestDB(t)
	world := newWorld(12, 0)
	base := uint64(time.Date(2026, 5, 1, 0, 0, 0, 0, time.UTC).UnixMilli())
	sets := map[uint]float64{}
	var rows []tracker.Row
	add := func(e *wire.Event) {
		e.Program = "general"
		rows = append(rows, tracker.Row{Offset: int64(len(rows)), Event: e})
	}
	for i := range journeys {
		set, visitor := uint(0), 1<<50+uint64(i)
		for step := range 1 + world.random.IntN(8) {
			channel := world.random.IntN(channels)
			set |= 1 << channel
			add(&wire.Event{Event: "click", Stage: "clicked", TimeMs: base + uint64(i*100+step), Link: uint32(channel + 1), Channel: fmt.Sprint("channel ", channel), VisitorId: visitor})
		}
		sets[set]++
		add(&wire.Event{Event: "purchase", Stage: "converted", TimeMs: base + uint64(i*100) + 50, VisitorId: visitor, Id: fmt.Sprint(i), Value: "1"})
	}
	insertAll(t, db, []*tracker.Block{{Token: "s", Rows: rows}})
	got, err := db.Report(testContext(t), tracker.ReportQuery{Name: "attribution", Model: "shapley"})
	if err != nil {
		t.Fatal(err)
	}
	want := shapleyByHand(sets, channels)
	if len(got.Rows) != channels {
		t.Errorf("%d channels, want %d", len(got.Rows), channels)
	}
	for _, row := range got.Rows {
		var channel int
		if _, err := fmt.Sscanf(row[0].(string), "channel %d", &channel); err != nil {
			t.Fatal(err)
		}
		if math.Abs(row[1].(float64)-want[channel]) > 1e-9 {
			t.Errorf("%s gets %v, want %v", row[0], row[1], want[channel])
		}
	}
}
