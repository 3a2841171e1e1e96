package main

import "slices"

// draft is a round that is to be played.
type draft struct {
	seed uint64
	plan plan
}

func (s *suite) draft(seed uint64, table []*kind) draft {
	return draft{seed, newPlan(seed, table, s.Rate, s.Duration)}
}

// give puts the rounds first that were asked for by seed, or for having failed in
// the past.
func (s *suite) give() {
	for _, seed := range s.Replay {
		s.given = append(s.given, s.draft(seed, s.table))
	}
	if !s.Past {
		return
	}
	for _, past := range pastRounds {
		if table, err := selectKinds(past.faults); err == nil {
			s.given = append(s.given, s.draft(past.seed, table))
		}
	}
}

// next is the round to play, until there is none.
func (s *suite) next() (draft, bool) {
	if len(s.given) > 0 {
		first := s.given[0]
		s.given = s.given[1:]
		return first, true
	}
	if len(s.Replay) > 0 || s.drawn >= s.Rounds {
		return draft{}, false
	}
	// An installation of one kind is kept for a while; there are fewer faults for
	// `up`.
	t := parts
	if s.drawn/s.Reuse%4 == 1 && s.has(up) || !s.has(parts) {
		t = up
	}
	s.drawn++
	return s.draw(t), true
}

// has reports whether there are faults for a topology.
func (s *suite) has(t topology) bool {
	return slices.ContainsFunc(s.table, func(k *kind) bool { return slices.Contains(k.on, t) })
}

// candidates is how many seeds are drawn for a round: the one is taken whose
// faults were played least so far, so that a short run meets many kinds.
const candidates = 24

func (s *suite) draw(t topology) (best draft) {
	least := -1.0
	for n := 0; n < candidates || len(best.plan.kinds) == 0; n++ {
		d, played := s.draft(seedOf(t, s.random), s.table), 0.0
		for _, k := range d.plan.kinds {
			played += float64(s.score.played(k.name)) / float64(len(d.plan.kinds))
		}
		if len(d.plan.kinds) > 0 && (least < 0 || played < least) {
			best, least = d, played
		}
	}
	return best
}
