package clickhouse

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"waymark/tracker"
	"waymark/tracker/wire"
)

// markovByHand attributes by removal effects: it walks the chain with each key
// removed, step by step, until next to nothing is under way.
func markovByHand(journeys []journey, by string) map[string]share {
	all := map[string]share{}
	steps := map[string]map[string]float64{}
	step := func(from, to string) {
		if steps[from] == nil {
			steps[from] = map[string]float64{}
		}
		steps[from][to]++
	}
	var total share
	for _, j := range journeys {
		value, _ := j.value.Float64()
		keys := keysOf(j, by)
		if len(keys) == 0 {
			if j.converted {
				all["(direct)"] = share{all["(direct)"].conversions + 1, all["(direct)"].value + value}
			}
			continue
		}
		at := "start"
		for _, key := range keys {
			step(at, "key "+key)
			at = "key " + key
		}
		if j.converted {
			total = share{total.conversions + 1, total.value + value}
			step(at, "converted")
		} else {
			step(at, "lost")
		}
	}
	whole, effects, sum := walk(steps, ""), map[string]float64{}, 0.0
	for state := range steps {
		if key, ok := strings.CutPrefix(state, "key "); ok && whole > 0 {
			effects[key] = (whole - walk(steps, state)) / whole
			sum += effects[key]
		}
	}
	for key, effect := range effects {
		all[key] = share{effect / sum * total.conversions, effect / sum * total.value}
	}
	return all
}

// walk is the probability to convert when nobody gets beyond the removed
// state.
func walk(steps map[string]map[string]float64, removed string) float64 {
	at, converted := map[string]float64{"start": 1}, 0.0
	for under := 1.0; under > 1e-14; {
		next := map[string]float64{}
		for state, p := range at {
			leaving := 0.0
			for _, n := range steps[state] {
				leaving += n
			}
			for to, n := range steps[state] {
				switch {
				case to == removed || to == "lost":
				case to == "converted":
					converted += p * n / leaving
				default:
					next[to] += p * n / leaving
				}
			}
		}
		at, under = next, 0
		for _, p := range at {
			under += p
		}
	}
	return converted
}

// chainOf makes the chain of journeys given by their keys: path → conversions,
// losses.
func chainOf(paths map[string][2]float64) *chain {
	c := newChain()
	for path, ends := range paths {
		keys := strings.Split(path, ">")
		journeys := ends[0] + ends[1]
		c.starts[c.state(keys[0])] += journeys
		for i := 1; i < len(keys); i++ {
			c.steps[[2]int{c.state(keys[i-1]), c.state(keys[i])}] += journeys
		}
		c.converted[c.state(keys[len(keys)-1])] += ends[0]
		c.lost[c.state(keys[len(keys)-1])] += ends[1]
	}
	return c
}

// Worked examples that others have published.
func TestMarkovAgainstPublishedExamples(t *testing.T) {
	for name, example := range map[string]struct {
		paths map[string][2]float64
		want  map[string]float64 // shares
	}{
		// http://analyzecore.com/2016/08/03/attribution-model-r-part-1/: one of
		// three journeys converts; removal effects 0.5, 1 and 1.
		"analyzecore": {
			map[string][2]float64{"C1>C2>C3": {1, 0}, "C1": {0, 1}, "C2>C3": {0, 1}},
			map[string]float64{"C1": 0.2, "C2": 0.4, "C3": 0.4},
		},
		// https://serhiipuzyrov.com/2019/07/markov-chain-attribution-simple-explanation-of-removal-effect/:
		// 0.8 convert, 0.2 without google ads, 0.4 without mailing: effects 0.75 and 0.5.
		"puzyrov": {
			map[string][2]float64{"google ads": {2, 1}, "mailing": {1, 0}, "google ads>mailing": {1, 0}},
			map[string]float64{"google ads": 0.6, "mailing": 0.4},
		},
		// Loops of a key to itself change the chain, not the effects:
		// https://stats.stackexchange.com/questions/381305/markov-chain-and-removal-effect
		"loops": {
			map[string][2]float64{"C1>C1>C2>C2>C2>C3": {1, 0}, "C1": {0, 1}, "C2>C2>C3>C3": {0, 1}},
			map[string]float64{"C1": 0.2, "C2": 0.4, "C3": 0.4},
		},
	} {
		c := chainOf(example.paths)
		shares, err := c.shares()
		if err != nil {
			t.Fatal(err)
		}
		for i, key := range c.keys {
			if math.Abs(shares[i]-example.want[key]) > 1e-12 {
				t.Errorf("%s: %s gets %v, want %v", name, key, shares[i], example.want[key])
			}
		}
	}
}

