package fault

import (
	"math/rand/v2"
	"sync"
)

// chance decides what is hit. It is safe for concurrent use; what one caller
// gets then depends on the others' timing, so a seed repeats the decisions and
// not what they are about.
type chance struct {
	share float64
	mu    sync.Mutex
	rng   *rand.Rand
}

func newChance(share float64, seed uint64) *chance {
	return &chance{share: share, rng: rand.New(rand.NewPCG(seed, 0))}
}

// hits is true for a share (0 to 1) of the calls.
func (c *chance) hits() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.rng.Float64() < c.share
}

// below is a number from 0 to n-1.
func (c *chance) below(n int) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.rng.IntN(n)
}
