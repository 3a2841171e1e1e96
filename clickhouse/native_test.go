package clickhouse

import (
	"fmt"
	"maps"
	"slices"
	"testing"

	"waymark/tracker"
	"waymark/tracker/wire"
)

// The width of a number in a LowCardinality column follows from how many texts
// there are, with the empty one; each side of each border must come back.
func TestKeywordsOfEveryWidth(t *testing.T) {
	db := openTestDB(t)
	for _, different := range []int{1, 2, 254, 255, 256, 257, 65_535, 65_536, 65_537} {
		t.Run(fmt.Sprint(different), func(t *testing.T) {
			block := &tracker.Block{Token: fmt.Sprint(different), Source: uint32(different)}
			for i := range different + 3 {
				city := fmt.Sprint("city ", i%different)
				if i == 1 {
					city = ""
				}
				block.Rows = append(block.Rows, tracker.Row{Offset: int64(i), Event: &wire.Event{
					Event: "click", Stage: "clicked", TimeMs: 1_789_999_999_000, City: city,
				}})
			}
			if err := db.InsertBlock(testContext(t), block); err != nil {
				t.Fatal(err)
			}
			got := ask(t, db, fmt.Sprintf("SELECT count(), countIf(city = if(offset = 1, '', concat('city ', toString(offset %% %[1]d)))) FROM waymark.events WHERE source = %[1]d", different))
			if want := fmt.Sprint(different+3, " ", different+3); got[0] != want {
				t.Errorf("rows and rows with their city: got %s, want %s", got[0], want)
			}
		})
	}
}

// Lists of any length beside each other, over the border between two strides.
func TestListsOfEveryLength(t *testing.T) {
	db := openTestDB(t)
	const rows = 2*nativeStride + 7
	var want []string
	block := &tracker.Block{Token: "lists", Source: 1}
	for i := range rows {
		e := &wire.Event{Event: "lead", TimeMs: 1_789_999_999_000, Properties: map[string]string{}}
		var links []uint32
		for n := range i % 4 {
			e.Touches = append(e.Touches, &wire.Touch{Link: uint32(i + n), TimeMs: uint64(i * n), Channel: fmt.Sprint("c", n)})
			links = append(links, uint32(i+n))
			e.Properties[fmt.Sprint("k", n)] = fmt.Sprint("v", i)
		}
		keys := slices.Sorted(maps.Keys(e.Properties))
		want = append(want, fmt.Sprintf("%v %v %v", links, keys, e.Properties))
		block.Rows = append(block.Rows, tracker.Row{Offset: int64(i), Event: e})
	}
	if err := db.InsertBlock(testContext(t), block); err != nil {
		t.Fatal(err)
	}
	got := ask(t, db, "SELECT touches.link, mapKeys(properties), properties FROM waymark.events ORDER BY offset")
	if !slices.Equal(got, want) {
		for i := range want {
			if i >= len(got) || got[i] != want[i] {
				t.Fatalf("row %d of %d: got %q, want %q", i, len(got), got[min(i, len(got)-1)], want[i])
			}
		}
	}
	times := ask(t, db, "SELECT sum(arraySum(x -> toUnixTimestamp64Milli(x), touches.time)), countIf(touches.channel != arrayMap(n -> concat('c', toString(n)), range(offset % 4))) FROM waymark.events")
	sum := 0
	for i := range rows {
		for n := range i % 4 {
			sum += i * n
		}
	}
	if want := fmt.Sprint(sum, " 0"); times[0] != want {
		t.Errorf("sum of times and rows with wrong channels: got %s, want %s", times[0], want)
	}
}
