package loadtest

import (
	"time"

	hdr "github.com/HdrHistogram/hdrhistogram-go"
)

// Latencies are recorded in nanoseconds, from 1 µs to an hour, to three digits.
// What is longer counts as an hour.
const (
	latencyMin = int64(time.Microsecond)
	latencyMax = int64(time.Hour)
)

func newHistogram() *hdr.Histogram { return hdr.New(latencyMin, latencyMax, 3) }

func record(h *hdr.Histogram, d time.Duration) {
	if err := h.RecordValue(min(max(int64(d), 0), latencyMax)); err != nil {
		panic("BUG: record a latency: " + err.Error())
	}
}

// failure is why a request was not answered, or not well.
type failure uint8

const (
	failedConnect    failure = iota // no connection; no request was sent
	failedCut                       // the connection broke before the answer was complete
	failedTimeout                   // no answer within the time-out
	failedMalformed                 // no HTTP/1.1
	failedUnexpected                // an answer, but not the one that should have come
	failures
)

var failureNames = [failures]string{"connect", "cut", "timeout", "malformed", "unexpected"}

// recorder counts for one loop, which owns it.
type recorder struct {
	latency *hdr.Histogram // from when the request was due
	service *hdr.Histogram // from when it was sent
	kinds   []*hdr.Histogram
	status  [600]uint64
	failed  [failures]uint64
	sent    uint64
	unsent  uint64 // due, but there was no connection to send it on until the end

	// Of the second under way; handed over when it ends.
	second         *hdr.Histogram
	secondAnswered uint64
	secondFailed   uint64
}

func newRecorder(kinds int) *recorder {
	r := &recorder{latency: newHistogram(), service: newHistogram(), second: newHistogram()}
	for range kinds {
		r.kinds = append(r.kinds, newHistogram())
	}
	return r
}

// answered counts an answer of any status.
func (r *recorder) answered(x *exchange, status int, now time.Duration) {
	r.status[status]++
	r.secondAnswered++
	record(r.latency, now-x.due)
	record(r.second, now-x.due)
	record(r.service, now-x.sent)
	record(r.kinds[x.kind], now-x.due)
}

// abandoned counts a request that timed out, or that could not be sent at all.
// It enters the latencies with the time for which it has waited: leaving it out
// would make a server look the better the worse it is.
func (r *recorder) abandoned(due, now time.Duration) {
	record(r.latency, now-due)
	record(r.second, now-due)
}

func (r *recorder) fail(f failure) {
	r.failed[f]++
	r.secondFailed++
}

func (r *recorder) failures() uint64 {
	total := uint64(0)
	for _, n := range r.failed {
		total += n
	}
	return total
}

// merge adds what another loop has counted.
func (r *recorder) merge(from *recorder) {
	r.latency.Merge(from.latency)
	r.service.Merge(from.service)
	for i, h := range from.kinds {
		r.kinds[i].Merge(h)
	}
	for i, n := range from.status {
		r.status[i] += n
	}
	for i, n := range from.failed {
		r.failed[i] += n
	}
	r.sent += from.sent
	r.unsent += from.unsent
}
