package rewards

import (
	"fmt"
	"slices"
	"testing"
)

func BenchmarkCalculate(b *testing.B) {
	terms := terms(b, everything)
	for _, size := range []int{1_000, 100_000} {
		var all []*Fact
		for i := range size {
			f := fact(fmt.Sprintf("purchase o:%d 2026-03-01 u%d by s%d value 7", i, i/3, i%50))
			f.Time = f.Time.AddDate(0, 0, i%300)
			all = append(all, f)
		}
		b.Run(fmt.Sprintf("facts=%d", size), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				Calculate(terms, slices.Clone(all))
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(size), "ns/fact")
		})
	}
}
