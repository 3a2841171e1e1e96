package main

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"
)

// conductor plays a story: what happens, then what people do about it.
type conductor struct {
	*demoCommand
	client *apiClient
	driver *driver
	story  *story
	told   *receiver // nil where the programme tells nobody
}

// payoutParties are named in one request at most.
const payoutParties = 500

// play sends the story, lets people decide, pays twice under one name, and
// takes back some of what was paid. It returns what must be and what is.
func (c *conductor) play(ctx context.Context) (truth, found ledger, err error) {
	s := c.story
	if err := s.writePartners(ctx, c.client); err != nil {
		return nil, nil, err
	}
	bar := newProgress("simulating "+s.campaign, "events", int64(s.steps()))
	c.driver.progress = func(n int) { bar.Add(n) }
	err = c.driver.drive(ctx, &s.world)
	bar.Exit()
	if err != nil {
		return nil, nil, err
	}
	if truth, found, err = c.compare(ctx, c.look); err != nil || differences(truth, found) > 0 {
		return truth, found, err
	}
	if err := c.decideAll(ctx); err != nil {
		return nil, nil, err
	}
	if truth, found, err = c.compare(ctx, c.look); err != nil || differences(truth, found) > 0 {
		return truth, found, err
	}
	paid, err := c.pay(ctx)
	if err != nil {
		return nil, nil, err
	}
	// Who is rejected late was accepted before, and that must have been told.
	if truth, found, err = c.compare(ctx, c.lookTold); err != nil || differences(truth, found) > 0 {
		return truth, found, err
	}
	for _, refund := range s.late {
		if err := c.driver.post(ctx, []demoAction{refund()}); err != nil {
			return nil, nil, err
		}
	}
	truth, found = ledger{}, ledger{}
	for _, look := range []look{c.look, c.lookTold, c.lookClosing} {
		must, is, err := c.compare(ctx, look)
		if err != nil {
			return nil, nil, err
		}
		maps.Copy(truth, must)
		maps.Copy(found, is)
		if differences(must, is) > 0 {
			return truth, found, nil
		}
	}
	for _, cents := range s.settled {
		truth["payouts, total"] += float64(cents)
	}
	truth["payouts, total"] /= 100
	truth["payouts, asked for again"] = truth["payouts, total"]
	maps.Copy(found, paid)
	return truth, found, nil
}

// look fills lines of what must be and of what is.
type look func(ctx context.Context, truth, found ledger) error

// compare waits until what a look finds agrees with the story, or makes no
// progress.
func (c *conductor) compare(ctx context.Context, look look) (truth, found ledger, err error) {
	for changed := time.Now(); ; {
		now, is := ledger{}, ledger{}
		if err := look(ctx, now, is); err != nil {
			return nil, nil, err
		}
		// What only one of them has, the other has none of.
		for name := range is {
			now[name] += 0
		}
		for name := range now {
			is[name] += 0
		}
		if found == nil || differences(is, found) > 0 {
			changed = time.Now()
		}
		if truth, found = now, is; differences(truth, found) == 0 || time.Since(changed) > c.Wait {
			return truth, found, nil
		}
		select {
		case <-ctx.Done():
			return nil, nil, ctx.Err()
		case <-time.After(500 * time.Millisecond):
		}
	}
}

// look fills the lines of money and fraud.
func (c *conductor) look(ctx context.Context, truth, found ledger) error {
	s := c.story
	want := s.settle(s.earn(s))
	have, err := foundRewards(ctx, c.client, s)
	if err != nil {
		return err
	}
	want.tally(truth, s.rules, s.multipliers)
	have.tally(found, s.rules, s.multipliers)
	truth["rewards unlike the truth"], found["rewards unlike the truth"] = 0, float64(want.unlike(have))
	want.balances(truth)
	if err := foundBalances(ctx, c.client, s, found); err != nil {
		return err
	}
	said, err := foundFraud(ctx, c.client, s)
	if err != nil {
		return err
	}
	tallyFraud(truth, s.planted(), s.planted())
	tallyFraud(found, s.planted(), said)
	if s.look != nil {
		if err := s.look(ctx, c.client, s, truth, found); err != nil {
			return err
		}
	}
	return nil
}

// lookTold fills those of what the receiver of webhooks was told.
func (c *conductor) lookTold(_ context.Context, truth, found ledger) error {
	if c.told != nil {
		c.told.look(c.story, truth, found)
	}
	return nil
}

// lookClosing fills those that are looked at once, when all else is right.
func (c *conductor) lookClosing(ctx context.Context, truth, found ledger) error {
	s := c.story
	want := s.settle(s.earn(s))
	have, err := foundRewards(ctx, c.client, s)
	if err != nil {
		return err
	}
	all, exercised, err := s.exercised(have)
	if err != nil {
		return err
	}
	truth["reward rules exercised"], found["reward rules exercised"] = float64(all), float64(exercised)
	if err := s.lookCampaigns(ctx, c.client, want, have, truth, found); err != nil {
		return err
	}
	if err := s.lookChannels(ctx, c.client, truth, found); err != nil {
		return err
	}
	return s.lookStatements(ctx, c.client, want, truth, found)
}

// people decide at once.
const people = 8

// decideAll enters what people decide: about referrals that are suspected, and
// about rewards, where they must be approved.
func (c *conductor) decideAll(ctx context.Context) error {
	s := c.story
	said, err := foundFraud(ctx, c.client, s)
	if err != nil {
		return err
	}
	have, err := foundRewards(ctx, c.client, s)
	if err != nil {
		return err
	}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(people)
	post := func(path string, body any) {
		group.Go(func() error {
			if err := c.client.call(ctx, "POST", path, body, nil); err != nil {
				return fmt.Errorf("decide in a person's place: %w", err)
			}
			return nil
		})
	}
	for _, d := range s.decisions {
		post("/v1/fraud/"+said[[2]string{d.link.referrer, d.user}].id+"/decision", map[string]string{"decision": d.verdict, "reason": "looked at in a demonstration"})
	}
	for i, e := range s.earn(s).calculated() {
		if have[e.earningKey] == nil {
			continue // the comparison that follows says so
		}
		switch {
		case e.fact == "" || i%5 == 0:
			s.approved[e.earningKey] = true
			post("/v1/rewards/"+have[e.earningKey].id+"/approve", nil)
		case i%20 == 1:
			s.dismissed[e.earningKey] = true
			post("/v1/rewards/"+have[e.earningKey].id+"/reject", nil)
		}
	}
	for _, d := range s.decisions {
		d.decided = d.verdict
	}
	return group.Wait()
}

// pay pays the parties of the run, and asks for it again by the same name.
func (c *conductor) pay(ctx context.Context) (ledger, error) {
	s := c.story
	b := s.settle(s.earn(s))
	b.pay()
	paid := ledger{}
	for i, parties := range slices.Collect(slices.Chunk(b.parties(), payoutParties)) {
		for _, line := range []string{"payouts, total", "payouts, asked for again"} {
			var batch payoutBatch
			in := map[string]any{"program": s.program, "key": fmt.Sprint(s.campaign, "-", i), "parties": parties}
			if err := c.client.call(ctx, "POST", "/v1/payouts", in, &batch); err != nil {
				return nil, fmt.Errorf("pay %d parties: %w", len(parties), err)
			}
			paid[line] += number(batch.Total)
		}
	}
	for key, e := range b {
		if e.settled != 0 {
			s.settled[key] = e.settled
			s.paidFor[e.referee] = true
		}
	}
	return paid, nil
}
