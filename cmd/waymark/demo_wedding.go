package main

import (
	"fmt"
	"time"
)

// The story of the programme wedding: suppliers and couples refer each other.
// Who brings a supplier gets 10, 25, 50 or 100 by the plan, twice that for a
// year's plan, half as much again for the first three; who brings a couple gets
// 5 % of what it books, at most 50.
var weddingScript = script{
	flow: [2]string{"supplier", "couple"},
	hold: 14, expires: 365, converts: "purchase", old: eraOld, ripe: eraRipe, dailyMax: 10, weights: usualWeights, medium: "review", high: "hold",
	rules:       []string{"supplier-plan", "couple-booking"},
	multipliers: []string{"annual", "first three", "campaign", "season"},
	write:       writeWedding,
	earn:        earnWedding,
	campaigns: func(s *story) []demoCampaign {
		bonus := demoCampaign{
			Name: s.campaign + "-bonus", StartsAt: formatMS(s.start), Audience: partyTypes[:], Multiplier: "1.2", Spend: "1500", Budget: "1000000",
			Seasons: []demoSeason{{"12-20", "01-06", "1.5"}, {"02-07", "02-14", "1.25"}}, Variants: []string{"plain-card", "photo-card"},
		}
		return []demoCampaign{bonus, {Name: s.campaign + "-budget", StartsAt: formatMS(s.start), Audience: partyTypes[:], Multiplier: "1", Budget: "300"}}
	},
}

const weddingBudget = 300_00

func writeWedding(s *story, users int) {
	for i := range max(16, users/20) {
		m := s.member(fmt.Sprint("w", i), partyTypes[i%2])
		for _, referee := range partyTypes {
			for _, campaign := range []string{"-plain", "-bonus", "-budget"} {
				link := s.share(m, referee, s.campaign+campaign, pick(s, []string{"plain-card", "photo-card"}))
				for range s.draw.IntN(3) {
					s.wed(s.refer(link, s.in(s.anyEra())))
				}
			}
		}
	}
	s.writeWeddingCorners()
	s.writeCheats("supplier", "couple", func(d *deal, at int64) { s.buy(d, at, 400_00, worldAction{}) })
	s.writeHonest("supplier", "couple", func(d *deal) { s.wed(d) })
}

// anyEra is mostly the one whose rewards can be paid.
func (s *story) anyEra() era {
	switch n := s.draw.IntN(10); n {
	case 0:
		return s.old
	case 1:
		return eraFresh
	}
	return s.ripe
}

// wed is what becomes of a referee of the programme wedding.
func (s *story) wed(d *deal) {
	signup := d.actions[0].at
	if s.chance(0.1) {
		s.judge(d, "reject", signup+s.between(1, 5)*hourMS)
	}
	if s.chance(0.2) {
		return // never buys
	}
	at := min(signup+s.between(1, 9)*hourMS, s.end-hourMS)
	var order string
	if d.link.refereeType == "supplier" {
		plan := pick(s, []string{"starter", "professional", "scale", "enterprise", "trial"})
		order = s.buy(d, at, s.between(9_00, 900_00), worldAction{plan: plan, properties: map[string]string{"billing": pick(s, []string{"monthly", "annual"})}})
	} else {
		order = s.buy(d, at, s.between(1_00, 1500_00), worldAction{})
	}
	paid := d.actions[len(d.actions)-1].cents
	switch age := s.end - at; {
	case age > 300*dayMS || age < 30*dayMS:
	case s.chance(0.1):
		s.reports = append(s.reports, s.refund(d, order, at+2*dayMS, -1))
	case s.chance(0.1):
		s.reports = append(s.reports, s.refund(d, order, at+2*dayMS, s.between(1, paid)))
	case s.chance(0.15): // after the payout
		s.late = append(s.late, func() demoAction { return s.refund(d, order, s.end-hourMS, pick(s, []int64{-1, s.between(1, paid)})) })
	case s.chance(0.3): // a second time, which earns nothing
		s.buy(d, at+3*dayMS, 777_00, worldAction{plan: "enterprise"})
	}
}

