package realkafka

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
)

// The users of a secured Kafka. Those of SCRAM exist once CreateUser was
// called.
const (
	PlainUser     = "ada"
	PlainPassword = "plain secret, with a comma"
)

// Secured are Options with two more listeners, and how to reach them.
type Secured struct {
	Options
	TLS    string // address with encryption
	SASL   string // address with encryption and passwords
	CAFile string // certificate that those of both come from, in PEM
}

// Secure makes a certificate authority of the test's own and a certificate of
// it for 127.0.0.1.
func Secure(t testing.TB) *Secured {
	t.Helper()
	dir := t.TempDir()
	s := &Secured{TLS: FreeAddress(t), SASL: FreeAddress(t), CAFile: filepath.Join(dir, "ca.pem")}
	keyStore := filepath.Join(dir, "broker.pem")
	caKey, serverKey := newKey(t), newKey(t)
	ca := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "Waymark test CA"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	server := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "broker"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: ca.NotBefore, NotAfter: ca.NotAfter,
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	caPEM := sign(t, ca, ca, caKey, caKey)
	serverPEM := sign(t, server, ca, serverKey, caKey)
	encodedKey, err := x509.MarshalPKCS8PrivateKey(serverKey)
	if err != nil {
		t.Fatal(err)
	}
	serverPEM = append(serverPEM, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: encodedKey})...)
	for file, content := range map[string][]byte{s.CAFile: caPEM, keyStore: serverPEM} {
		if err := os.WriteFile(file, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s.Listeners = []string{"TLS://" + s.TLS, "SASL://" + s.SASL}
	const scram = "org.apache.kafka.common.security.scram.ScramLoginModule required;"
	s.Properties = []string{
		"ssl.keystore.type=PEM", "ssl.keystore.location=" + keyStore,
		"listener.name.sasl.sasl.enabled.mechanisms=SCRAM-SHA-512,SCRAM-SHA-256,PLAIN",
		"listener.name.sasl.scram-sha-512.sasl.jaas.config=" + scram,
		"listener.name.sasl.scram-sha-256.sasl.jaas.config=" + scram,
		"listener.name.sasl.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required " +
			`user_` + PlainUser + `="` + PlainPassword + `";`,
	}
	return s
}

// CreateUser creates a user for both kinds of SCRAM.
func (k *Kafka) CreateUser(name, password string) {
	k.t.Helper()
	client := k.client()
	defer client.Close()
	for _, mechanism := range []kadm.ScramMechanism{kadm.ScramSha256, kadm.ScramSha512} { // one a request
		user := kadm.UpsertSCRAM{User: name, Mechanism: mechanism, Iterations: 4096, Password: password}
		altered, err := kadm.NewClient(client).AlterUserSCRAMs(k.t.Context(), nil, []kadm.UpsertSCRAM{user})
		if err == nil {
			err = altered.Error()
		}
		if err != nil {
			k.t.Fatalf("create user %s: %v", name, err)
		}
	}
}

func newKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// sign returns a certificate in PEM.
func sign(t testing.TB, certificate, by *x509.Certificate, key, byKey *ecdsa.PrivateKey) []byte {
	t.Helper()
	signed, err := x509.CreateCertificate(rand.Reader, certificate, by, &key.PublicKey, byKey)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: signed})
}
