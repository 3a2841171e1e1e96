// Package decidedtest has for tests what stands between those who decide and
// what is kept of it, with its faults.
package decidedtest

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"

	"waymark/tracker/wire"
)

// Sink is a tracker.ActionSink in memory. It is safe for concurrent use if Keep
// is.
type Sink struct {
	// Fault, if set, is asked before each event is written, and may fail; what
	// came before it is written.
	Fault func() error
	// Keep takes an event.
	Keep func(*wire.Event) error
}

// Append implements tracker.ActionSink.
func (s *Sink) Append(_ context.Context, payloads ...[]byte) error {
	for _, payload := range payloads {
		if s.Fault != nil {
			if err := s.Fault(); err != nil {
				return err
			}
		}
		var event wire.Event
		if err := event.UnmarshalVT(payload); err != nil {
			return err
		}
		if err := s.Keep(&event); err != nil {
			return err
		}
	}
	return nil
}

// ErrKilled is the error of Kills.
var ErrKilled = errors.New("killed")

// Kills returns a Fault that kills once in so many events, as the seed has it,
// until it is calmed.
func Kills(seed uint64, of int) (fault func() error, calm func()) {
	var mu sync.Mutex
	random, over := rand.New(rand.NewPCG(seed, seed)), false
	fault = func() error {
		mu.Lock()
		defer mu.Unlock()
		if !over && random.IntN(of) == 0 {
			return ErrKilled
		}
		return nil
	}
	calm = func() {
		mu.Lock()
		defer mu.Unlock()
		over = true
	}
	return fault, calm
}
