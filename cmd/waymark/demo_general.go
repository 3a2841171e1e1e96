package main

import (
	"fmt"
	"slices"
)

// The story of the programme general: anybody refers anybody. An activation is
// worth 2, the first purchase 10 and in December twice that, at most 500 a
// month, every purchase of 20 or more 1 % of it, at most 20, staying 3; who was
// brought gets 5, and the two above the referrer 2.50 and 1. There are bonuses
// for 5, 10 and 25 buyers, and from 20 on a tenth more of everything.
var generalScript = script{
	hold: 14, expires: 365, converts: "purchase", old: eraOld, ripe: eraRipe, dailyMax: 10, weights: usualWeights, medium: "review", high: "hold",
	rules: []string{
		"activation", "first-purchase", "share-of-purchases", "loyalty", "welcome", "second-level", "third-level",
		"five-friends", "ten-friends", "twenty-five-friends",
	},
	multipliers: []string{"december", "campaign", "tier"},
	milestones:  []string{"five-friends", "ten-friends", "twenty-five-friends"},
	write:       writeGeneral,
	earn:        earnGeneral,
	campaigns: func(s *story) []demoCampaign {
		return []demoCampaign{
			{Name: s.campaign + "-bonus", StartsAt: formatMS(s.start), Multiplier: "1.5", Budget: "1000000", Spend: "800"},
			{Name: s.campaign + "-budget", StartsAt: formatMS(s.start), Multiplier: "1", Budget: "100"},
		}
	},
}

const generalBudget = 100_00

func writeGeneral(s *story, users int) {
	for i := range max(8, users/40) {
		s.bring(s.member(fmt.Sprint("g", i), ""), 1)
	}
	december := s.share(s.member("december", ""), "", s.campaign+"-bonus")
	for range 60 {
		d := s.refer(december, s.yearly("12-28"))
		s.buy(d, d.actions[0].at+hourMS, s.between(5_00, 300_00), worldAction{})
	}
	s.writeGeneralCorners()
	s.writeCheats("", "", func(d *deal, at int64) { s.buy(d, at, 100_00, worldAction{}) })
	s.writeHonest("", "", func(d *deal) { s.live(d) })
}

// bring lets a member refer others, who refer others.
func (s *story) bring(m member, level int) {
	for range s.between(1, 4) {
		link := s.share(m, "", s.campaign+pick(s, []string{"-plain", "-bonus", "-budget"}))
		near := s.in(s.anyEra())
		if m.joined > s.end-390*dayMS { // brought within the story
			near = min(m.joined+s.between(1, 20)*dayMS, s.end-dayMS)
		}
		d := s.refer(link, near)
		s.live(d)
		if level < 4 && s.chance(0.6) {
			s.bring(member{id: d.user, joined: d.actions[0].at}, level+1)
		}
	}
}

// live is what becomes of a referee of the programme general.
func (s *story) live(d *deal) {
	at := d.actions[0].at
	next := func(hours int64) bool {
		at += s.between(1, hours)*hourMS + s.between(0, 59)*60_000
		return at < s.end-2*hourMS
	}
	if s.chance(0.05) {
		s.judge(d, "reject", at+hourMS/2)
	}
	if !s.chance(0.9) || !next(20) {
		return
	}
	d.then(worldAction{event: "activate", at: s.at(at)})
	for range s.draw.IntN(4) {
		if !next(90) {
			return
		}
		paid := pick(s, []int64{s.between(1_00, 60_00), s.between(15_00, 400_00), s.between(1500_00, 3000_00)})
		order := s.buy(d, at, paid, worldAction{})
		switch age := s.end - at; {
		case age > 300*dayMS || age < 30*dayMS:
		case s.chance(0.08):
			s.reports = append(s.reports, s.refund(d, order, at+2*dayMS, pick(s, []int64{-1, s.between(1, paid)})))
		case s.chance(0.08):
			s.late = append(s.late, func() demoAction { return s.refund(d, order, s.end-hourMS, pick(s, []int64{-1, s.between(1, paid)})) })
		}
	}
	if s.chance(0.5) && next(90) {
		d.then(worldAction{event: "retain", at: s.at(at)})
	}
}

// writeGeneralCorners is what chance might leave out.
func (s *story) writeGeneralCorners() {
	link := s.share(s.member("corners", ""), "", s.campaign+"-plain")
	// 1 % of the smallest that counts, just less, the first that is cut; halves
	// of cents go to the even one.
	for _, paid := range []int64{20_00, 19_99, 2000_00, 2000_01, 20_50, 21_50, 2050_00} {
		d := s.refer(link, s.in(s.ripe))
		s.buy(d, d.actions[0].at+hourMS, paid, worldAction{})
	}
	// Nobody claimed what this one brought.
	old := s.refer(link, s.in(s.old))
	s.buy(old, old.actions[0].at+hourMS, 100_00, worldAction{})
	// A sign-up that does not buy within 180 days earns nothing by what it buys later.
	late := s.refer(link, s.end-340*dayMS)
	late.then(worldAction{event: "activate", at: s.at(late.actions[0].at + hourMS)})
	s.buy(late, late.actions[0].at+200*dayMS, 100_00, worldAction{})
}

