package fault

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// brokerFaults are those a broker has at present. Errors are left to kfake,
// which knows where they belong in each kind of answer; delays and cut
// connections are done to the bytes of a connection, where a request can be
// carried out without its answer being sent.
type brokerFaults struct {
	cluster *kfake.Cluster
	struck  atomic.Int64

	mu     sync.Mutex
	active []*brokerFault // in the order they came
}

type brokerFault struct {
	BrokerFault
	id     string
	keys   []kmsg.Key // nil for all
	errors *kfake.FaultHandle
	lifted chan struct{}
	luck   *chance
}

func newBrokerFaults() *brokerFaults { return &brokerFaults{} }

// attach gives the cluster that errors are injected into.
func (s *brokerFaults) attach(cluster *kfake.Cluster) { s.cluster = cluster }

// handler takes the orders of Broker.
func (s *brokerFaults) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /faults", func(w http.ResponseWriter, r *http.Request) {
		var f BrokerFault
		err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 1<<20)).Decode(&f)
		var id string
		if err == nil {
			id, err = s.add(f)
		}
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		fmt.Fprintln(w, id)
	})
	mux.HandleFunc("DELETE /faults/{id}", func(w http.ResponseWriter, r *http.Request) {
		if !s.remove(r.PathValue("id")) {
			http.Error(w, "no such fault", http.StatusNotFound)
		}
	})
	mux.HandleFunc("GET /struck", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, s.struck.Load()) })
	return mux
}

// add begins a fault and returns its name, which no other ever had: lifting one
// that went with an earlier process must not hit another.
func (s *brokerFaults) add(order BrokerFault) (id string, err error) {
	if order.Share == 0 {
		order.Share = 1
	}
	f := &brokerFault{BrokerFault: order, id: rand.Text(), lifted: make(chan struct{}), luck: newChance(order.Share, order.Seed)}
	if f.keys, err = requestKeys(order.Keys); err != nil {
		return "", err
	}
	if !slices.Contains([]string{"", CloseBefore, CloseAfter, CloseKill}, order.Close) {
		return "", fmt.Errorf("unknown way to close %q; take %q, %q or %q", order.Close, CloseBefore, CloseAfter, CloseKill)
	}
	if order.Share < 0 || order.Share > 1 {
		return "", fmt.Errorf("a share of %v; it must be from 0 to 1", order.Share)
	}
	if order.Error == "" && order.Delay <= 0 && order.Close == "" {
		return "", errors.New("the fault does nothing; give it an error, a delay or a way to close")
	}
	var answer *kerr.Error
	if order.Error != "" {
		if answer, err = kafkaError(order.Error); err != nil {
			return "", err
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if answer != nil {
		f.errors = s.cluster.Fault(kfake.Fault{Keys: f.keys, Count: -1, Err: answer, When: s.when(f)})
	}
	s.active = append(s.active, f)
	return f.id, nil
}

// when decides for each request whether it is answered with the fault's error.
// kfake asks once for each partition of a request, one request after the other.
func (s *brokerFaults) when(f *brokerFault) func(kmsg.Request) bool {
	var last kmsg.Request
	var hit bool
	return func(r kmsg.Request) bool {
		if r != last {
			if last, hit = r, f.luck.hits(); hit {
				s.struck.Add(1)
			}
		}
		return hit
	}
}

func (s *brokerFaults) remove(id string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	i := slices.IndexFunc(s.active, func(f *brokerFault) bool { return f.id == id })
	if i < 0 {
		return false
	}
	f := s.active[i]
	s.active = slices.Delete(s.active, i, i+1)
	close(f.lifted)
	if f.errors != nil {
		f.errors.Remove()
	}
	return true
}

// meet holds a request for as long as the faults want and returns how its
// connection ends: BrokerFault.Close of the oldest of them that has one.
func (s *brokerFaults) meet(key kmsg.Key) (ending string) {
	s.mu.Lock()
	active := slices.Clone(s.active)
	s.mu.Unlock()
	for _, f := range active {
		if f.Delay == 0 && f.Close == "" || f.keys != nil && !slices.Contains(f.keys, key) || !f.luck.hits() {
			continue
		}
		s.struck.Add(1)
		if f.Delay > 0 {
			select {
			case <-time.After(f.Delay):
			case <-f.lifted:
			}
		}
		if ending == "" {
			ending = f.Close
		}
	}
	return ending
}

// die is what CloseKill does.
func die() {
	_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
	select {} // nothing more happens on the way there
}

// requestKeys finds kinds of requests by names such as "offset_commit"; no
// names give nil.
func requestKeys(names []string) ([]kmsg.Key, error) {
	plain := func(name string) string { return strings.ToLower(strings.ReplaceAll(name, "_", "")) }
	var keys []kmsg.Key
	for _, name := range names {
		known := len(keys)
		for key := int16(0); key <= kmsg.MaxKey; key++ {
			if plain(kmsg.NameForKey(key)) == plain(name) {
				keys = append(keys, kmsg.Key(key))
			}
		}
		if len(keys) == known {
			return nil, fmt.Errorf("unknown kind of request %q; take Kafka's names, such as produce or offset_commit", name)
		}
	}
	return keys, nil
}

// kafkaErrorMax is above every error code of the protocol.
const kafkaErrorMax = 1000

// kafkaError finds an error by the protocol's name.
func kafkaError(name string) (*kerr.Error, error) {
	for code := int16(-1); code < kafkaErrorMax; code++ {
		if e := kerr.TypedErrorForCode(code); e != nil && e.Message == name {
			return e, nil
		}
	}
	return nil, fmt.Errorf("unknown error %q; take one of Kafka's names, such as REQUEST_TIMED_OUT", name)
}
