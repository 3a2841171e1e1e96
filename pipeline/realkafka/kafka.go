// Package realkafka runs the Apache Kafka of deploy/kafka for tests.
package realkafka

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// Enabled names the environment variable without which tests that need Kafka
// are skipped: it takes half a minute to fetch and seconds to start.
const Enabled = "WAYMARK_TEST_KAFKA"

// startPatience is how long a start may take. It decides nothing but when to
// give up.
const startPatience = 2 * time.Minute

// Kafka is a running Apache Kafka. Its log survives Kill and Start.
type Kafka struct {
	t       testing.TB
	script  string
	address string
	dir     string
	env     []string // settings of the script

	process *exec.Cmd
	done    chan struct{} // closed when process has ended
}

// Options configure a Kafka. The zero value is one without any security.
type Options struct {
	Listeners  []string // beside the one of Address: NAME://HOST:PORT, of the names in server.properties
	Properties []string // lines for server.properties
}

// quickRestart makes Kafka forget a broker that was killed in three seconds,
// not nine. The same broker is not let in before.
var quickRestart = []string{"broker.session.timeout.ms=3000", "broker.heartbeat.interval.ms=500"}

// New starts a Kafka on a free port and waits until it answers; it dies with
// the test. The test is skipped unless Enabled is set.
func New(t testing.TB, o Options) *Kafka {
	t.Helper()
	if os.Getenv(Enabled) == "" {
		t.Skip("needs a real Kafka: run make test-kafka")
	}
	k := &Kafka{t: t, script: findScript(t), address: FreeAddress(t), dir: t.TempDir()}
	properties := filepath.Join(k.dir, "test.properties")
	if err := os.WriteFile(properties, []byte(strings.Join(append(o.Properties, quickRestart...), "\n")+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	k.env = []string{"KAFKA_LISTEN=" + k.address, "KAFKA_DATA=" + k.dir, "KAFKA_PROPERTIES=" + properties, "KAFKA_LISTENERS=" + strings.Join(o.Listeners, ",")}
	t.Cleanup(func() {
		k.Kill()
		if t.Failed() {
			for _, file := range []string{"terminal.log", "kafka.log"} {
				log, _ := os.ReadFile(filepath.Join(k.dir, file))
				t.Logf("Kafka said in %s:\n…%s", file, log[max(0, len(log)-8000):])
			}
		}
	})
	k.Start()
	return k
}

// Address is where the listener without encryption and passwords is.
func (k *Kafka) Address() string { return k.address }

// Start starts Kafka again after Kill.
func (k *Kafka) Start() {
	k.t.Helper()
	terminal, err := os.OpenFile(filepath.Join(k.dir, "terminal.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		k.t.Fatal(err)
	}
	defer terminal.Close()
	k.process = exec.Command("sh", k.script)
	k.process.Env = append(os.Environ(), k.env...)
	k.process.Stdout, k.process.Stderr = terminal, terminal
	// It dies with the tests, also when they time out. The kernel takes the
	// thread that started it for its parent, so that thread stays.
	k.process.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	k.done = make(chan struct{})
	started, done, process := make(chan error), k.done, k.process
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		defer close(done)
		err := process.Start()
		started <- err
		if err == nil {
			_ = process.Wait() // how it ended shows in its log
		}
	}()
	if err := <-started; err != nil {
		k.t.Fatalf("start Kafka: %v", err)
	}
	k.awaitReady()
}

// Kill is kill -9, and returns once the process is gone.
func (k *Kafka) Kill() {
	if k.process != nil && k.process.Process != nil {
		_ = k.process.Process.Kill() // it may have ended
		<-k.done
	}
}

func (k *Kafka) client() *kgo.Client {
	k.t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(k.address), kgo.DisableClientMetrics())
	if err != nil {
		k.t.Fatal(err)
	}
	return client
}

// awaitReady waits until the broker says that it is in the cluster.
func (k *Kafka) awaitReady() {
	k.t.Helper()
	client := k.client()
	defer client.Close()
	ctx, cancel := context.WithTimeout(context.Background(), startPatience)
	defer cancel()
	for {
		asking, cancel := context.WithTimeout(ctx, 2*time.Second)
		meta, err := kadm.NewClient(client).BrokerMetadata(asking)
		cancel()
		if err == nil && len(meta.Brokers) > 0 {
			return
		}
		select {
		case <-k.done:
			k.t.Fatal("Kafka has ended while it started")
		case <-ctx.Done():
			k.t.Fatalf("Kafka does not answer: %v", errors.Join(err, ctx.Err()))
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// FreeAddress returns a loopback address whose port, and the one after it, are
// free now.
func FreeAddress(t testing.TB) string {
	t.Helper()
	for range 100 {
		first, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		port := first.Addr().(*net.TCPAddr).Port
		second, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port+1))
		first.Close()
		if err == nil {
			second.Close()
			return first.Addr().String()
		}
	}
	t.Fatal("find two free ports in a row: there are none")
	return ""
}

// findScript finds the module's root above the test's directory.
func findScript(t testing.TB) string {
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return filepath.Join(dir, "deploy", "kafka", "kafka.sh")
		}
		if dir == filepath.Dir(dir) {
			t.Fatal("find deploy/kafka: no go.mod above the test")
		}
		dir = filepath.Dir(dir)
	}
}
