package loadtest

import (
	"slices"
	"sync"
	"time"

	hdr "github.com/HdrHistogram/hdrhistogram-go"
)

// Second is what happened within one second of a run, by when the answers came.
type Second struct {
	Second    int     `json:"second"` // from 0
	Answered  uint64  `json:"answered"`
	Failed    uint64  `json:"failed"`
	LatencyMS Summary `json:"latency_ms"`
}

// Summary is a distribution in milliseconds.
type Summary struct {
	Mean float64 `json:"mean"`
	P50  float64 `json:"p50"`
	P90  float64 `json:"p90"`
	P99  float64 `json:"p99"`
	P999 float64 `json:"p99_9"`
	Max  float64 `json:"max"`
}

func summarise(h *hdr.Histogram) Summary {
	if h.TotalCount() == 0 {
		return Summary{}
	}
	at := func(q float64) float64 { return milliseconds(h.ValueAtQuantile(q)) }
	return Summary{h.Mean() / 1e6, at(50), at(90), at(99), at(99.9), milliseconds(h.Max())}
}

func milliseconds(ns int64) float64 { return float64(ns) / float64(time.Millisecond) }

// seconds puts together what the loops publish. A histogram is kept only until
// all loops have passed its second: an hour of them would take 600 MB.
type seconds struct {
	mu       sync.Mutex
	loops    int
	open     []*openSecond // oldest first
	closed   []Second
	progress func(Second) // called with the lock held, in order
}

type openSecond struct {
	Second
	latency *hdr.Histogram
	loops   int // that have published
}

// publish hands over what a loop has counted in a second and starts anew.
func (s *seconds) publish(second int, r *recorder) {
	s.mu.Lock()
	defer s.mu.Unlock()
	i := slices.IndexFunc(s.open, func(o *openSecond) bool { return o.Second.Second == second })
	if i < 0 {
		i = len(s.open)
		s.open = append(s.open, &openSecond{Second: Second{Second: second}, latency: newHistogram()})
	}
	o := s.open[i]
	o.Answered += r.secondAnswered
	o.Failed += r.secondFailed
	o.latency.Merge(r.second)
	o.loops++
	r.second.Reset()
	r.secondAnswered, r.secondFailed = 0, 0
	s.closeLocked()
}

// leave says that a loop publishes nothing after this second.
func (s *seconds) leave(last int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.loops--
	for _, o := range s.open {
		if o.Second.Second <= last {
			o.loops-- // the loop has published it, and is no longer among those to wait for
		}
	}
	s.closeLocked()
}

// closeLocked closes the seconds that all loops have passed.
func (s *seconds) closeLocked() {
	for len(s.open) > 0 && s.open[0].loops >= s.loops {
		o := s.open[0]
		s.open = s.open[1:]
		o.LatencyMS = summarise(o.latency)
		s.closed = append(s.closed, o.Second)
		if s.progress != nil {
			s.progress(o.Second)
		}
	}
}
