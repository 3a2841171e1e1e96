package main

import (
	"fmt"
	"net"
	"net/url"
	"os"
	"strings"

	"waymark/clickhouse"
	"waymark/pipeline"
	"waymark/tracker"
)

// The flags that several subcommands share. Each is also an environment
// variable: --spool-ring is WAYMARK_SPOOL_RING.

type dataFlags struct {
	Data    string `help:"Directory of all state: keys, spools, snapshots, broker and engine." default:"waymark-data" type:"path"`
	Secrets string `help:"Key ring for cookies and click ids, which nodes of one installation share: a file, or its content. DIR/secrets.json without it." placeholder:"FILE"`
}

func (f *dataFlags) dir() dataDir { return dataDir(f.Data) }

// keyRing is the ring that --secrets gives, or that of the data directory,
// which is made at the first start.
func (f *dataFlags) keyRing() (*tracker.KeyRing, error) {
	if strings.HasPrefix(strings.TrimSpace(f.Secrets), "{") {
		return tracker.ParseKeyRing(f.Secrets)
	}
	if f.Secrets == "" {
		return tracker.LoadOrCreateKeyRing(f.dir().path("secrets.json"))
	}
	content, err := os.ReadFile(f.Secrets)
	if err != nil {
		return nil, fmt.Errorf("read the key ring of --secrets: %w", err)
	}
	return tracker.ParseKeyRing(string(content))
}

type kafkaFlags struct {
	Kafka             []string `help:"Kafka brokers." default:"127.0.0.1:9092"`
	KafkaTLS          bool     `name:"kafka-tls" help:"Encrypt the connections to Kafka."`
	KafkaCA           string   `name:"kafka-ca" help:"Certificates, in PEM, that those of the brokers must come from, instead of those that the machine trusts. Implies --kafka-tls." type:"path" placeholder:"FILE"`
	KafkaSASL         string   `name:"kafka-sasl" help:"How to authenticate: scram-sha-512, scram-sha-256 or plain, which needs --kafka-tls to keep the password secret." placeholder:"MECHANISM"`
	KafkaUser         string   `help:"User for --kafka-sasl. The password is WAYMARK_KAFKA_PASSWORD or --kafka-password-file; a flag would show it in the list of processes." placeholder:"NAME"`
	KafkaPasswordFile string   `help:"File with the password for --kafka-sasl." type:"path" placeholder:"FILE"`
}

// clients are the options that reach this Kafka, for a process to give its
// parts. The error is one of the flags; nothing is connected.
func (f *kafkaFlags) clients() (pipeline.ClientOptions, error) {
	password := os.Getenv("WAYMARK_KAFKA_PASSWORD")
	if f.KafkaPasswordFile != "" {
		content, err := os.ReadFile(f.KafkaPasswordFile)
		if err != nil {
			return pipeline.ClientOptions{}, fmt.Errorf("--kafka-password-file: %w", err)
		}
		password = strings.TrimRight(string(content), "\r\n")
	}
	security, err := pipeline.NewSecurity(pipeline.SecurityOptions{
		TLS: f.KafkaTLS, CAFile: f.KafkaCA, Mechanism: f.KafkaSASL, User: f.KafkaUser, Password: password,
	})
	if err != nil {
		return pipeline.ClientOptions{}, err
	}
	return pipeline.ClientOptions{Brokers: f.Kafka, ID: "waymark", Security: security}, nil
}

type clickhouseFlags struct {
	ClickHouse string `name:"clickhouse" help:"ClickHouse, native (clickhouse://user:password@host:9000) or HTTP (http://…). User and password are those of the data directory unless the URL has them. With TLS: https://host:8443 or clickhouse://host:9440?secure=true, and ?ca=FILE for certificates that the machine does not trust." default:"http://127.0.0.1:8123"`
}

// open prepares access to ClickHouse, with the credentials of a local
// installation where the URL has none.
func (f *clickhouseFlags) open(data dataDir) (*clickhouse.DB, error) {
	password, err := data.clickhousePassword(false)
	if err != nil {
		return nil, err
	}
	database, err := clickhouse.Open(f.ClickHouse, engineUser, password)
	if err != nil {
		return nil, fmt.Errorf("--clickhouse: %w", err)
	}
	return database, nil
}

// isEmbedded reports whether this is the engine of an installation in the data
// directory: it lets in who has the password that lies there, as no other
// ClickHouse does.
func (f *clickhouseFlags) isEmbedded(data dataDir) bool {
	password, err := data.clickhousePassword(false)
	address, wrong := url.Parse(f.ClickHouse)
	return err == nil && password != "" && wrong == nil && address.User == nil
}

type edgeFlags struct {
	Listen         string   `help:"Address of the public listener." default:"127.0.0.1:8080"`
	Spool          string   `help:"Directory of the node's overflow segments and journal; the node's number belongs to it. The first free one of DIR/spool, DIR/spool-2, … without it." type:"path" placeholder:"DIR"`
	SpoolRing      string   `help:"Directory of the node's ring, on a tmpfs." default:"/dev/shm" type:"path"`
	SpoolRingBytes int64    `help:"Size of the ring." default:"67108864"`
	SpoolDiskBytes int64    `help:"Most that the segments may take on disk while Kafka is away." default:"8589934592"`
	GeoIP          []string `name:"geoip" help:"GeoIP2, GeoLite2 or DB-IP database (.mmdb); repeatable." type:"path" placeholder:"FILE"`
	TrustedProxies []string `help:"Proxies whose X-Forwarded-For, -Proto and Forwarded headers count." placeholder:"CIDR"`
	CookieDomain   string   `help:"Domain of the attribution cookie; the host alone without it." placeholder:"DOMAIN"`
	RootURL        string   `help:"Where / leads instead of 404." placeholder:"URL"`
	NotFoundURL    string   `help:"Where unknown codes lead instead of 404." placeholder:"URL"`
}

type metricsFlags struct {
	Metrics string `help:"Address for /metrics, /healthz and /readyz, without a key; none without it." placeholder:"HOST:PORT"`
}

// listen takes an address, and says which flag to change when it is taken.
func listen(flag, address string) (net.Listener, error) {
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w; choose another address with --%s", address, err, flag)
	}
	return listener, nil
}
