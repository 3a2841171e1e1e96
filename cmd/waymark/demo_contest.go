package main

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"
)

// The story of the programme contest: a mailing to three segments with two
// subjects, by which some take part, and the friends that they bring to take
// part. Each friend is worth a voucher of 1, ten a month at most, and there are
// bonuses for 5, 10 and 50.
var contestScript = script{
	flow: [2]string{"participant", "participant"},
	hold: 3, expires: 90, converts: "entered", old: era{200, 120}, ripe: era{85, 10},
	dailyMax: 25, weights: contestWeights, medium: "hold", high: "reject",
	rules:      []string{"entry-voucher", "five-friends", "ten-friends", "fifty-friends"},
	milestones: []string{"five-friends", "ten-friends", "fifty-friends"},
	write:      writeContest,
	earn:       earnContest,
	look:       lookContest,
	campaigns: func(s *story) []demoCampaign {
		return []demoCampaign{
			{
				Name: s.campaign + "-mail", StartsAt: formatMS(s.start), Multiplier: "1", Spend: "1200", Variants: []string{subjects[0].name, subjects[1].name},
				Targets: map[string]any{"clicks": 100, "conversions": 25},
			},
			{Name: s.campaign + "-budget", StartsAt: formatMS(s.start), Multiplier: "1", Budget: "5"},
		}
	},
}

const contestBudget = 5_00

// contestWeights leave out how fast people convert: to take part takes a minute.
var contestWeights = map[string]int{"velocity": 30, "similarity": 25, "address": 20, "regularity": 15, "self_referral": 100, "shared_device": 50}

// subjects are the arms of the test, with the rate at which those enter who
// clicked: the prize does half as well again.
var subjects = [2]struct {
	name  string
	enter float64
}{{"subject-question", 0.4}, {"subject-prize", 0.6}}

// segments are planted rates of the mailing.
var segments = []struct {
	name                string
	bounce, open, click float64
}{{"students", 0.02, 0.6, 0.5}, {"families", 0.05, 0.4, 0.3}, {"seniors", 0.1, 0.3, 0.2}}

// mailing counts what became of messages.
type mailing struct{ sent, opened, clicked, entered, bounced int }

func writeContest(s *story, users int) {
	s.mail(users)
	for i := range max(8, users/30) {
		link := s.share(s.member(fmt.Sprint("c", i), "participant"), "participant", s.campaign+pick(s, []string{"-plain", "-budget"}))
		for range s.draw.IntN(8) {
			s.enter(s.refer(link, s.in(s.anyEra())))
		}
	}
	winner := s.share(s.member("winner", "participant"), "participant", s.campaign+"-plain")
	for range 55 {
		d := s.refer(winner, s.in(s.ripe))
		d.then(worldAction{event: "entered", at: s.at(d.actions[0].at + hourMS)})
	}
	// Who takes part more than 30 days after the sign-up is nobody's friend.
	late := s.refer(winner, s.end-80*dayMS)
	late.then(worldAction{event: "entered", at: s.at(late.actions[0].at + 40*dayMS)})
	s.writeCheats("participant", "participant", func(d *deal, at int64) { d.then(worldAction{event: "entered", at: s.at(at)}) })
	s.writeHonest("participant", "participant", func(d *deal) { s.enter(d) })
}

// enter is what becomes of a friend.
func (s *story) enter(d *deal) {
	at := d.actions[0].at
	if s.chance(0.05) {
		s.judge(d, "reject", at+hourMS)
	}
	if s.chance(0.8) {
		d.then(worldAction{event: "entered", at: s.at(at + s.between(10, 300)*60_000)})
	}
}

