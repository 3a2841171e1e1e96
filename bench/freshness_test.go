package main

import (
	"math"
	"math/rand/v2"
	"testing"
)

func TestQuantileIsTheNearestRank(t *testing.T) {
	hundred := make([]float64, 100)
	for i := range hundred {
		hundred[(i*37)%100] = float64(i + 1) // 1 to 100, shuffled
	}
	for q, want := range map[float64]float64{0: 1, 0.5: 50, 0.505: 51, 0.99: 99, 1: 100} {
		if got := quantile(hundred, q); got != want {
			t.Errorf("quantile %v: got %v, want %v", q, got, want)
		}
	}
	if got := quantile(nil, 0.5); got != 0 {
		t.Errorf("of nothing: got %v, want 0", got)
	}
}

func TestRepeatsAgreeWithDrawing(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	const n, set = 3000, 10_000
	mean := 0.0
	for range 50 {
		drawn := map[int]bool{}
		for range n {
			drawn[random.IntN(set)] = true
		}
		mean += float64(n-len(drawn)) / 50
	}
	if got := repeats(n, set); math.Abs(got-mean) > 0.05*mean {
		t.Errorf("got %.1f, drawing gives %.1f", got, mean)
	}
}
