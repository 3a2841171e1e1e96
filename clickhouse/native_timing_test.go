package clickhouse

import (
	"fmt"
	"testing"

	client "github.com/ClickHouse/clickhouse-go/v2/lib/column"

	"waymark/tracker"
)

// BenchmarkNativeBlock turns rows into the client's columns: what an insert costs
// outside of ClickHouse, but for the sending.
func BenchmarkNativeBlock(b *testing.B) {
	for _, rows := range []int{1_000, 10_000, 100_000} {
		b.Run(fmt.Sprintf("rows=%d", rows), func(b *testing.B) {
			world := newWorld(1, rows)
			block := &tracker.Block{Source: 1, From: 0, To: int64(rows)}
			for i := range rows {
				block.Rows = append(block.Rows, tracker.Row{Offset: int64(i), Event: world.events[i]})
			}
			b.ReportAllocs()
			for b.Loop() {
				native := eventsTable.blocks.Get().(*nativeBlock)
				native.fill(block)
				if err := native.handOver(clientColumns(b), rows); err != nil {
					b.Fatal(err)
				}
				native.free()
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(rows), "ns/row")
		})
	}
}

func clientColumns(b *testing.B) []client.Interface {
	columns := make([]client.Interface, len(eventColumns))
	for i, c := range eventColumns {
		var err error
		if columns[i], err = client.Type(c.kind).Column(c.name, new(client.ServerContext)); err != nil {
			b.Fatal(err)
		}
	}
	return columns
}
