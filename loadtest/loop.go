package loadtest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// tickEvery is how often a loop looks for time-outs, dials again and flushes
	// its ledger. It bounds what the ledger lacks when the generator dies.
	tickEvery = 100 * time.Millisecond
	// redialAfter is the shortest pause after a failed dial, so that a server that
	// is away is not stormed.
	redialAfter = 100 * time.Millisecond
	// stopWait is how long answers are waited for after an interrupt.
	stopWait = time.Second
	readSize = 64 << 10
)

// loop is one thread of the generator. Everything in it belongs to that thread,
// but dialled, which is how connections come in.
type loop struct {
	run      *Run
	index    int
	source   source
	schedule schedule
	recorder *recorder
	poller   *poller
	conns    []connection
	idle     []int32 // ring of connections without a request, the longest idle first
	head     int     // of the ring
	idling   int     // in the ring
	waiting  int     // connections with a request
	next     uint64  // request of the schedule that is to be sent next
	count    uint64  // requests of the schedule
	buffer   []byte
	nextTick time.Duration
	second   int  // the second under way
	frozen   bool // nothing more is sent
	dialled  chan dialled
	dials    sync.WaitGroup
	hurry    context.CancelFunc // ends the dials
	ctx      context.Context    // of the dials
	lastErr  error              // of a dial
}

// dialled is the outcome of a dial.
type dialled struct {
	id     int32
	stream io.ReadWriteCloser
	fd     int
	err    error
}

func newLoop(r *Run, index int, s source, endpoints []endpoint, connections int) (*loop, error) {
	p, err := newPoller()
	if err != nil {
		return nil, err
	}
	l := &loop{
		run: r, index: index, source: s, recorder: newRecorder(len(s.kinds())), poller: p,
		schedule: r.schedule.of(index, r.Threads),
		conns:    make([]connection, connections), idle: make([]int32, connections),
		buffer:  make([]byte, readSize),
		dialled: make(chan dialled, connections), // one a connection, so that no dial waits
	}
	l.count = l.schedule.count()
	l.ctx, l.hurry = context.WithCancel(context.Background())
	for i := range l.conns {
		c := &l.conns[i]
		c.id, c.target = int32(i), (index+i)%len(endpoints)
		c.endpoint = endpoints[c.target]
	}
	return l, nil
}

// connect dials all connections and waits until each is up or has failed.
func (l *loop) connect() error {
	for i := range l.conns {
		l.dial(&l.conns[i])
	}
	for range l.conns {
		l.attach(<-l.dialled, 0)
	}
	if l.idling == 0 {
		return fmt.Errorf("connect to %s: %w", l.conns[0].endpoint.address, l.lastErr)
	}
	return nil
}

func (l *loop) dial(c *connection) {
	c.state = dialing
	id, to := c.id, c.endpoint
	l.dials.Go(func() {
		ctx, cancel := context.WithTimeout(l.ctx, l.run.Timeout)
		defer cancel()
		s, fd, err := to.dial(ctx)
		l.dialled <- dialled{id, s, fd, err}
		l.poller.wake()
	})
}

// attach takes in the outcome of a dial.
func (l *loop) attach(d dialled, now time.Duration) {
	c := &l.conns[d.id]
	if d.err == nil {
		if d.err = l.poller.add(d.fd, d.id); d.err != nil {
			d.stream.Close()
		}
	}
	if d.err != nil {
		c.state, c.redialAt, l.lastErr = down, now+redialAfter, d.err
		l.recorder.fail(failedConnect)
		return
	}
	c.stream = d.stream
	l.rest(c)
}

// rest puts a connection at the end of the idle ones.
func (l *loop) rest(c *connection) {
	c.state = idle
	l.idle[(l.head+l.idling)%len(l.idle)] = c.id
	l.idling++
}

// take returns the connection that was idle longest, nil if there is none.
func (l *loop) take() *connection {
	if l.idling == 0 {
		return nil
	}
	c := &l.conns[l.idle[l.head]]
	l.head = (l.head + 1) % len(l.idle)
	l.idling--
	return c
}

// drop takes a connection that broke out of the idle ones.
func (l *loop) drop(c *connection) {
	for range l.idling {
		if other := l.take(); other != c {
			l.rest(other)
		}
	}
}

// work sends everything that is due, until all is answered or given up. It
// owns its thread.
func (l *loop) work(ctx context.Context) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	// The kernel may end a wait 50 µs late to save power; here that is latency.
	unix.Prctl(unix.PR_SET_TIMERSLACK, 1, 0, 0, 0)
	l.nextTick = tickEvery
	for {
		now := l.run.now()
		if now >= l.nextTick {
			if stop, err := l.tick(ctx, now); stop || err != nil {
				return err
			}
		}
		if err := l.issue(now); err != nil {
			return err
		}
		if (l.next == l.count || l.frozen) && l.waiting == 0 {
			return nil
		}
		events, err := l.poller.wait(l.pause())
		if err != nil {
			return err
		}
		for i := range events {
			if err := l.handle(events[i].Fd); err != nil {
				return err
			}
		}
	}
}