// generalRule is a rule of the programme, as a fact meets it.
type generalRule struct {
	name  string
	party string
	exact fraction
	cap   int64 // cents; 0 for none
}

// earnGeneral settles the story by the rules as the example has them.
func earnGeneral(s *story) book {
	b := book{}
	referrers, done := map[string]string{}, map[string]bool{}
	buyers, monthly, spent := map[string]int{}, map[string]int64{}, int64(0)
	for _, d := range s.deals {
		referrers[d.user] = d.link.referrer
	}
	for _, d := range s.deeds() {
		first := !done[d.user+d.event]
		done[d.user+d.event] = true
		if d.refused() || s.lapsed(d, 180) {
			continue
		}
		for _, r := range s.generalRules(d, first, referrers) {
			var names []string
			var limits []limit
			if r.cap > 0 {
				limits = append(limits, limit{"cap", r.cap})
			}
			if r.name == "first-purchase" {
				if s.promoted(d.at) {
					r.exact, names = r.exact.times(2, 1), append(names, "december")
				}
				limits = append(limits, limit{"cap_monthly", 500_00 - monthly[r.party+month(d.at)]})
			}
			switch d.link.campaign {
			case s.campaign + "-bonus":
				r.exact, names = r.exact.times(3, 2), append(names, "campaign")
			case s.campaign + "-budget":
				limits = append(limits, limit{"budget", generalBudget - spent})
			}
			if buyers[r.party] >= 20 {
				r.exact, names = r.exact.times(11, 10), append(names, "tier")
			}
			cents, cut := r.exact.within(limits...)
			if r.name == "first-purchase" {
				monthly[r.party+month(d.at)] += cents
			}
			if d.link.campaign == s.campaign+"-budget" {
				spent += cents
			}
			s.reward(b, d, r.party, r.name, cents, cut, names)
		}
		if d.event == "purchase" && first {
			s.reach(b, d, buyers, map[int]milestone{5: {"five-friends", 15_00}, 10: {"ten-friends", 40_00}, 25: {"twenty-five-friends", 150_00}})
		}
	}
	return b
}

// promoted reports whether a time lies in the December that the promotion was
// moved to: the last that had ended twenty days ago.
func (s *story) promoted(at int64) bool {
	end := s.yearly("12-31") + 12*hourMS
	return at >= end-31*dayMS && at < end
}

// generalRules are what a deed earns whom, before anything multiplies or cuts it.
func (s *story) generalRules(d deed, first bool, referrers map[string]string) (rules []generalRule) {
	referrer := d.link.referrer
	add := func(name, party string, cents int64) {
		if party != "" {
			rules = append(rules, generalRule{name, party, fraction{cents, 1}, 0})
		}
	}
	switch {
	case d.event == "activate" && first:
		add("activation", referrer, 2_00)
	case d.event == "retain" && first:
		add("loyalty", referrer, 3_00)
	case d.event == "purchase":
		left, any := s.left(d.worldAction)
		if !any {
			return nil
		}
		if first {
			add("first-purchase", referrer, 10_00)
		}
		if d.cents >= 20_00 {
			rules = append(rules, generalRule{"share-of-purchases", referrer, fraction{left, 100}, 20_00})
		}
		if first {
			add("welcome", d.user, 5_00)
			add("second-level", referrers[referrer], 2_50)
			add("third-level", referrers[referrers[referrer]], 1_00)
		}
	}
	return rules
}

// milestone is a bonus for so many buyers.
type milestone struct {
	rule  string
	cents int64
}

// reach counts a buyer for its referrer, and gives the bonus that is reached.
func (s *story) reach(b book, d deed, buyers map[string]int, bonuses map[int]milestone) {
	buyers[d.link.referrer]++
	bonus := bonuses[buyers[d.link.referrer]]
	s.reward(b, d, d.link.referrer, bonus.rule, bonus.cents, "", nil)
}

// lapsed reports whether a referral had expired by a deed: so many days had
// gone by since the sign-up without a conversion.
func (s *story) lapsed(d deed, days int64) bool {
	end := d.actions[0].at + days*dayMS
	return d.at > end && !slices.ContainsFunc(d.actions, func(a worldAction) bool { return a.event == s.converts && a.at <= end })
}
