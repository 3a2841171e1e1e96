package pipeline

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// Times of a consumer group. A member that dies is noticed after the session
// time-out, and its partitions stand still until then; six seconds is the
// least that Kafka allows by default.
const (
	groupSession   = 6 * time.Second
	groupHeartbeat = time.Second
	// groupGrace is how long a worker may finish what it has planned when its
	// partition is taken away. What it leaves unfinished is replayed.
	groupGrace = 5 * time.Second
)

// group is a member of a consumer group that has its partitions worked on. It
// reads no records itself: it says who owns what, and workers do the rest.
//
// Assignments are eager: every rebalance takes all partitions away and gives
// them out anew, so that a worker lives within one generation of the group and
// its commits can be fenced by it. Cooperative ones, which were rejected,
// leave workers running from one generation to the next.
type group struct {
	name     string
	instance string // static member, "" for none
	topics   []string
	clients  ClientOptions
	log      *slog.Logger
	work     func(ctx context.Context, stopping <-chan struct{}, m *membership, topic string, partition int32)

	mu      sync.Mutex
	workers []*worker
	joined  bool
}

// worker works on one partition until it is told to stop.
type worker struct {
	stopping chan struct{} // closed: finish what is planned and return
	cancel   context.CancelFunc
	done     chan struct{}
}

// run stays in the group until ctx ends, then stops the workers in order.
func (g *group) run(ctx context.Context) error {
	opts := []kgo.Opt{
		kgo.ConsumerGroup(g.name), kgo.ConsumeTopics(g.topics...), kgo.DisableAutoCommit(),
		kgo.Balancers(kgo.StickyBalancer()), kgo.SessionTimeout(groupSession), kgo.HeartbeatInterval(groupHeartbeat),
		kgo.RebalanceTimeout(4 * groupGrace),
		kgo.OnPartitionsAssigned(g.assigned),
		kgo.OnPartitionsRevoked(func(context.Context, *kgo.Client, map[string][]int32) { g.stop(groupGrace) }),
		kgo.OnPartitionsLost(func(context.Context, *kgo.Client, map[string][]int32) { g.stop(0) }),
		// Nothing for the client to read: the workers do.
		kgo.AdjustFetchOffsetsFn(func(context.Context, map[string]map[int32]kgo.Offset) (map[string]map[int32]kgo.Offset, error) {
			return nil, nil
		}),
	}
	if g.instance != "" {
		opts = append(opts, kgo.InstanceID(g.instance))
	}
	client, err := NewClient(g.clients, opts...)
	if err != nil {
		return fmt.Errorf("join consumer group %s: %w", g.name, err)
	}
	for ctx.Err() == nil {
		// No records come; but errors of the group do, and would pile up.
		for _, failed := range client.PollFetches(ctx).Errors() {
			if ctx.Err() == nil {
				g.log.Warn("consumer group", "group", g.name, "error", failed.Err)
			}
		}
	}
	g.stop(groupGrace)
	client.Close() // leaves the group, unless the member is static
	g.stop(0)      // an assignment may have come in between
	return nil
}

// assigned starts a worker for each partition. The client calls assigned,
// revoked and lost one after the other.
func (g *group) assigned(ctx context.Context, client *kgo.Client, partitions map[string][]int32) {
	m := &membership{client: client, group: g.name}
	m.member, m.generation = client.GroupMetadata()
	if g.instance != "" {
		m.instance = &g.instance
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.joined = true
	g.log.Debug("joined consumer group", "group", g.name, "generation", m.generation, "partitions", partitions)
	for topic, numbers := range partitions {
		for _, partition := range numbers {
			working, cancel := context.WithCancel(ctx)
			w := &worker{stopping: make(chan struct{}), cancel: cancel, done: make(chan struct{})}
			g.workers = append(g.workers, w)
			go func() {
				defer close(w.done)
				g.work(working, w.stopping, m, topic, partition)
			}()
		}
	}
}

// stop ends all workers and returns when they have returned. They have grace
// to finish what they planned.
func (g *group) stop(grace time.Duration) {
	g.mu.Lock()
	workers := g.workers
	g.workers, g.joined = nil, false
	g.mu.Unlock()
	for _, w := range workers {
		close(w.stopping)
	}
	expired := time.NewTimer(grace)
	defer expired.Stop()
	for _, w := range workers {
		select {
		case <-w.done:
		case <-expired.C:
			expired.Reset(0) // for those that follow
		}
		w.cancel()
	}
	for _, w := range workers {
		<-w.done
	}
}

// isJoined reports whether the group has given this member its partitions,
// which may be none.
func (g *group) isJoined() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.joined
}