// pause is the time until the loop has something to do of itself.
func (l *loop) pause() time.Duration {
	until := l.nextTick
	if l.next < l.count && l.idling > 0 && !l.frozen && !l.run.held.Load() {
		until = min(until, l.schedule.due(l.next))
	}
	return until - l.run.now()
}

// issue sends what is due on the connections that are free. What finds none stays
// due: the schedule is the queue, so it takes no memory however long it grows.
func (l *loop) issue(now time.Duration) error {
	for l.next < l.count && !l.frozen && !l.run.held.Load() {
		due := l.schedule.due(l.next)
		if due > now {
			return nil
		}
		c := l.take()
		if c == nil {
			return nil
		}
		l.next++
		c.due = due
		c.out = l.source.next(c.out[:0], &c.exchange)
		c.parser.reset(c.toHead)
		c.in = c.in[:0]
		c.state = busy
		c.sent = l.run.now()
		l.waiting++
		l.recorder.sent++
		if err := c.send(); err != nil {
			if err := l.lose(c, failedCut, c.sent); err != nil {
				return err
			}
		}
	}
	return nil
}

// handle serves one event.
func (l *loop) handle(id int32) error {
	if id == wakeID {
		for {
			select {
			case d := <-l.dialled:
				l.attach(d, l.run.now())
			default:
				return nil
			}
		}
	}
	c := &l.conns[id]
	switch c.state {
	case busy:
		complete, err := c.receive(l.buffer)
		if err != nil {
			reason := failedCut
			if err == errMalformed {
				reason = failedMalformed
			}
			return l.lose(c, reason, l.run.now())
		}
		if complete {
			return l.complete(c)
		}
	case idle:
		// TLS has something to say of itself now and then. Anything else is the
		// end of the connection, or an answer that nobody asked for.
		if n, err := c.stream.Read(l.buffer); n == 0 && errors.Is(err, errAgain) {
			return nil
		}
		l.drop(c)
		l.hangUp(c)
	}
	return nil
}

// complete takes in an answer.
func (l *loop) complete(c *connection) error {
	now := l.run.now()
	l.waiting--
	l.recorder.answered(&c.exchange, c.parser.status, now)
	good, err := l.source.answered(&c.exchange, &c.parser.response)
	if !good {
		l.recorder.fail(failedUnexpected)
	}
	if c.parser.close {
		l.hangUp(c)
	} else {
		l.rest(c)
	}
	return err
}

// lose gives up a request whose answer will not come.
func (l *loop) lose(c *connection, reason failure, now time.Duration) error {
	l.waiting--
	l.recorder.fail(reason)
	if reason == failedTimeout {
		l.recorder.abandoned(c.due, now)
	}
	l.hangUp(c)
	return l.source.cut(&c.exchange)
}

// hangUp closes a connection and makes another in its place.
func (l *loop) hangUp(c *connection) {
	c.stream.Close()
	c.stream = nil
	l.dial(c)
}

// tick does what need not be done for each request. It reports true when the run
// shall end before everything is sent.
func (l *loop) tick(ctx context.Context, now time.Duration) (stop bool, err error) {
	l.nextTick = now.Truncate(tickEvery) + tickEvery
	for i := range l.conns {
		c := &l.conns[i]
		switch {
		case c.state == busy && now-c.sent > l.run.Timeout:
			if err := l.lose(c, failedTimeout, now); err != nil {
				return true, err
			}
		case c.state == down && now >= c.redialAt:
			l.dial(c)
		}
	}
	if err := l.source.flush(); err != nil {
		return true, err
	}
	for l.second < int(now/time.Second) {
		l.run.seconds.publish(l.second, l.recorder)
		l.second++
	}
	l.run.failures[l.index].Store(l.recorder.failures())
	if ctx.Err() != nil || l.run.tooManyFailures() {
		l.frozen = true
		l.run.stopAt.CompareAndSwap(0, int64(now+stopWait))
	}
	if at := l.run.stopAt.Load(); at != 0 && now > time.Duration(at) {
		return true, nil
	}
	if now > l.schedule.duration()+l.run.Timeout {
		l.frozen = true // what is still due was never sent
	}
	return false, nil
}

// finish closes everything and accounts for what is left.
func (l *loop) finish() error {
	now := l.run.now()
	l.hurry()
	l.dials.Wait() // they wake the poller, which is closed below
	var first error
	for i := range l.conns {
		c := &l.conns[i]
		if c.state == busy {
			l.waiting--
			l.recorder.fail(failedTimeout)
			l.recorder.abandoned(c.due, now)
			if err := l.source.cut(&c.exchange); first == nil {
				first = err
			}
		}
		if c.state == dialing {
			if d := <-l.dialled; d.err == nil {
				d.stream.Close()
			}
		} else if c.stream != nil {
			c.stream.Close()
		}
	}
	for ; l.next < l.count && l.schedule.due(l.next) <= now; l.next++ {
		l.recorder.unsent++
		l.recorder.abandoned(l.schedule.due(l.next), now)
	}
	if err := l.source.flush(); first == nil {
		first = err
	}
	l.run.seconds.publish(l.second, l.recorder)
	l.run.seconds.leave(l.second)
	l.run.failures[l.index].Store(l.recorder.failures())
	l.poller.close()
	return first
}