func TestMarkovAgainstWalks(t *testing.T) {
	random := rand.New(rand.NewPCG(4, 4))
	for range 30 {
		paths, steps := map[string][2]float64{}, map[string]map[string]float64{}
		for range 1 + random.IntN(60) {
			var keys []string
			for range 1 + random.IntN(6) {
				keys = append(keys, fmt.Sprint("k", random.IntN(9)))
			}
			ends := paths[strings.Join(keys, ">")]
			end := random.IntN(2)
			ends[end]++
			paths[strings.Join(keys, ">")] = ends
			states := slices.Concat([]string{"start"}, keys, []string{[]string{"converted", "lost"}[end]})
			for i := 1; i < len(states); i++ {
				if steps[states[i-1]] == nil {
					steps[states[i-1]] = map[string]float64{}
				}
				steps[states[i-1]][states[i]]++
			}
		}
		c := chainOf(paths)
		shares, err := c.shares()
		if err != nil {
			t.Fatal(err)
		}
		sum, effects := 0.0, make([]float64, len(c.keys))
		for i, key := range c.keys {
			effects[i] = walk(steps, "") - walk(steps, key)
			sum += effects[i]
		}
		for i, share := range shares {
			if math.Abs(share-effects[i]/sum) > 1e-9 {
				t.Errorf("%v: %s gets %v, walks say %v", paths, c.keys[i], share, effects[i]/sum)
			}
		}
	}
}

// Beyond a number of hits the journeys that did not convert are estimated from
// the sample: shares differ by its error, conversions and their sum not at all.
func TestMarkovFromSample(t *testing.T) {
	const visitors = 16_000
	random := rand.New(rand.NewPCG(4, 16))
	channels := []string{"email", "qr", "social"}
	block := &tracker.Block{Token: "markov", Source: 3}
	add := func(e *wire.Event) {
		e.Program, e.TimeMs = "general", uint64(1_780_000_000_000+len(block.Rows)*1000)
		block.Rows = append(block.Rows, tracker.Row{Offset: int64(len(block.Rows)), Event: e})
	}
	buyers := 0.0
	for v := range visitors {
		id, odds := uint64(v+1)*0x9E3779B97F4A7C15, 0
		for range 1 + random.IntN(3) {
			channel := random.IntN(len(channels))
			odds += channel
			add(&wire.Event{Event: "click", Stage: "clicked", Channel: channels[channel], VisitorId: id})
		}
		if random.IntN(12) < odds {
			buyers++
			add(&wire.Event{Event: "purchase", Stage: "converted", VisitorId: id, Id: fmt.Sprint(v), Value: "1"})
		}
	}
	db := openTestDB(t)
	insertAll(t, db, []*tracker.Block{block})
	ask := func() *tracker.Report {
		answer, err := db.Report(testContext(t), tracker.ReportQuery{Name: "attribution", Model: "markov"})
		if err != nil {
			t.Fatal(err)
		}
		return answer
	}
	exact := ask()
	db.exactHits = visitors / 2
	estimate := ask()
	if exact.Extra["visitors_estimated"] != nil || estimate.Extra["visitors_estimated"] == nil {
		t.Errorf("extras %v and %v", exact.Extra, estimate.Extra)
	}
	total := 0.0
	for i, row := range estimate.Rows {
		got, want := row[1].(float64), exact.Rows[i][1].(float64)
		total += got
		if row[0] != exact.Rows[i][0] || math.Abs(got/want-1) > 4*math.Sqrt(15./visitors) {
			t.Errorf("%v gets about %v, exactly %v gets %v", row[0], got, exact.Rows[i][0], want)
		}
	}
	if math.Abs(total-buyers) > 1e-6 {
		t.Errorf("%v conversions in all, want %v", total, buyers)
	}
}
