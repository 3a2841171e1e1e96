package pipeline

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
)

func TestNewSecurityRefuses(t *testing.T) {
	empty := filepath.Join(t.TempDir(), "empty.pem")
	if err := os.WriteFile(empty, []byte("nothing"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		options SecurityOptions
		says    []string
	}{
		"no such file":      {SecurityOptions{CAFile: empty + ".gone"}, []string{"--kafka-ca", "no such file"}},
		"no certificates":   {SecurityOptions{TLS: true, CAFile: empty}, []string{"none in PEM"}},
		"unknown mechanism": {SecurityOptions{Mechanism: "kerberos", User: "u", Password: "p"}, []string{`"kerberos"`, "scram-sha-512"}},
		"no password":       {SecurityOptions{Mechanism: "plain", User: "u"}, []string{"WAYMARK_KAFKA_PASSWORD"}},
		"no user":           {SecurityOptions{Mechanism: "plain", Password: "p"}, []string{"--kafka-user"}},
		"no mechanism":      {SecurityOptions{User: "u", Password: "p"}, []string{"--kafka-sasl"}},
		"all at once":       {SecurityOptions{CAFile: empty, Mechanism: "x"}, []string{"none in PEM", `"x"`, "--kafka-user"}},
	} {
		_, err := NewSecurity(test.options)
		if err == nil {
			t.Errorf("%s: taken", name)
			continue
		}
		for _, says := range test.says {
			if !strings.Contains(err.Error(), says) {
				t.Errorf("%s: %q does not say %q", name, err, says)
			}
		}
	}
	if s, err := NewSecurity(SecurityOptions{}); err != nil || len(s.options()) != 0 {
		t.Errorf("nothing given: %v, %v", s, err)
	}
}

// Each mechanism reaches a broker that asks for it, and a wrong password does
// not. A real Kafka has its turn in TestRealKafka.
func TestAuthentication(t *testing.T) {
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.EnableSASL(),
		kfake.Superuser("PLAIN", "ada", "p1"), kfake.Superuser("SCRAM-SHA-256", "ada", "p2"), kfake.Superuser("SCRAM-SHA-512", "ada", "p3"))
	if err != nil {
		t.Fatal(err)
	}
	defer cluster.Close()
	for mechanism, password := range map[string]string{"plain": "p1", "scram-sha-256": "p2", "scram-sha-512": "p3"} {
		for _, given := range []string{password, "wrong"} {
			clients := testClients(clusterAddr(cluster))
			clients.Security, err = NewSecurity(SecurityOptions{Mechanism: mechanism, User: "ada", Password: given})
			if err != nil {
				t.Fatal(err)
			}
			client, err := NewClient(clients)
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
			if err := client.Ping(ctx); (err == nil) != (given == password) {
				t.Errorf("%s with password %q: %v", mechanism, given, err)
			}
			cancel()
			client.Close()
		}
	}
}