// mail sends one of two subjects to each, in turn. The people of the mailing
// are nobody's friends.
func (s *story) mail(users int) {
	var links [len(subjects)]*worldLink
	for i, subject := range subjects {
		links[i] = &worldLink{code: s.run + "-" + subject.name, refereeType: "participant", channel: "email", campaign: s.campaign + "-mail", tags: []string{subject.name}}
		s.links = append(s.links, links[i])
	}
	for i := range users {
		segment, arm := segments[s.draw.IntN(len(segments))], i%len(subjects)
		message := s.campaign + "-" + subjects[arm].name
		user, at := fmt.Sprintf("%s-to%d", s.run, i), s.at(s.end-60*dayMS+s.draw.Int64N(hourMS))
		all, part := s.message(message), s.message(s.run+"-"+segment.name)
		report := func(event string, at int64) {
			s.reports = append(s.reports, demoAction{
				ID: user + "-" + event, Event: event, Time: formatMS(at), Program: s.program, UserID: user, Channel: "email",
				Properties: map[string]string{"message": message, "segment": s.run + "-" + segment.name},
			})
		}
		report("sent", at)
		all.sent, part.sent = all.sent+1, part.sent+1
		if s.chance(segment.bounce) {
			report("bounced", at+1000)
			all.bounced, part.bounced = all.bounced+1, part.bounced+1
			continue
		}
		if !s.chance(segment.open) {
			continue
		}
		report("opened", at+hourMS)
		all.opened, part.opened = all.opened+1, part.opened+1
		if !s.chance(segment.click) {
			continue
		}
		all.clicked++
		j := &journey{link: links[arm], userAgent: pick(s, browsers[:]), address: s.address(), hits: []worldHit{{at: s.at(at + 2*hourMS), content: message}}}
		s.journeys = append(s.journeys, j)
		// As near to the planted rate as whole people get, so that the test of few
		// has the same winner.
		if float64(all.entered)+0.5 <= subjects[arm].enter*float64(all.clicked) {
			// Without a click that the mailer reported, a segment knows of those who acted.
			all.entered, part.entered, part.clicked = all.entered+1, part.entered+1, part.clicked+1
			j.user, j.actions = user, []worldAction{{event: "entered", at: s.at(at + 3*hourMS)}}
		}
	}
}

// message is the count of a message, or of a segment.
func (s *story) message(name string) *mailing {
	if s.mailings[name] == nil {
		s.mailings[name] = &mailing{}
	}
	return s.mailings[name]
}

// earnContest settles the story by the rules as the example has them.
func earnContest(s *story) book {
	b := book{}
	entered, friends := map[string]bool{}, map[string]int{}
	monthly, spent := map[string]int64{}, int64(0)
	for _, d := range s.deeds() {
		if d.event != "entered" || entered[d.user] {
			continue
		}
		entered[d.user] = true
		if d.refused() || s.lapsed(d, 30) {
			continue
		}
		key := d.link.referrer + month(d.at)
		limits := []limit{{"cap_monthly", 10_00 - monthly[key]}}
		if d.link.campaign == s.campaign+"-budget" {
			limits = append(limits, limit{"budget", contestBudget - spent})
		}
		cents, cut := fraction{1_00, 1}.within(limits...)
		if monthly[key] += cents; len(limits) > 1 {
			spent += cents
		}
		s.reward(b, d, d.link.referrer, "entry-voucher", cents, cut, nil)
		s.reach(b, d, friends, map[int]milestone{5: {"five-friends", 10_00}, 10: {"ten-friends", 25_00}, 50: {"fifty-friends", 200_00}})
	}
	return b
}

// lookContest adds the mailing, the test of its subjects, and the leaderboard.
func lookContest(ctx context.Context, client *apiClient, s *story, truth, found ledger) error {
	for _, by := range []string{"message", "segment"} {
		rows, err := apiRows(ctx, client, "/v1/reports/messages", s.period(by))
		if err != nil {
			return err
		}
		for _, row := range rows {
			if s.mailings[text(row, "key")] != nil {
				addMailing(found, by, strings.TrimPrefix(strings.TrimPrefix(text(row, "key"), s.campaign+"-"), s.run+"-"), number(row["sent"]), number(row["opened"]),
					number(row["clicked"]), number(row["converted"]), number(row["bounced"]))
			}
		}
	}
	for name, m := range s.mailings {
		by := "segment"
		if strings.HasPrefix(name, s.campaign+"-") {
			by = "message"
		}
		addMailing(truth, by, strings.TrimPrefix(strings.TrimPrefix(name, s.campaign+"-"), s.run+"-"), float64(m.sent), float64(m.opened), float64(m.clicked), float64(m.entered), float64(m.bounced))
	}
	if err := lookVariants(ctx, client, s, truth, found); err != nil {
		return err
	}
	return lookLeaderboard(ctx, client, s, truth, found)
}

