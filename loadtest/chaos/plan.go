package main

import (
	"cmp"
	"context"
	"fmt"
	"hash/fnv"
	"io"
	"math/rand/v2"
	"slices"
	"time"
)

// kind is one kind of fault: a way to hurt an installation.
type kind struct {
	name string
	on   []topology
	what string // for people
	// draw decides what exactly is done, and when it is over. It does nothing yet.
	draw func(r *round, random *rand.Rand) action
	// rare kinds are drawn once in so many times, unless they were asked for by name;
	// 0: as often as any.
	rare  int
	named bool
}

// action is a fault of some kind with all its choices made.
type action struct {
	detail string
	// holds are the things that nobody else may hurt while it lasts, keeps those
	// that nobody else may hurt in the whole round.
	holds, keeps []string
	// lasts is how long it may take beyond the usual, so that load flows as long.
	lasts time.Duration
	do    func(context.Context) error
}

// step is an action and when it begins, from the start of the load.
type step struct {
	kind *kind
	at   time.Duration
	action
}

func (s step) String() string {
	return fmt.Sprintf("%s (%s) at %v", s.kind.name, s.detail, s.at.Round(time.Millisecond))
}

// plan is what happens in a round. A seed makes the same plan every time; what
// the processes make of it depends on the machine as well.
type plan struct {
	kinds    []*kind
	at       []time.Duration
	choices  []uint64 // seeds of the choices of each
	rate     float64
	duration time.Duration
}

// stepsMax is how many faults meet in a round at most.
const stepsMax = 3

// newPlan draws which faults meet and when. Each kind has random numbers of its
// own, made of the seed and its name, and those with the smallest first number are
// taken: so a round stays what it was when the table of kinds grows by one that it
// does not take. The choices within each are drawn later, since they depend on the
// installation.
func newPlan(seed uint64, table []*kind, rate float64, duration time.Duration) plan {
	type candidate struct {
		*kind
		rank   uint64
		random *rand.Rand
	}
	var candidates []candidate
	for _, k := range table {
		name := fnv.New64a()
		io.WriteString(name, k.name)
		random := rand.New(rand.NewPCG(seed, name.Sum64()))
		rank := random.Uint64()
		left := k.rare > 0 && random.IntN(k.rare) > 0
		if left && !k.named || !slices.Contains(k.on, topologyOf(seed)) {
			continue
		}
		candidates = append(candidates, candidate{k, rank, random})
	}
	slices.SortFunc(candidates, func(a, b candidate) int { return cmp.Compare(a.rank, b.rank) })
	count := 1 + rand.New(rand.NewPCG(seed, 0)).IntN(stepsMax)
	p := plan{rate: rate, duration: duration}
	for _, c := range candidates[:min(count, len(candidates))] {
		p.kinds = append(p.kinds, c.kind)
		// Late enough that there is something to lose, early enough that there is
		// something after it.
		p.at = append(p.at, duration/20+time.Duration(c.random.Int64N(int64(duration*7/10))))
		p.choices = append(p.choices, c.random.Uint64())
	}
	return p
}

// steps makes the choices. A fault that would hurt what another keeps is left
// out.
func (p plan) steps(r *round) []step {
	var steps []step
	for i, f := range p.kinds {
		s := step{f, p.at[i], f.draw(r, rand.New(rand.NewPCG(p.choices[i], 0)))}
		if !slices.ContainsFunc(steps, s.disturbs) {
			steps = append(steps, s)
		}
	}
	return steps
}

func (s step) disturbs(other step) bool {
	return meet(s.keeps, other.holds) || meet(s.keeps, other.keeps) || meet(s.holds, other.keeps)
}

func meet(a, b []string) bool {
	return slices.ContainsFunc(a, func(name string) bool { return slices.Contains(b, name) })
}
