package loadtest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"waymark/loadtest/ledger"
)

// Options are the settings of a run.
type Options struct {
	Rate        float64       // requests a second
	Duration    time.Duration // how long requests are due; or
	Requests    uint64        // how many, if not 0
	Connections int           // of all threads together
	Threads     int           // each takes a core when it is busy
	Timeout     time.Duration // until an answer is given up
	MaxFailures uint64        // the run ends after so many; 0: never
	Seed        uint64        // the same seed draws the same requests

	// Progress is called at the end of each second, with a lock held that the
	// generator needs once a second: it should not wait.
	Progress func(Second)
}

// ErrTooManyFailures means that a run ended before its time.
var ErrTooManyFailures = errors.New("too many requests failed")

// Check names the first setting that cannot be.
func (o *Options) Check() error {
	switch {
	case !(o.Rate > 0 && o.Rate <= 1e7):
		return fmt.Errorf("--rate must lie above 0 and be at most 10,000,000 a second, it is %v", o.Rate)
	case o.Requests == 0 && o.Duration <= 0:
		return errors.New("--duration must be above 0 unless --requests is given")
	case o.Threads < 1 || o.Threads > 256:
		return fmt.Errorf("--threads must lie between 1 and 256, it is %d", o.Threads)
	case o.Connections < o.Threads || o.Connections > 1_000_000:
		return fmt.Errorf("--connections must lie between --threads (%d) and 1,000,000, it is %d", o.Threads, o.Connections)
	case o.Timeout < time.Millisecond:
		return fmt.Errorf("--timeout must be at least 1ms, it is %v", o.Timeout)
	}
	return nil
}

// Run is a load test. It is used once.
type Run struct {
	Options
	schedule schedule
	started  time.Time
	seconds  seconds
	stopAt   atomic.Int64 // from the start, 0: not to be stopped
	held     atomic.Bool
	failures []atomic.Uint64
	loops    []*loop
	sources  func(thread int, random *rand.Rand) source
	targets  []endpoint
}

// newRun prepares a run against the targets, over which the connections are
// spread in turn.
func newRun(o Options, targets []endpoint, sources func(thread int, random *rand.Rand) source) (*Run, error) {
	if err := o.Check(); err != nil {
		return nil, err
	}
	r := &Run{Options: o, schedule: newSchedule(o.Rate, o.Duration, o.Requests), targets: targets, sources: sources}
	r.seconds = seconds{loops: o.Threads, progress: o.Progress}
	r.failures = make([]atomic.Uint64, o.Threads)
	return r, nil
}

// Hold stops sending, or goes on with it; within tickEvery each thread knows. What
// falls due meanwhile stays due and is charged with the wait.
func (r *Run) Hold(on bool) { r.held.Store(on) }

// now is the time since the start.
func (r *Run) now() time.Duration { return time.Since(r.started) }

func (r *Run) tooManyFailures() bool {
	if r.MaxFailures == 0 {
		return false
	}
	total := uint64(0)
	for i := range r.failures {
		total += r.failures[i].Load()
	}
	return total >= r.MaxFailures
}

// Do sends the requests and returns what came of them, also with an error: when
// the context ends, or ErrTooManyFailures.
func (r *Run) Do(ctx context.Context) (*Result, error) {
	for i := range r.Threads {
		share := r.Connections / r.Threads
		if i < r.Connections%r.Threads {
			share++
		}
		random := rand.New(rand.NewPCG(r.Seed, uint64(i)))
		l, err := newLoop(r, i, r.sources(i, random), r.targets, share)
		if err != nil {
			return nil, err
		}
		r.loops = append(r.loops, l)
	}
	r.started = time.Now()
	var dials errgroup.Group
	for _, l := range r.loops {
		dials.Go(l.connect)
	}
	if err := dials.Wait(); err != nil {
		for _, l := range r.loops {
			l.finish()
		}
		return nil, err
	}
	started := time.Now()
	r.started = started
	var work errgroup.Group
	for _, l := range r.loops {
		work.Go(func() error { return errors.Join(l.work(ctx), l.finish()) })
	}
	err := work.Wait()
	result := r.result(started, r.now())
	if err == nil && r.tooManyFailures() {
		err = fmt.Errorf("%w: %d, --max-errors is %d", ErrTooManyFailures, result.Failed, r.MaxFailures)
	}
	if err == nil {
		err = ctx.Err()
	}
	return result, err
}

// NewTargets prepares a run against a list of URLs.
func NewTargets(o Options, t Targets) (*Run, error) {
	endpoints, err := t.prepare()
	if err != nil {
		return nil, err
	}
	return newRun(o, endpoints, func(_ int, random *rand.Rand) source { return &targetSource{t, random} })
}

// NewTraffic prepares a run of visitors who follow the links of a campaign. What
// is answered is written to the ledger, unless that is nil.
func NewTraffic(o Options, c *Campaign, t Traffic, w *ledger.Writer) (*Run, error) {
	endpoints, err := c.endpoints()
	if err != nil {
		return nil, err
	}
	if err := t.Check(); err != nil {
		return nil, err
	}
	return newRun(o, endpoints, func(thread int, random *rand.Rand) source {
		return newTrafficSource(c, t, w, thread, max(t.Visitors/o.Threads, 1), random)
	})
}