func addMailing(l ledger, by, name string, sent, opened, clicked, entered, bounced float64) {
	for column, n := range map[string]float64{"sent": sent, "opened": opened, "clicked": clicked, "converted": entered, "bounced": bounced} {
		l[by+" "+name+", "+column] = n
	}
	l[by+" "+name+", open rate"] = opened / max(1, sent)
	l[by+" "+name+", click rate"] = clicked / max(1, opened)
	l[by+" "+name+", conversion rate"] = entered / max(1, clicked)
	l[by+" "+name+", bounce rate"] = bounced / max(1, sent)
}

// decisive is how many visitors of each arm tell rates of 0.4 and 0.6 apart at
// the level of 5 %: 0.2 / √(0.5 · 0.5 · 2/n) > 1.96 from n = 49 on.
const decisive = 50

// lookVariants compares the test of the subjects with its formula, written
// once more: two proportions with the variance of both together.
func lookVariants(ctx context.Context, client *apiClient, s *story, truth, found ledger) error {
	rows, err := apiRows(ctx, client, "/v1/reports/campaign_variants", s.period(""))
	for _, row := range rows {
		if text(row, "campaign") != s.campaign+"-mail" {
			continue
		}
		line := "A/B " + text(row, "variant") + ", "
		found[line+"visitors"], found[line+"conversions"] = number(row["visitors"]), number(row["conversions"])
		if text(row, "control") != "true" {
			found["A/B difference"], found["A/B p-value"] = number(row["difference"]), number(row["p_value"])
		}
	}
	a, b := s.message(s.campaign+"-"+subjects[0].name), s.message(s.campaign+"-"+subjects[1].name)
	for i, m := range []*mailing{a, b} {
		truth["A/B "+subjects[i].name+", visitors"], truth["A/B "+subjects[i].name+", conversions"] = float64(m.clicked), float64(m.entered)
	}
	na, nb := float64(a.clicked), float64(b.clicked)
	both := float64(a.entered+b.entered) / (na + nb)
	difference := float64(b.entered)/nb - float64(a.entered)/na
	truth["A/B difference"] = difference
	if min(na, nb) >= decisive {
		truth["A/B winner is the planted one"], found["A/B winner is the planted one"] = 1, 0
		if found["A/B difference"] > 0 && found["A/B p-value"] < 0.05 {
			found["A/B winner is the planted one"] = 1
		}
	}
	truth["A/B p-value"] = math.Erfc(math.Abs(difference) / math.Sqrt(both*(1-both)*(1/na+1/nb)) / math.Sqrt2)
	return err
}

// standing is a place on the leaderboard.
type standing struct {
	friends, entered int
	tier             string
}

// standings are the friends that everybody has brought. Whom the customer
// rejected counts for no tier.
func (s *story) standings() (all map[string]standing) {
	all = map[string]standing{}
	counted := map[string]int{}
	for _, d := range s.deals {
		at := all[d.link.referrer]
		at.friends++
		if slices.ContainsFunc(d.actions, func(a worldAction) bool { return a.event == s.converts }) {
			at.entered++
			if !d.rejected {
				counted[d.link.referrer]++
			}
		}
		all[d.link.referrer] = at
	}
	for party, n := range counted {
		at := all[party]
		for _, tier := range []struct {
			name  string
			count int
		}{{"participant", 1}, {"contender", 5}, {"finalist", 10}, {"winner", 50}} {
			if n >= tier.count {
				at.tier = tier.name
			}
		}
		all[party] = at
	}
	return all
}

// lookLeaderboard compares the places of the run's parties.
func lookLeaderboard(ctx context.Context, client *apiClient, s *story, truth, found ledger) error {
	rows, err := apiRows(ctx, client, "/v1/reports/leaderboard", s.period(""))
	if err != nil {
		return err
	}
	all := s.standings()
	truth["leaderboard, parties"], truth["leaderboard, parties out of place"] = float64(len(all)), 0
	last, misplaced := standing{friends: math.MaxInt, entered: math.MaxInt}, 0
	for _, row := range rows {
		want, mine := all[text(row, "referrer")]
		if !mine {
			continue
		}
		found["leaderboard, parties"]++
		is := standing{int(number(row["signups"])), int(number(row["conversions"])), text(row, "tier")}
		if is != want || is.entered > last.entered || is.entered == last.entered && is.friends > last.friends {
			misplaced++
		}
		last = is
	}
	found["leaderboard, parties out of place"] = float64(misplaced)
	return nil
}