// writeWeddingCorners is what chance might leave out.
func (s *story) writeWeddingCorners() {
	m := s.member("corners", "supplier")
	suppliers, couples := s.share(m, "supplier", s.campaign+"-bonus"), s.share(m, "couple", s.campaign+"-bonus")
	for _, day := range []string{"12-20", "01-06", "02-07", "02-14", "01-07", "02-15"} { // first and last days of the seasons, and those after
		d := s.refer(suppliers, s.yearly(day))
		s.buy(d, d.actions[0].at+hourMS, 50_00, worldAction{plan: "starter", properties: map[string]string{"billing": "annual"}})
	}
	// 5 % of 1,000 is 50 exactly; of 0.10 it is half a cent, which goes to the even one.
	for _, cents := range []int64{1000_00, 1000_10, 10, 30, 50, 4} {
		d := s.refer(couples, s.in(s.ripe))
		s.buy(d, d.actions[0].at+hourMS, cents, worldAction{})
	}
	// A referral that did not convert within a year earns nothing.
	late := s.refer(couples, s.end-500*dayMS)
	s.buy(late, s.end-60*dayMS, 500_00, worldAction{})
	// Who refers himself earns nothing, and is held.
	self := s.refer(s.share(m, "supplier", s.campaign+"-plain"), s.in(s.ripe))
	self.user, self.actions[0].properties["email"] = m.id, m.email
	s.cheat(self, "self_referral", "similarity")
	s.buy(self, self.actions[0].at+hourMS, 99_00, worldAction{plan: "scale"})
}

// yearly is the noon of a day of the year, the last that is well in the past.
func (s *story) yearly(monthDay string) int64 {
	for year := time.UnixMilli(s.end).UTC().Year(); ; year-- {
		if at, _ := time.Parse("2006-01-02", time.Date(year, 1, 1, 0, 0, 0, 0, time.UTC).Format("2006-")+monthDay); at.UnixMilli()+dayMS <= s.end-20*dayMS {
			return at.UnixMilli() + 12*hourMS
		}
	}
}

// earnWedding settles the story by the rules as the example has them.
func earnWedding(s *story) book {
	b := book{}
	bought, brought, spent := map[string]bool{}, map[string]int{}, int64(0)
	for _, d := range s.deeds() {
		if d.event != "purchase" || bought[d.user] {
			continue
		}
		bought[d.user] = true
		if d.refused() || s.lapsed(d, 365) {
			continue
		}
		left, any := s.left(d.worldAction)
		if !any {
			continue
		}
		rule, exact, limits := "couple-booking", fraction{left * 5, 100}, []limit{{"cap", 50_00}}
		var names []string
		if d.link.refereeType == "supplier" {
			rule, limits = "supplier-plan", nil
			exact = fraction{map[string]int64{"starter": 10_00, "professional": 25_00, "scale": 50_00, "enterprise": 100_00}[d.plan], 1}
			if d.properties["billing"] == "annual" {
				exact, names = exact.times(2, 1), append(names, "annual")
			}
			if brought[d.link.referrer] < 3 {
				exact, names = exact.times(3, 2), append(names, "first three")
			}
		}
		switch d.link.campaign {
		case s.campaign + "-bonus":
			exact, names = exact.times(6, 5), append(names, "campaign")
			switch day := dayOfYear(d.at); {
			case day >= "12-20" || day <= "01-06":
				exact, names = exact.times(3, 2), append(names, "season")
			case day >= "02-07" && day <= "02-14":
				exact, names = exact.times(5, 4), append(names, "season")
			}
		case s.campaign + "-budget":
			limits = append(limits, limit{"budget", weddingBudget - spent})
		}
		cents, cut := exact.within(limits...)
		if d.link.campaign == s.campaign+"-budget" {
			spent += cents
		}
		if cents > 0 && rule == "supplier-plan" {
			brought[d.link.referrer]++
		}
		s.reward(b, d, d.link.referrer, rule, cents, cut, names)
	}
	return b
}
