package loadtest

import (
	"time"

	hdr "github.com/HdrHistogram/hdrhistogram-go"
)

// Result is what came of a run. Latencies run from when a request was due.
type Result struct {
	Format      int       `json:"format"` // 1
	Seed        uint64    `json:"seed"`
	Started     time.Time `json:"started"`
	Seconds     float64   `json:"seconds"` // until the last answer
	Connections int       `json:"connections"`
	Threads     int       `json:"threads"`

	RateAsked float64 `json:"rate_asked"` // requests a second
	Rate      float64 `json:"rate"`       // answers a second
	Due       uint64  `json:"due"`        // requests of the schedule
	Sent      uint64  `json:"sent"`
	Answered  uint64  `json:"answered"`
	Unsent    uint64  `json:"unsent"` // due, but no connection was free until the end

	Failed   uint64            `json:"failed"`
	Failures map[string]uint64 `json:"failures"` // by why
	Status   map[int]uint64    `json:"status"`

	LatencyMS Summary            `json:"latency_ms"`
	ServiceMS Summary            `json:"service_ms"` // from when it was sent
	Kinds     map[string]KindSum `json:"kinds"`
	EachSec   []Second           `json:"each_second"`

	latency *hdr.Histogram
}

// KindSum is one kind of request.
type KindSum struct {
	Answered  uint64  `json:"answered"`
	LatencyMS Summary `json:"latency_ms"`
}

// result adds the loops up.
func (r *Run) result(started time.Time, took time.Duration) *Result {
	names := r.loops[0].source.kinds()
	sum := newRecorder(len(names))
	for _, l := range r.loops {
		sum.merge(l.recorder)
	}
	result := &Result{
		Format: 1, Seed: r.Seed, Started: started.UTC(), Seconds: took.Seconds(), Connections: r.Connections, Threads: r.Threads,
		RateAsked: r.Rate, Due: r.schedule.total, Sent: sum.sent, Unsent: sum.unsent, Failed: sum.failures(),
		Failures: map[string]uint64{}, Status: map[int]uint64{}, Kinds: map[string]KindSum{},
		LatencyMS: summarise(sum.latency), ServiceMS: summarise(sum.service), EachSec: r.seconds.closed, latency: sum.latency,
	}
	for status, n := range sum.status {
		if n > 0 {
			result.Status[status] = n
			result.Answered += n
		}
	}
	for i, n := range sum.failed {
		if n > 0 {
			result.Failures[failureNames[i]] = n
		}
	}
	for i, name := range names {
		if n := sum.kinds[i].TotalCount(); n > 0 {
			result.Kinds[name] = KindSum{uint64(n), summarise(sum.kinds[i])}
		}
	}
	result.Rate = float64(result.Answered) / result.Seconds
	return result
}
