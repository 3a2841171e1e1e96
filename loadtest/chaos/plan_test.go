package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// testDeployment has parts that are never started, for faults to choose among.
func testDeployment(t topology) *deployment {
	d := &deployment{topology: t}
	named := func(name string) *part { return &part{name: name} }
	if t == up {
		d.up = named("up")
		d.edges = []*edge{{part: d.up}}
		return d
	}
	d.engine, d.admin, d.admin2 = named("engine"), named("admin"), named("admin-2")
	d.ingests = []*part{named("ingest-1"), named("ingest-2")}
	d.edges = []*edge{{part: named("edge-1")}, {part: named("edge-2")}}
	return d
}

// stepsOf are the steps of a seed, in words.
func stepsOf(seed uint64, table []*kind) []string {
	r := &round{deployment: testDeployment(topologyOf(seed))}
	var texts []string
	for _, s := range newPlan(seed, table, 1500, 5*time.Second).steps(r) {
		texts = append(texts, s.String())
	}
	return texts
}

func TestASeedMakesTheSameRound(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	different := map[string]bool{}
	for range 200 {
		seed := seedOf(topology(random.IntN(2)), random)
		first, again := stepsOf(seed, kinds), stepsOf(seed, kinds)
		if !slices.Equal(first, again) || len(first) == 0 {
			t.Fatalf("seed %d: %v and %v", seed, first, again)
		}
		different[fmt.Sprint(first)] = true
	}
	if len(different) < 190 {
		t.Errorf("200 seeds make %d rounds", len(different))
	}
}

// A round that failed must stay what it was when there are more kinds of faults:
// it is noted with the names of those it had.
func TestARoundStaysWithItsFaults(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	for range 200 {
		seed := seedOf(topology(random.IntN(2)), random)
		var names []string
		for _, k := range newPlan(seed, kinds, 1500, 5*time.Second).kinds {
			names = append(names, k.name)
		}
		table, err := selectKinds(names)
		if err != nil {
			t.Fatal(err)
		}
		if all, own := stepsOf(seed, kinds), stepsOf(seed, table); !slices.Equal(all, own) {
			t.Errorf("seed %d: %v among all kinds, %v among its own", seed, all, own)
		}
	}
}

// playedSuite is a suite that has counted the faults of all its rounds, none of
// which was run.
func playedSuite(o options, random rand.Source) *suite {
	o.Duration, o.Rate = 5*time.Second, 1500
	s := &suite{options: o, table: kinds, random: rand.New(random)}
	for next, more := s.next(); more; next, more = s.next() {
		o := new(outcome)
		for _, k := range next.plan.kinds {
			o.faults = append(o.faults, k.name)
		}
		s.score.add(o)
	}
	return s
}

// Every kind that is not rare is met within a run as short as that of CI.
func TestShortRunsMeetEveryKind(t *testing.T) {
	s := playedSuite(options{Rounds: 40, Reuse: 8}, rand.NewPCG(5, 6))
	for _, k := range kinds {
		if k.rare == 0 && s.score.played(k.name) == 0 {
			t.Errorf("%s is in none of %d rounds", k.name, s.score.rounds())
		}
	}
}

// What takes minutes is met in a few rounds of a long run.
func TestLongRunsMeetRareKinds(t *testing.T) {
	s := playedSuite(options{Rounds: 300, Reuse: 25}, rand.NewPCG(9, 10))
	for _, k := range kinds {
		if played := s.score.played(k.name); k.rare > 0 && (played < 3 || played > 15) {
			t.Errorf("%s is in %d of %d rounds", k.name, played, s.score.rounds())
		}
	}
}

// Those that are asked for by name are played, however rare.
func TestNamedKindsAreNotRare(t *testing.T) {
	table, err := selectKinds([]string{"broker-away-long"})
	if err != nil {
		t.Fatal(err)
	}
	s := &suite{options: options{Rounds: 5, Reuse: 2, Duration: 5 * time.Second, Rate: 1500}, table: table, random: rand.New(rand.NewPCG(7, 8))}
	played := 0
	for next, more := s.next(); more; next, more = s.next() {
		played += len(next.plan.kinds)
	}
	if played != 5 {
		t.Errorf("played in %d of 5 rounds", played)
	}
	if _, err := selectKinds([]string{"twin", "flood"}); err == nil {
		t.Error("a fault that is none was taken")
	}
}

func TestPastRoundsHaveTheirFaults(t *testing.T) {
	for _, past := range pastRounds {
		table, err := selectKinds(past.faults)
		if err != nil {
			t.Errorf("round %d: %v", past.seed, err)
		}
		if plan := newPlan(past.seed, table, 1500, 5*time.Second); len(plan.kinds) != len(past.faults) {
			t.Errorf("round %d has %d faults, want %v", past.seed, len(plan.kinds), past.faults)
		}
	}
}

func TestStepsLeaveAloneWhatOthersKeep(t *testing.T) {
	kill := step{action: action{holds: []string{"edge-1"}}}
	full := step{action: action{holds: []string{"edge-1", "broker"}, keeps: []string{"edge-1"}}}
	other := step{action: action{holds: []string{"edge-2", "broker"}, keeps: []string{"edge-2"}}}
	for _, tc := range []struct {
		a, b step
		want bool
	}{{kill, full, true}, {full, kill, true}, {full, full, true}, {kill, kill, false}, {full, other, false}, {kill, other, false}} {
		if got := tc.a.disturbs(tc.b); got != tc.want {
			t.Errorf("%v and %v: %v, want %v", tc.a.action, tc.b.action, got, tc.want)
		}
	}
}

// Those who want several things never wait for each other in a circle, and never
// have one at the same time.
func TestHold(t *testing.T) {
	r := &round{held: map[string]chan struct{}{}}
	things := []string{"a", "b", "c"}
	busy := map[string]*int{"a": new(int), "b": new(int), "c": new(int)}
	done := make(chan struct{})
	for worker := range 4 {
		go func() {
			random := rand.New(rand.NewPCG(uint64(worker), 1))
			for range 500 {
				mine := slices.Clone(things)
				random.Shuffle(3, func(i, j int) { mine[i], mine[j] = mine[j], mine[i] })
				release, err := r.hold(context.Background(), mine[:2])
				if err != nil {
					t.Error(err)
				}
				for _, thing := range mine[:2] {
					*busy[thing]++ // a race unless it is held
				}
				release()
			}
			done <- struct{}{}
		}()
	}
	for range 4 {
		<-done
	}
	if sum := *busy["a"] + *busy["b"] + *busy["c"]; sum != 4*500*2 {
		t.Errorf("%d, want %d", sum, 4*500*2)
	}
	release, err := r.hold(context.Background(), []string{"b"})
	if err != nil {
		t.Fatal(err)
	}
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := r.hold(ended, []string{"a", "b"}); err == nil {
		t.Error("held by two")
	}
	release()
	if release, err = r.hold(context.Background(), things); err != nil {
		t.Error("what was taken in vain was not given back")
	}
	release()
}
