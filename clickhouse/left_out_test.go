package clickhouse

import (
	"slices"
	"testing"

	"waymark/tracker"
)

func TestLeftOut(t *testing.T) {
	db := openTestDB(t)
	leave := func(source uint32, partition int32, runs ...tracker.OffsetRun) {
		t.Helper()
		if err := db.LeaveOut(testContext(t), tracker.Place{Source: source, Partition: partition}, runs); err != nil {
			t.Fatal(err)
		}
	}
	leave(7, 1, tracker.OffsetRun{From: 10, To: 12}, tracker.OffsetRun{From: 20, To: 21})
	leave(7, 1, tracker.OffsetRun{From: 10, To: 12}, tracker.OffsetRun{From: 20, To: 21}) // a replay
	leave(7, 1, tracker.OffsetRun{From: 21, To: 30})
	leave(7, 2, tracker.OffsetRun{From: 0, To: 1000})
	leave(8, 1, tracker.OffsetRun{From: 0, To: 1000})
	for _, c := range []struct {
		from, to int64
		want     []tracker.OffsetRun
	}{
		{0, 100, []tracker.OffsetRun{{From: 10, To: 12}, {From: 20, To: 30}}},
		{11, 25, []tracker.OffsetRun{{From: 11, To: 12}, {From: 20, To: 25}}},
		{12, 20, nil},
		{30, 100, nil},
	} {
		got, err := db.LeftOut(testContext(t), tracker.Place{Source: 7, Partition: 1}, c.from, c.to)
		if err != nil || !slices.Equal(got, c.want) {
			t.Errorf("offsets %d to %d: %v %v, want %v", c.from, c.to, got, err, c.want)
		}
	}
}
