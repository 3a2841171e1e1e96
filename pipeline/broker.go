package pipeline

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"sync"
	"syscall"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// BrokerOptions configure the embedded broker.
type BrokerOptions struct {
	Dir    string // its data; made if missing, owned by one broker at a time
	Listen string // host:port; port 0 takes a free one
	// Advertise is the host that clients are told to connect to. Empty: the
	// one of Listen or, where that is every address, this machine's name.
	Advertise string
	// MaxUnconsumedBytes bounds what the topics of clicks, actions and decisions
	// hold together, 0 means 16 GiB. Beyond it producing to them is refused with a
	// retriable error, so that the spools hold what comes, until ingest has
	// caught up. Records that ingest has committed do not count for long:
	// they are trimmed within seconds.
	MaxUnconsumedBytes int64
	Logger             *slog.Logger          // nil: slog.Default()
	Registerer         prometheus.Registerer // nil: no metrics
}

const defaultMaxUnconsumedBytes = 16 << 30

// Broker is a Kafka broker inside this process, for any Kafka client. What it
// acknowledged is on disk and survives the process being killed.
//
// It is kfake with its durability switched on, fenced in where kfake was made
// for tests:
//   - Transactions do not survive a kill, so nothing here uses them on it.
//   - Its compaction does not either, and blocks every request: catalogue
//     topics are compacted offline, before the broker starts (compact.go).
//   - It derives the end of a partition from the last batch in it: were that
//     deleted, a restart would give offsets out a second time. Trimming keeps
//     it, and DeleteRecords by clients is refused.
//   - A request that is no Kafka request would crash it (broker_conn.go).
type Broker struct {
	cluster *kfake.Cluster
	addr    string
	log     *slog.Logger
	lock    *os.File
	client  *kgo.Client // to itself, for what kfake's Go API doesn't offer
	admin   *kadm.Client
	cap     int64
	metrics *brokerMetrics

	refusal *kfake.FaultHandle // non-nil while producing is refused; owned by the trimmer
	stop    context.CancelFunc
	stopped chan struct{}
	closing sync.Once
	closed  chan struct{}
}

// StartBroker starts the broker. It fails, with nothing left running, when the
// address is taken, the directory can't be written or belongs to a running
// broker, or its content can't be read.
func StartBroker(o BrokerOptions) (*Broker, error) {
	b := &Broker{
		log: loggerOr(o.Logger), cap: o.MaxUnconsumedBytes, metrics: newBrokerMetrics(o.Registerer),
		stopped: make(chan struct{}), closed: make(chan struct{}),
	}
	if b.cap <= 0 {
		b.cap = defaultMaxUnconsumedBytes
	}
	var err error
	if b.lock, err = lockBrokerDir(o.Dir); err != nil {
		return nil, err
	}
	if err := b.start(o); err != nil {
		b.lock.Close()
		return nil, err
	}
	return b, nil
}

// start brings up everything that needs the directory's lock.
func (b *Broker) start(o BrokerOptions) error {
	// The listener comes first, so that a second broker on a taken address
	// says so before it spends a minute on compaction.
	listener, err := net.Listen("tcp", o.Listen)
	if err != nil {
		return listenError(o.Listen, err)
	}
	advertised, err := advertise(listener.Addr(), o.Advertise)
	if err == nil {
		err = compactLogs(o.Dir, b.log)
	}
	if err != nil {
		listener.Close()
		return err
	}
	b.addr = advertised
	b.cluster, err = kfake.NewCluster(
		kfake.NumBrokers(1),
		kfake.ClusterID(embeddedClusterID),
		kfake.DataDir(o.Dir),
		kfake.SyncWrites(),
		kfake.ListenFn(func(string, string) (net.Listener, error) {
			return brokerListener{Listener: listener, advertised: advertised, log: b.log}, nil
		}),
		kfake.WithLogger(clusterLogger{b.log}),
		kfake.BrokerConfigs(map[string]string{
			// Topics without settings of their own are kept too.
			"log.retention.ms": "-1",
			// Ten years: the plan that ingest left in its committed offset is
			// needed after any pause, and Kafka's default forgets it in a week.
			"offsets.retention.minutes": "5256000",
		}),
	)
	if err != nil {
		listener.Close()
		return fmt.Errorf("open the broker's data in %s: %w", o.Dir, err)
	}
	// Loading reads every segment into memory once; hand it back.
	debug.FreeOSMemory()
	b.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.DeleteRecords}, Count: -1, Err: &kerr.Error{
		Message: "the embedded broker deletes by itself what ingest has committed",
		Code:    kerr.PolicyViolation.Code,
	}})
	if err := b.startTrimmer(listener.Addr().String()); err != nil {
		b.cluster.Close()
		return err
	}
	return nil
}

// Addr is the host:port that clients connect to.
func (b *Broker) Addr() string { return b.addr }

// Close stops the broker and writes what makes the next start faster; what was
// acknowledged is on disk already. It returns ctx's error when that takes too
// long, and the broker is then as safe as after a kill.
func (b *Broker) Close(ctx context.Context) error {
	b.closing.Do(func() {
		b.stop()
		go func() {
			defer close(b.closed)
			<-b.stopped
			b.client.Close()
			b.cluster.Close()
			b.lock.Close()
		}()
	})
	select {
	case <-b.closed:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("close the embedded broker: %w", ctx.Err())
	}
}

// lockBrokerDir makes the directory and locks it until the file is closed.
func lockBrokerDir(dir string) (*os.File, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("create the broker's directory: %w", err)
	}
	path := filepath.Join(dir, "LOCK")
	lock, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, fmt.Errorf("lock the broker's directory: %w", err)
	}
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		lock.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, fmt.Errorf("lock the broker's directory %s: another broker is running on it", dir)
		}
		return nil, fmt.Errorf("lock %s: %w", path, err)
	}
	return lock, nil
}

func listenError(address string, err error) error {
	if errors.Is(err, syscall.EADDRINUSE) {
		return fmt.Errorf("listen for Kafka clients on %s: the address is taken; stop the other program or choose another with --kafka-listen", address)
	}
	return fmt.Errorf("listen for Kafka clients on %s: %w", address, err)
}

// advertise is the host:port that clients are sent to. A wildcard address
// means nothing to them.
func advertise(listening net.Addr, host string) (string, error) {
	listenHost, port, err := net.SplitHostPort(listening.String())
	if err != nil {
		return "", fmt.Errorf("find the port of the broker's address %s: %w", listening, err)
	}
	if host != "" {
		return net.JoinHostPort(host, port), nil
	}
	if ip := net.ParseIP(listenHost); ip == nil || !ip.IsUnspecified() {
		return listening.String(), nil
	}
	name, err := os.Hostname()
	if err == nil {
		_, err = net.LookupHost(name)
	}
	if err != nil {
		// Better reachable from this machine than from nowhere.
		name = "127.0.0.1"
	}
	return net.JoinHostPort(name, port), nil
}

// clusterLogger hands kfake's log to slog.
type clusterLogger struct{ log *slog.Logger }

func (l clusterLogger) Logf(level kfake.LogLevel, format string, args ...any) {
	to := slog.LevelDebug
	switch level {
	case kfake.LogLevelError:
		to = slog.LevelError
	case kfake.LogLevelWarn:
		to = slog.LevelWarn
	}
	if l.log.Enabled(context.Background(), to) {
		l.log.Log(context.Background(), to, "broker: "+strings.TrimSpace(fmt.Sprintf(format, args...)))
	}
}
