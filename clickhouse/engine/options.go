package engine

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Options of Serve. Path, Listen and Users are required; zero means the default everywhere else.
type Options struct {
	Path   string // directory of the data, created when missing; one process at a time
	Listen string // host:port of the HTTP interface
	Users  []User // who may use it
	// Others finds who is none of Users; nil: nobody else gets in. It must not wait long. An error means that it cannot
	// tell, and is answered with 503.
	Others  func(ctx context.Context, name, password string) (User, bool, error)
	Library string // path of libchdb.so; default: what FindLibrary finds

	QueriesMax     int           // statements run at once, default 16; each holds a thread of the process
	QueueMax       int           // requests that wait beside them, default 112; one more is refused with 503
	QueueWait      time.Duration // how long a request waits for its turn, default 30 s; then it is refused with 503
	MemoryBytesMax int64         // per statement unless it says otherwise, default 4 GiB
	StopGrace      time.Duration // how long statements may go on once Serve is told to stop, default 3 s

	Logger  *slog.Logger          // default slog.Default()
	Metrics prometheus.Registerer // default: none are kept

	// Ready is called once, when the listener answers, with its address; useful with port 0.
	Ready func(address string)
}

func (o Options) withDefaults() Options {
	setDefault(&o.QueriesMax, 16)
	setDefault(&o.QueueMax, 112)
	setDefault(&o.QueueWait, 30*time.Second)
	setDefault(&o.MemoryBytesMax, 4<<30)
	setDefault(&o.StopGrace, 3*time.Second)
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	if o.Ready == nil {
		o.Ready = func(string) {}
	}
	return o
}

func setDefault[T comparable](value *T, other T) {
	var zero T
	if *value == zero {
		*value = other
	}
}

// check reports everything that is wrong with the options at once.
func (o Options) check() error {
	var errs []error
	if o.Path == "" {
		errs = append(errs, errors.New("the engine's data directory is not given"))
	}
	if o.Listen == "" {
		errs = append(errs, errors.New("the engine's listen address is not given"))
	}
	if len(o.Users) == 0 {
		errs = append(errs, errors.New("the engine has no users: it can read every file of this account, so it is never open to all"))
	}
	for _, user := range o.Users {
		if user.Name == "" || user.Password == "" {
			errs = append(errs, fmt.Errorf("the engine's user %q needs a name and a password", user.Name))
		}
	}
	return errors.Join(errs...)
}
