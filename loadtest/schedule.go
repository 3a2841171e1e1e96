package loadtest

import (
	"math"
	"time"
)

// schedule says when the requests of one thread are due. Request i of the whole
// run is due i/rate seconds after the start, and belongs to thread i mod threads,
// so that all threads together keep the exact spacing of one.
//
// Every time is computed from i anew. Adding up an interval would add up its
// rounding, too: at 30,000 a second 0.3 ns each make a request too many an hour.
type schedule struct {
	rate            float64 // requests per second of all threads
	total           uint64  // requests of all threads
	thread, threads uint64
}

// newSchedule plans the requests of all threads: count, or with count 0 those
// that are due within the duration.
func newSchedule(rate float64, duration time.Duration, count uint64) schedule {
	if count == 0 {
		count = uint64(math.Ceil(rate * duration.Seconds()))
	}
	return schedule{rate: rate, total: count, threads: 1}
}

// of is the share of one thread.
func (s schedule) of(thread, threads int) schedule {
	s.thread, s.threads = uint64(thread), uint64(threads)
	return s
}

// count is the number of requests of this thread.
func (s schedule) count() uint64 {
	if s.thread >= s.total {
		return 0
	}
	return (s.total - s.thread + s.threads - 1) / s.threads
}

// due is when this thread's request k (from 0) is due, from the start.
func (s schedule) due(k uint64) time.Duration {
	i := s.thread + k*s.threads
	return time.Duration(math.Round(float64(i) / s.rate * 1e9))
}

// duration is the time in which the requests of all threads are due.
func (s schedule) duration() time.Duration {
	return time.Duration(float64(s.total) / s.rate * 1e9)
}
