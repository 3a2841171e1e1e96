package fault

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
)

// brokerCommand is the first argument of a process that is to be a broker.
const brokerCommand = "fault-broker"

// listenPatience is how long a broker waits for an address that is taken: a
// client that keeps dialling a dead port on the same machine may for a moment be
// given that very port as its own.
const listenPatience = 10 * time.Second

// ServeBroker is the broker's process: it runs until it gets SIGTERM or its
// standard input ends, as it does when the process that started it is gone. args
// are those after "fault-broker". Once the broker answers, a line on standard
// output tells its address and that of the control listener.
//
// It is kfake with its durability on, as fenced in as the embedded broker of
// production, whose cluster id it has: clients use no transactions on it.
func ServeBroker(args []string) error {
	flags := flag.NewFlagSet(brokerCommand, flag.ContinueOnError)
	listen := flags.String("listen", "127.0.0.1:0", "host:port for Kafka clients")
	advertise := flags.String("advertise", "", "host:port that clients are sent to, if it is another")
	dir := flags.String("dir", "", "where the data is kept")
	control := flags.String("control", "127.0.0.1:0", "host:port that takes faults")
	if err := flags.Parse(args); err != nil {
		return fmt.Errorf("read the flags of %s: %w", brokerCommand, err)
	}
	if *dir == "" {
		return errors.New("start the broker: it needs --dir")
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		stop()
	}()

	faults := newBrokerFaults()
	listener, err := listenPatiently(ctx, *listen)
	if err != nil {
		return fmt.Errorf("listen for Kafka clients: %w", err)
	}
	cluster, err := newCluster(*dir, &brokerListener{Listener: listener, advertised: *advertise, faults: faults})
	if err != nil {
		listener.Close()
		return fmt.Errorf("open the broker's data in %s: %w", *dir, err)
	}
	defer cluster.Close()
	faults.attach(cluster)
	orders, err := net.Listen("tcp", *control)
	if err != nil {
		return fmt.Errorf("listen for faults: %w", err)
	}
	server := &http.Server{Handler: faults.handler(), ReadHeaderTimeout: 10 * time.Second}
	defer server.Close()
	served := make(chan error, 1)
	go func() { served <- server.Serve(orders) }()
	fmt.Println(listener.Addr(), orders.Addr())
	select {
	case <-ctx.Done():
		return nil
	case err := <-served:
		return fmt.Errorf("listen for faults: %w", err)
	}
}

// newCluster opens the data and serves it on the listener.
func newCluster(dir string, listener net.Listener) (*kfake.Cluster, error) {
	return kfake.NewCluster(
		kfake.NumBrokers(1),
		kfake.ClusterID("waymark-embedded"),
		kfake.DataDir(dir),
		kfake.SyncWrites(),
		kfake.ListenFn(func(string, string) (net.Listener, error) { return listener, nil }),
		kfake.WithLogger(kfake.BasicLogger(os.Stderr, kfake.LogLevelWarn)),
		kfake.BrokerConfigs(map[string]string{
			"log.retention.ms": "-1",
			// Ten years: by default what a group has committed is forgotten in
			// a week, and with it what was planned.
			"offsets.retention.minutes": "5256000",
		}),
	)
}

func listenPatiently(ctx context.Context, address string) (net.Listener, error) {
	ctx, cancel := context.WithTimeout(ctx, listenPatience)
	defer cancel()
	for {
		listener, err := net.Listen("tcp", address)
		if err == nil || !errors.Is(err, syscall.EADDRINUSE) {
			return listener, err
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-ctx.Done():
			return nil, err
		}
	}
}
