package pipeline

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl"
	"github.com/twmb/franz-go/pkg/sasl/plain"
	"github.com/twmb/franz-go/pkg/sasl/scram"
)

// SecurityOptions say how to encrypt connections to Kafka and how to prove who
// connects. The zero value does neither.
type SecurityOptions struct {
	TLS bool
	// CAFile has the certificates, in PEM, that those of the brokers must come
	// from; "": those that the machine trusts. It implies TLS.
	CAFile string

	// Mechanism is "scram-sha-512", "scram-sha-256" or "plain"; "" for no
	// authentication. A plain password is readable on the wire without TLS.
	Mechanism      string
	User, Password string
}

// Security is a checked SecurityOptions. The zero value uses neither
// encryption nor authentication.
type Security struct {
	tls  *tls.Config
	sasl sasl.Mechanism
}

// NewSecurity reads the CA file and checks that the options fit together. It
// does not connect; all that is wrong is in one error.
func NewSecurity(o SecurityOptions) (Security, error) {
	var s Security
	var wrong []error
	if o.TLS || o.CAFile != "" {
		s.tls = &tls.Config{MinVersion: tls.VersionTLS12}
		if o.CAFile != "" {
			var err error
			if s.tls.RootCAs, err = readCertificates(o.CAFile); err != nil {
				wrong = append(wrong, err)
			}
		}
	}
	if o.Mechanism == "" {
		if o.User != "" || o.Password != "" {
			wrong = append(wrong, errors.New("authenticate to Kafka: there is a user or a password, but no mechanism; give --kafka-sasl, scram-sha-512 where Kafka lets you choose"))
		}
		return s, errors.Join(wrong...)
	}
	if o.User == "" || o.Password == "" {
		wrong = append(wrong, fmt.Errorf("authenticate to Kafka with %s: user and password are both needed; give --kafka-user, and --kafka-password-file or WAYMARK_KAFKA_PASSWORD", o.Mechanism))
	}
	switch o.Mechanism {
	case "scram-sha-512":
		s.sasl = scram.Auth{User: o.User, Pass: o.Password}.AsSha512Mechanism()
	case "scram-sha-256":
		s.sasl = scram.Auth{User: o.User, Pass: o.Password}.AsSha256Mechanism()
	case "plain":
		s.sasl = plain.Auth{User: o.User, Pass: o.Password}.AsMechanism()
	default:
		wrong = append(wrong, fmt.Errorf("authenticate to Kafka: unknown mechanism %q; give scram-sha-512, scram-sha-256 or plain with --kafka-sasl", o.Mechanism))
	}
	return s, errors.Join(wrong...)
}

func readCertificates(file string) (*x509.CertPool, error) {
	content, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("read the certificates of --kafka-ca: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(content) {
		return nil, fmt.Errorf("read the certificates of --kafka-ca: %s has none in PEM", file)
	}
	return pool, nil
}

func (s Security) options() []kgo.Opt {
	var opts []kgo.Opt
	if s.tls != nil {
		opts = append(opts, kgo.DialTLSConfig(s.tls))
	}
	if s.sasl != nil {
		opts = append(opts, kgo.SASL(s.sasl))
	}
	return opts
}
