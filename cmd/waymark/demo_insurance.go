package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
)

// The story of the programme insurance: agents and affiliates refer leads, by
// links, on the phone, or from other systems. Somebody accepts or rejects each.
// The partner gets a commission of 10 %, or what the record says, of what the
// first policy costs, once somebody has approved it; and an agent with a hundred
// policies 1,000 besides.
var insuranceScript = script{
	flow: [2]string{"agent", "lead"},
	hold: 30, converts: "policy_issued", manual: true, old: era{500, 400}, ripe: eraRipe,
	dailyMax: 10, weights: insuranceWeights, medium: "review", high: "reject",
	rules:      []string{"commission", "hundred-policies"},
	milestones: []string{"hundred-policies"},
	write:      writeInsurance,
	earn:       earnInsurance,
	campaigns:  func(*story) []demoCampaign { return nil },
	look:       lookInsurance,
}

// insuranceWeights leave devices out, since agents type everything at theirs.
var insuranceWeights = map[string]int{"velocity": 30, "similarity": 25, "address": 20, "regularity": 15, "speed": 10, "self_referral": 100}

var leadSources = []string{"website", "mobile_app", "email", "phone", "in_person", "social_media", "other"}

func writeInsurance(s *story, users int) {
	kinds := []string{"agent", "affiliate"}
	rates := []int64{-1, 12_50, 7_25, 10_00, 3}
	for i := range max(10, users/30) {
		m := s.member(fmt.Sprint("i", i), kinds[i%2])
		if i%3 != 0 { // the others have no record
			s.records = append(s.records, demoPartner{m, "active", rates[i%len(rates)], s.start})
		}
		link := s.share(m, "lead", "")
		for range s.between(1, 6) {
			s.lead(link, s.in(s.anyEra()))
		}
	}
	// Suspended and terminated partners earn nothing from then on.
	for _, status := range []string{"suspended", "terminated"} {
		m := s.member("was-"+status, "affiliate")
		s.records = append(s.records, demoPartner{m, status, 15_00, s.end - 150*dayMS})
		link := s.share(m, "lead", "")
		for _, days := range []int64{250, 220, 180, 120, 90, 60} {
			s.accept(s.refer(link, s.end-days*dayMS), 1000_00)
		}
	}
	century := s.member("century", "agent")
	s.records = append(s.records, demoPartner{century, "active", 1_00, s.start})
	for link, i := s.share(century, "lead", ""), int64(0); i < 104; i++ {
		s.accept(s.refer(link, s.end-(330-i*2)*dayMS), s.between(10_00, 90_00))
	}
	s.writeInsuranceCorners()
	s.writeCheats("agent", "lead", func(d *deal, at int64) {
		s.judge(d, "accept", d.actions[0].at+10*hourMS)
		s.buy(d, at, 400_00, worldAction{event: "policy_issued"})
	})
	s.writeHonest("agent", "lead", func(d *deal) { s.accept(d, s.between(100_00, 900_00)) })
}

// accept takes a lead that becomes a customer.
func (s *story) accept(d *deal, paid int64) (order string, at int64) {
	at = d.actions[0].at + 2*hourMS
	s.judge(d, "accept", at-hourMS)
	return s.buy(d, at, paid, worldAction{event: "policy_issued"}), at
}

// lead is what becomes of a lead.
func (s *story) lead(link *worldLink, near int64) {
	d := s.refer(link, near)
	d.actions[0].properties["source"] = pick(s, leadSources)
	if d.actions[0].properties["source"] == "phone" {
		d.hits = nil
	}
	signup := d.actions[0].at
	switch n := s.draw.IntN(10); {
	case n < 6:
		paid := s.between(20_00, 2000_00)
		order, at := s.accept(d, paid)
		switch age := s.end - at; {
		case age > 300*dayMS || age < 50*dayMS:
		case s.chance(0.15):
			s.reports = append(s.reports, s.refund(d, order, at+3*dayMS, pick(s, []int64{-1, s.between(1, paid)})))
		case s.chance(0.15):
			s.late = append(s.late, func() demoAction { return s.refund(d, order, s.end-hourMS, pick(s, []int64{-1, s.between(1, paid)})) })
		case s.chance(0.1): // rejected after all, when it was paid for
			s.late = append(s.late, func() demoAction {
				d.rejected = true
				return demoAction{ID: d.user + "-late-reject", Event: "reject", Time: formatMS(s.end - hourMS), UserID: d.user, Program: s.program}
			})
		}
	case n < 7: // accepted, and never heard of again
		s.judge(d, "accept", signup+hourMS)
	case n < 8:
		s.judge(d, "reject", signup+hourMS)
		if s.chance(0.5) {
			s.buy(d, signup+2*hourMS, 500_00, worldAction{event: "policy_issued"})
		}
	case n < 9: // converted before anybody accepted it
		s.buy(d, signup+2*hourMS, 300_00, worldAction{event: "policy_issued"})
	}
}

