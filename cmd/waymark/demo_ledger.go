package main

import (
	"math"
	"slices"
)

// ledger is what a world must have brought about, counted from the journeys
// alone. Its keys are the lines of the table that the demo prints.
type ledger map[string]float64

// uniqueWindowMS is the programme's unique_window_hours.
const uniqueWindowMS = 24 * hourMS

// count fills a ledger from a world.
func (w *world) count() ledger {
	l := ledger{}
	for _, link := range w.links {
		l["funnel invited"] += float64(len(link.invitations))
	}
	for _, j := range w.journeys {
		l.countHits(j)
		l.countActions(j)
	}
	l.countLoops(w)
	return l
}

func (l ledger) countHits(j *journey) {
	counted := int64(math.MinInt64 / 2)
	for _, hit := range j.hits {
		l["clicks gross"]++
		if j.robot || hit.prefetch {
			continue
		}
		l["clicks valid"]++
		if hit.at-counted >= uniqueWindowMS {
			l["clicks unique"]++
			counted = hit.at
		}
	}
	if !j.robot {
		l["funnel clicked"]++
	}
}

func (l ledger) countActions(j *journey) {
	reached := map[string]bool{}
	for _, action := range j.actions {
		switch action.event {
		case "signup":
			reached["funnel signed_up"] = true
		case "activate":
			reached["funnel activated"] = true
		case "purchase":
			reached["funnel converted"] = true
			l["value"] += float64(action.cents) / 100
		case "retain":
			reached["funnel retained"] = true
		}
	}
	for stage := range reached {
		l[stage]++
	}
}

// loop is what one flow did.
type loop struct {
	invitations, signups, cycles int
	referrers                    map[string]bool
	cycleMS                      int64
}

func (l *loop) k() float64 {
	return float64(l.invitations) / float64(len(l.referrers)) * (float64(l.signups) / float64(l.invitations))
}

func (l *loop) cycleHours() float64 {
	return float64(l.cycleMS) / float64(l.cycles) / float64(hourMS)
}

// countLoops counts K and cycle time of each flow and of the two-sided loop.
// The cycle of a referral is the time from the latest invitation on its link
// before its click to the sign-up.
func (l ledger) countLoops(w *world) {
	loops := map[string]*loop{}
	for _, link := range w.links {
		flow := loopOf(loops, link)
		flow.invitations += len(link.invitations)
		flow.referrers[link.referrer] = true
	}
	for _, j := range w.journeys {
		if j.user == "" {
			continue
		}
		flow := loopOf(loops, j.link)
		flow.signups++
		clicked := j.hits[len(j.hits)-1].at
		invited := int64(-1)
		for _, at := range j.link.invitations {
			if at <= clicked {
				invited = max(invited, at)
			}
		}
		flow.cycles++
		flow.cycleMS += j.actions[0].at - invited
	}
	for name, flow := range loops {
		l["K "+name] = flow.k()
		if flow.cycles > 0 {
			l["cycle hours "+name] = flow.cycleHours()
		}
	}
	there, back := loops["couple → supplier"], loops["supplier → couple"]
	if there != nil && back != nil {
		l["K couple ⇄ supplier"] = there.k() * back.k()
		if there.cycles > 0 && back.cycles > 0 {
			l["cycle hours couple ⇄ supplier"] = there.cycleHours() + back.cycleHours()
		}
	}
}

func loopOf(loops map[string]*loop, link *worldLink) *loop {
	name := link.referrerType + " → " + link.refereeType
	if loops[name] == nil {
		loops[name] = &loop{referrers: map[string]bool{}}
	}
	return loops[name]
}

// lines are the ledger's keys in the order to print them.
func (l ledger) lines() []string {
	order := []string{
		"funnel invited", "funnel clicked", "funnel signed_up", "funnel activated", "funnel converted", "funnel retained",
		"clicks gross", "clicks valid", "clicks unique", "value",
	}
	order = slices.DeleteFunc(order, func(key string) bool { _, has := l[key]; return !has })
	var rest []string
	for key := range l {
		if !slices.Contains(order, key) {
			rest = append(rest, key)
		}
	}
	slices.Sort(rest)
	return append(order, rest...)
}

// equal compares a line. Counts and values are whole numbers or cents; the
// quotients may differ by the order of their additions, in the last bits.
func equal(a, b float64) bool {
	return math.Abs(a-b) <= 1e-9*max(math.Abs(a), math.Abs(b))
}
