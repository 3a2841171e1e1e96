package main

import (
	"cmp"
	"math"
	"slices"
	"time"
)

// e2eFlow is what happened between two types of party in a programme.
type e2eFlow struct {
	program, key, from, to string
	invites                float64
	referrers              map[string]bool
	signups                map[string]*e2eFact // by party, the earliest
	k, cycle               any
}

// expectViral recounts K as the example of the marketplace defines it:
// invitations per active referrer times signups per invitation; for two
// opposite flows the product; and what a cohort really brought.
func (r *e2eRecount) expectViral(q e2eQuery) []row {
	flows := map[[4]string]*e2eFlow{}
	flow := func(f *e2eFact) *e2eFlow {
		key := [4]string{f.program, f.dimension(q.by), f.referrerType, f.want}
		if flows[key] == nil {
			flows[key] = &e2eFlow{program: key[0], key: key[1], from: key[2], to: key[3], referrers: map[string]bool{}, signups: map[string]*e2eFact{}}
		}
		return flows[key]
	}
	for _, f := range r.facts {
		if f.hit != nil || !q.holds(f.at) || q.program != "" && q.program != f.program {
			continue
		}
		switch {
		case f.event == "invite":
			flow(f).invites++
			if f.referrer != "" {
				flow(f).referrers[f.referrer] = true
			}
		case f.event == "signup" && (f.number != nil || f.referrer != ""):
			if first := flow(f).signups[f.party]; first == nil || f.at < first.at {
				flow(f).signups[f.party] = f
			}
		}
	}
	var rows []row
	for _, f := range flows {
		f.k, f.cycle = product(rate(f.invites, float64(len(f.referrers))), rate(float64(len(f.signups)), f.invites)), r.cycle(f)
		rows = append(rows, f.row())
	}
	for _, f := range flows {
		back := flows[[4]string{f.program, f.key, f.to, f.from}]
		if back == nil || f.from >= f.to {
			continue
		}
		rows = append(rows, viralRow(f.program, f.key, "two-sided", f.from, f.to, f.invites+back.invites, len(f.referrers)+len(back.referrers),
			len(f.signups)+len(back.signups), nil, nil, product(f.k, back.k), sum(f.cycle, back.cycle)))
	}
	rows = append(rows, r.cohorts(q)...)
	slices.SortFunc(rows, func(a, b row) int {
		text := func(name string) int { return cmp.Compare(a[name].(string), b[name].(string)) }
		return cmp.Or(text("program"), text("key"), text("kind"), cmp.Compare(b["invitations"].(float64), a["invitations"].(float64)), text("referrer_type"), text("referee_type"))
	})
	rows = rows[:min(q.limit, len(rows))]
	for _, cells := range rows {
		if q.by == "" {
			delete(cells, "key")
		}
	}
	return rows
}

func product(a, b any) any {
	if a == nil || b == nil {
		return nil
	}
	return a.(float64) * b.(float64)
}

func sum(a, b any) any {
	if a == nil || b == nil {
		return nil
	}
	return a.(float64) + b.(float64)
}

// cycle is the mean time in hours from the latest invitation on the link, at
// or before the click (the signup where there was none), to the signup.
func (r *e2eRecount) cycle(f *e2eFlow) any {
	total, count := 0.0, 0.0
	for _, signup := range f.signups {
		moment := signup.at
		if signup.click != nil {
			moment = min(moment, signup.click.at)
		}
		latest, found := int64(0), false
		for _, at := range r.invites[signup.number] {
			if at <= moment {
				latest, found = max(latest, at), true
			}
		}
		if found {
			total, count = total+float64(signup.at-latest), count+1
		}
	}
	if count == 0 {
		return nil
	}
	return total / count / 3600_000
}

// cohorts are, for each programme and key, those who signed up in the period,
// and whom they brought within the programme's attribution window.
func (r *e2eRecount) cohorts(q e2eQuery) []row {
	type cohort struct{ members, referees int }
	cohorts := map[[2]string]*cohort{}
	brought := map[[2]string][]int64{} // when those signed up who were brought, by programme and referrer
	for _, j := range r.journeys {
		if at, signed := j.first["signed_up"]; signed && j.credit.referrer != j.party {
			key := [2]string{j.program, j.credit.referrer}
			brought[key] = append(brought[key], at)
		}
	}
	for _, member := range r.journeys {
		since, signed := member.first["signed_up"]
		if q.program != "" && q.program != member.program || !signed || !q.holds(since) {
			continue
		}
		key := [2]string{member.program, ""}
		if q.by == "campaign" {
			key[1] = member.credit.campaign
		}
		if cohorts[key] == nil {
			cohorts[key] = &cohort{}
		}
		cohorts[key].members++
		window := (time.Duration(programNamed(member.program).windowDays) * 24 * time.Hour).Milliseconds()
		for _, at := range brought[[2]string{member.program, member.party}] {
			if at >= since && at < since+window {
				cohorts[key].referees++
			}
		}
	}
	var rows []row
	for key, c := range cohorts {
		rows = append(rows, viralRow(key[0], key[1], "realised", "", "", 0, c.members, c.referees, nil, nil, rate(float64(c.referees), float64(c.members)), nil))
	}
	return rows
}

func (f *e2eFlow) row() row {
	signups := float64(len(f.signups))
	return viralRow(f.program, f.key, "one-sided", f.from, f.to, f.invites, len(f.referrers), len(f.signups),
		rate(f.invites, float64(len(f.referrers))), rate(signups, f.invites), f.k, f.cycle)
}

func viralRow(program, key, kind, from, to string, invites float64, referrers, signups int, perReferrer, perInvite, k, cycle any) row {
	cells := row{"program": program, "key": key, "kind": kind, "referrer_type": from, "referee_type": to, "invitations": invites, "referrers": float64(referrers),
		"signups": float64(signups), "invitations_per_referrer": perReferrer, "signups_per_invitation": perInvite, "k": k, "cycle_hours": cycle,
		"status": "", "doubling_hours": nil}
	if k == nil {
		return cells
	}
	switch k := k.(float64); {
	case k > 1:
		cells["status"] = "viral growth"
		if cycle != nil {
			cells["doubling_hours"] = cycle.(float64) * math.Ln2 / math.Log(k)
		}
	case k > 0.7:
		cells["status"] = "near viral"
	default:
		cells["status"] = "sub-viral"
	}
	return cells
}
