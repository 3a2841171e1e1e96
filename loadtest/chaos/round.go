package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"waymark/loadtest"
	"waymark/loadtest/ledger"
)

// round is load, faults, recovery and judgement, on an installation that has
// seen others.
type round struct {
	*deployment
	seed   uint64
	plan   plan
	steps  []step
	run    *loadtest.Run
	ledger string
	links  *linkWriter

	answered atomic.Uint64 // well, so far

	mu     sync.Mutex
	held   map[string]chan struct{} // of one place: whoever is in it holds the thing
	after  []func(context.Context) error
	shed   uint64 // clicks that edges say they have shed
	broken bool   // a spool was damaged: what is missing is to be named by audit

	result outcome
}

// outcome is what is said about a round.
type outcome struct {
	seed     uint64
	topology topology
	faults   []string
	steps    []step
	answered uint64 // clicks and actions
	open     uint64
	lost     uint64 // of the clicks, whatever the reason
	doubled  uint64
	shed     uint64
	damaged  uint64 // lost with a damaged spool, as audit says
	took     stages
	waited   error // what settling waited for last
	failures []error
	kept     string // directory, when it failed
}

// stages are how long a round took: to make links, to send the load and do the
// faults, until everything was in ClickHouse, to judge.
type stages struct{ preparing, hurting, settling, judging time.Duration }

func (s stages) sum() time.Duration { return s.preparing + s.hurting + s.settling + s.judging }

func (s stages) String() string {
	return fmt.Sprintf("%.1f + %.1f + %.1f + %.1f s", s.preparing.Seconds(), s.hurting.Seconds(), s.settling.Seconds(), s.judging.Seconds())
}

// since is the time since began, which it sets anew.
func since(began *time.Time) time.Duration {
	now := time.Now()
	defer func() { *began = now }()
	return now.Sub(*began)
}

func (o *outcome) fail(err error) {
	if err != nil {
		o.failures = append(o.failures, err)
	}
}

// loadPatience is when an answer is given up.
const loadPatience = time.Minute

// answersMin is how many requests must be answered before the load may end, so
// that there are eventsMin events: some requests ask for what does not exist.
const answersMin = eventsMin * 11 / 10

// newRound makes the choices of a round.
func newRound(d *deployment, seed uint64, p plan) *round {
	r := &round{deployment: d, seed: seed, plan: p, held: map[string]chan struct{}{}}
	r.steps = p.steps(r)
	r.result = outcome{seed: seed, topology: d.topology, steps: r.steps}
	for _, s := range r.steps {
		r.result.faults = append(r.result.faults, s.kind.name)
	}
	r.ledger = filepath.Join(d.dir, fmt.Sprintf("ledger-%d", d.rounds))
	d.rounds++
	return r
}

// play plays the round and returns what came of it.
func (r *round) play(ctx context.Context) *outcome {
	r.result.fail(r.hurt(ctx))
	if ctx.Err() == nil && len(r.result.failures) == 0 {
		began := time.Now()
		r.result.fail(r.judge(ctx))
		r.result.took.judging = since(&began)
	}
	if len(r.result.failures) == 0 {
		os.Remove(r.ledger)
	}
	return &r.result
}

// hurt sends the load, does what is planned meanwhile, and brings everything
// back.
func (r *round) hurt(ctx context.Context) error {
	began, took := time.Now(), &r.result.took
	if err := r.prepare(ctx); err != nil {
		return fmt.Errorf("prepare the load: %w", err)
	}
	took.preparing = since(&began)
	writing, stopWriting := context.WithCancel(ctx)
	defer stopWriting()
	var work errgroup.Group
	work.Go(func() error { r.links.work(writing); return nil })
	var faults errgroup.Group
	for _, s := range r.steps {
		faults.Go(func() error {
			if err := r.do(ctx, s); err != nil {
				return fmt.Errorf("%s: %w", s, err)
			}
			return nil
		})
	}
	loading, enough := context.WithCancel(ctx)
	defer enough()
	work.Go(func() error {
		defer enough()
		return errors.Join(faults.Wait(), r.awaitEnough(ctx, began))
	})
	result, err := r.run.Do(loading)
	stopWriting()
	if ctx.Err() == nil && errors.Is(err, context.Canceled) {
		err = nil // it was ended
	}
	if err != nil {
		err = fmt.Errorf("send the load: %w", err)
	}
	if err = errors.Join(err, work.Wait(), r.links.book.Close()); err == nil {
		err = checkStatus(result)
	}
	for _, after := range r.after {
		err = errors.Join(err, after(ctx))
	}
	took.hurting = since(&began)
	err = errors.Join(err, r.recover(ctx))
	took.settling = since(&began)
	return err
}