// writeInsuranceCorners is what chance might leave out.
func (s *story) writeInsuranceCorners() {
	m := s.member("corners", "agent")
	s.records = append(s.records, demoPartner{m, "active", 12_50, s.start})
	link := s.share(m, "lead", "")
	// 12.5 % of 0.12 is a cent and a half, of 0.20 two and a half: both are 2.
	for _, paid := range []int64{12, 20, 1, 3, 4} {
		s.accept(s.refer(link, s.in(s.ripe)), paid)
	}
	// After 90 days without a policy a lead is lost.
	late := s.refer(link, s.end-200*dayMS)
	s.judge(late, "accept", late.actions[0].at+hourMS)
	s.buy(late, late.actions[0].at+100*dayMS, 500_00, worldAction{event: "policy_issued"})
}

// rate is the commission of a partner at a time, in hundredths of a per cent,
// 0 for one that is barred.
func (s *story) rate(party string, at int64) int64 {
	for _, r := range s.records {
		if r.id == party && r.since <= at && r.status != "active" {
			return 0
		}
		if r.id == party && r.since <= at && r.rate >= 0 {
			return r.rate
		}
	}
	return 10_00
}

// earnInsurance settles the story by the rules as the example has them.
func earnInsurance(s *story) book {
	b := book{}
	issued, policies := map[string]bool{}, map[string]int{}
	for _, d := range s.deeds() {
		if d.event != "policy_issued" || issued[d.user] {
			continue
		}
		issued[d.user] = true
		if d.refused() || s.lapsed(d, 90) {
			continue
		}
		rate := s.rate(d.link.referrer, d.at)
		if left, any := s.left(d.worldAction); any {
			cents, _ := fraction{left * rate, 100_00}.within()
			s.reward(b, d, d.link.referrer, "commission", cents, "", nil)
		}
		if d.link.referrerType == "agent" && rate > 0 {
			s.reach(b, d, policies, map[int]milestone{100: {"hundred-policies", 1000_00}})
		}
	}
	return b
}

// writePartners creates the records of partners.
func (s *story) writePartners(ctx context.Context, client *apiClient) error {
	for _, r := range s.records {
		in := map[string]any{
			"program": s.program, "id": r.id, "type": r.kind, "name": r.id, "email": r.email, "status": r.status, "joined_at": formatMS(r.since),
		}
		if r.rate >= 0 {
			in["commission_rate"] = cents(r.rate)
		}
		if err := client.call(ctx, "POST", "/v1/partners", in, nil); err != nil {
			if failure := (*problem)(nil); errors.As(err, &failure) && failure.Status == http.StatusConflict {
				continue // it was created before the answer got lost
			}
			return fmt.Errorf("create the partner %s: %w", r.id, err)
		}
	}
	return nil
}

// lookInsurance adds the life cycle of the referrals, by partner.
func lookInsurance(ctx context.Context, client *apiClient, s *story, truth, found ledger) error {
	states := []string{"referrals", "pending", "accepted", "rejected", "converted", "paid", "expired"}
	for _, state := range states {
		truth["partners, "+state], found["partners, "+state] = 0, 0
	}
	truth["partners, with a record"] = float64(len(s.records))
	for _, d := range s.deals {
		truth["partners, referrals"]++
		truth["partners, "+s.life(d)]++
	}
	rows, err := apiRows(ctx, client, "/v1/reports/partners", s.period("partner"))
	for _, row := range rows {
		if !strings.HasPrefix(text(row, "key"), s.run+"-") {
			continue
		}
		for _, state := range states {
			found["partners, "+state] += number(row[state])
		}
		found["partners, paid out"] += number(row["commission_paid"])
	}
	for _, cents := range s.settled {
		truth["partners, paid out"] += float64(cents) / 100
	}
	if err != nil {
		return err
	}
	for p, err := range listAll[partnerRow](ctx, client, "/v1/partners", "partners", url.Values{"program": {s.program}}) {
		if err != nil {
			return fmt.Errorf("list the partners: %w", err)
		}
		if strings.HasPrefix(p.ID, s.run+"-") {
			found["partners, with a record"]++
		}
	}
	return nil
}

// life is the state of a referral's life cycle.
func (s *story) life(d *deal) string {
	lost, converted := d.actions[0].at+90*dayMS, s.end
	for _, a := range d.actions {
		if a.event == s.converts {
			converted = min(converted, a.at)
		}
	}
	switch {
	case d.rejected:
		return "rejected"
	case lost < converted:
		return "expired"
	case s.paidFor[d.user]:
		return "paid"
	case converted < s.end:
		return "converted"
	case d.accepted:
		return "accepted"
	}
	return "pending"
}
