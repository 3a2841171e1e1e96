package pipeline

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// ClientOptions say how to reach Kafka.
type ClientOptions struct {
	Brokers  []string // host:port of one or more brokers
	ID       string   // client id, shown in Kafka's own logs and quotas
	Security Security
	Logger   *slog.Logger // nil: slog.Default()
}

// NewClient returns a Kafka client with the settings that every part of the
// program shares; extra options come after them and win. It does not connect:
// a broker that is away shows in the first request.
func NewClient(o ClientOptions, extra ...kgo.Opt) (*kgo.Client, error) {
	if len(o.Brokers) == 0 {
		return nil, errors.New("connect to Kafka: no broker given, set --kafka HOST:PORT")
	}
	opts := []kgo.Opt{
		kgo.SeedBrokers(o.Brokers...),
		kgo.ClientID(o.ID),
		kgo.WithLogger(kafkaLogger{loggerOr(o.Logger)}),
		// A broker that comes back is used within seconds, also after hours;
		// the default back-off is made for clusters that elect leaders.
		kgo.DialTimeout(5 * time.Second),
		kgo.RetryBackoffFn(retryBackoff),
		// Waymark has metrics of its own; pushing the client's to the broker
		// costs a second at every close while Kafka is away.
		kgo.DisableClientMetrics(),
		kgo.MetadataMinAge(250 * time.Millisecond),
		kgo.MetadataMaxAge(time.Minute),
	}
	opts = append(opts, o.Security.options()...)
	client, err := kgo.NewClient(append(opts, extra...)...)
	if err != nil {
		return nil, fmt.Errorf("set up Kafka client for %v: %w", o.Brokers, err)
	}
	return client, nil
}

// retryBackoff doubles from 50 ms to 2 s.
func retryBackoff(fails int) time.Duration {
	return min(50*time.Millisecond<<min(max(fails-1, 0), 8), 2*time.Second)
}

// sleep waits for d, and reports false when ctx ended first.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

func loggerOr(l *slog.Logger) *slog.Logger {
	if l == nil {
		return slog.Default()
	}
	return l
}

// kafkaLogger hands the client's log to slog. Its warnings repeat with every
// retry while Kafka is away, which the parts of the program report once each,
// so they go to debug; its info messages are left out altogether.
type kafkaLogger struct{ log *slog.Logger }

func (l kafkaLogger) Level() kgo.LogLevel { return kgo.LogLevelWarn }

func (l kafkaLogger) Log(level kgo.LogLevel, msg string, keyvals ...any) {
	to := slog.LevelDebug
	if level == kgo.LogLevelError {
		to = slog.LevelWarn
	}
	l.log.Log(context.Background(), to, "kafka client: "+msg, keyvals...)
}

// newIdentityProducer returns a client for what writes events with an identity
// and without a spool: they go where a shipper of actions sends theirs.
func newIdentityProducer(o ClientOptions, opts ...kgo.Opt) (*kgo.Client, error) {
	return NewClient(o, slices.Concat(identityRouter{}.producerOpts(), []kgo.Opt{
		kgo.RequiredAcks(kgo.AllISRAcks()), kgo.ProducerBatchMaxBytes(shipBytesMax),
		kgo.ProducerBatchCompression(kgo.SnappyCompression(), kgo.NoCompression()),
	}, opts)...)
}