// prepare makes the links of the round and its load.
func (r *round) prepare(ctx context.Context) error {
	var here, everywhere []string
	for _, e := range r.edges {
		here = append(here, "http://"+e.listens[e.current])
		for _, listen := range e.listens {
			if url := "http://" + listen; !slices.Contains(everywhere, url) {
				everywhere = append(everywhere, url)
			}
		}
	}
	campaign, err := loadtest.NewCampaign(ctx, loadtest.API{URL: r.adminURL, Key: r.key}, here, 200, func(int) {})
	if err != nil {
		return err
	}
	book, err := ledger.Create(r.ledger, ledger.Header{Run: campaign.Run, Program: campaign.Program, Started: time.Now()})
	if err != nil {
		return err
	}
	r.links = newLinkWriter(r, campaign.Run, book)
	if err := campaign.Await(ctx, book); err != nil {
		return errors.Join(err, book.Close())
	}
	duration := r.plan.duration
	for _, s := range r.steps {
		duration = max(duration, s.at+s.lasts)
	}
	// What is long need not be more: the requests of a usual round are spread over it.
	rate := r.plan.rate * max(r.plan.duration.Seconds()/duration.Seconds(), 0.15)
	traffic := loadtest.DefaultTraffic()
	traffic.Visitors = 2000
	r.run, err = loadtest.NewTraffic(loadtest.Options{
		Rate: rate, Duration: duration + 2*patience, Connections: 8 * len(everywhere), Threads: 1, Timeout: loadPatience, Seed: r.seed,
		Progress: func(s loadtest.Second) { r.answered.Add(s.Answered - min(s.Failed, s.Answered)) },
	}, campaign.At(everywhere), traffic, book)
	return err
}

// do waits for the time of a step and for the things that it needs to itself.
func (r *round) do(ctx context.Context, s step) error {
	if err := pause(ctx, s.at); err != nil {
		return err
	}
	release, err := r.hold(ctx, s.holds)
	if err != nil {
		return err
	}
	defer release()
	doing, cancel := context.WithTimeout(ctx, patience+s.lasts)
	defer cancel()
	return s.action.do(doing)
}

// hold takes things, in an order that is the same for all, so that nobody waits
// for somebody who waits for him.
func (r *round) hold(ctx context.Context, things []string) (release func(), err error) {
	var taken []chan struct{}
	release = func() {
		for _, thing := range taken {
			<-thing
		}
	}
	for _, name := range slices.Sorted(slices.Values(things)) {
		r.mu.Lock()
		thing := r.held[name]
		if thing == nil {
			thing = make(chan struct{}, 1)
			r.held[name] = thing
		}
		r.mu.Unlock()
		select {
		case thing <- struct{}{}:
			taken = append(taken, thing)
		case <-ctx.Done():
			release()
			return nil, ctx.Err()
		}
	}
	return release, nil
}

// later notes what is to be done once the load has ended.
func (r *round) later(do func(context.Context) error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.after = append(r.after, do)
}

// awaitEnough waits until load has flowed for as long as planned, and longer where
// too little of it was answered.
func (r *round) awaitEnough(ctx context.Context, began time.Time) error {
	if err := pause(ctx, time.Until(began.Add(r.plan.duration))); err != nil {
		return err
	}
	return await(ctx, "enough answers", patience, func(context.Context) error {
		if n := r.answered.Load(); n < answersMin {
			return fmt.Errorf("%d were answered, there should be %d", n, answersMin)
		}
		return nil
	})
}

// recover brings back what is down and waits until nothing is under way.
func (r *round) recover(ctx context.Context) error {
	var errs []error
	for _, p := range r.all {
		if err := p.failed(); err != nil {
			errs = append(errs, err)
		}
		if p.idle {
			errs = append(errs, p.stop())
		} else {
			errs = append(errs, p.start())
		}
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	if err := r.awaitReady(ctx); err != nil {
		return err
	}
	return await(ctx, "everything to be in ClickHouse", patience, func(ctx context.Context) error {
		err := r.isDrained(ctx)
		if err != nil {
			r.result.waited = err
		}
		return err
	})
}

// checkStatus sees that no visitor got an answer that none should get.
func checkStatus(result *loadtest.Result) error {
	var errs []error
	for status, count := range result.Status {
		switch status {
		case 200, 202, 302, 503:
		case 404:
			if unknown := result.Kinds["unknown codes"].Answered; count > unknown {
				errs = append(errs, fmt.Errorf("%d requests for links that exist were answered 404", count-unknown))
			}
		default:
			errs = append(errs, fmt.Errorf("%d requests were answered %d", count, status))
		}
	}
	return errors.Join(errs...)
}
