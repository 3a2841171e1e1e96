package clickhouse

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net/url"
	"os"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
)

// connectionsMax bounds the connections to ClickHouse. A query beyond it waits
// for one up to connectionWait and then fails.
const (
	connectionsMax = 16
	connectionWait = 30 * time.Second
)

// DB is a ClickHouse with Waymark's schema. Its methods may be called from
// several goroutines.
type DB struct {
	conn      driver.Conn
	exactHits uint64 // the constant, which tests lower
}

// Open prepares access to the ClickHouse at address: clickhouse://host:port
// for the native protocol, http:// or https:// for the other, with user and
// password in the address or else as given. With TLS it is https://host:port
// or clickhouse://host:port?secure=true; ?ca=FILE names certificates, in PEM,
// that the server's must come from where the machine does not trust it. Nothing
// is connected yet.
func Open(address, user, password string) (*DB, error) {
	options, err := parseAddress(address)
	if err != nil {
		return nil, err
	}
	if options.Auth.Username == "" || options.Auth.Username == "default" && user != "" {
		options.Auth.Username, options.Auth.Password = user, password
	}
	options.MaxOpenConns, options.MaxIdleConns, options.DialTimeout = connectionsMax, connectionsMax, connectionWait
	// Longer than the default of 5 minutes: the longest insert or report may take it.
	options.ReadTimeout = 10 * time.Minute
	conn, err := clickhouse.Open(options)
	if err != nil {
		return nil, fmt.Errorf("open ClickHouse: %w", err)
	}
	return &DB{conn: conn, exactHits: exactHits}, nil
}

// parseAddress reads the address; errors never show its password.
func parseAddress(address string) (*clickhouse.Options, error) {
	u, err := url.Parse(address)
	if err != nil {
		return nil, errors.New("read the ClickHouse address: it is no URL; give clickhouse://host:9000 or http://host:8123")
	}
	switch u.Scheme {
	case "clickhouse", "native", "tcp", "http", "https":
	default:
		return nil, fmt.Errorf("read the ClickHouse address %s: unknown scheme %q; give clickhouse://host:9000 or http://host:8123", u.Redacted(), u.Scheme)
	}
	if u.Path == "" || u.Path == "/" {
		// Every statement names the database waymark; the session must start
		// in one that exists before the first migration.
		u.Path = "/default"
	}
	query := u.Query()
	if u.Scheme == "https" {
		query.Set("secure", "true") // the driver wants to be told twice
	}
	ca := query.Get("ca") // unknown to the driver, which would send it as a setting
	query.Del("ca")
	u.RawQuery = query.Encode()
	options, err := clickhouse.ParseDSN(u.String())
	if err == nil && ca != "" {
		err = trust(options, ca)
	}
	if err != nil {
		return nil, fmt.Errorf("read the ClickHouse address %s: %w", u.Redacted(), err)
	}
	return options, nil
}

// trust accepts the certificates in a PEM file, and those that come from them,
// and no others.
func trust(options *clickhouse.Options, file string) error {
	if options.TLS == nil {
		return errors.New("ca is for connections with TLS; use https://, or add secure=true")
	}
	content, err := os.ReadFile(file)
	if err != nil {
		return fmt.Errorf("read the certificates of ca: %w", err)
	}
	options.TLS.RootCAs = x509.NewCertPool()
	if !options.TLS.RootCAs.AppendCertsFromPEM(content) {
		return fmt.Errorf("read the certificates of ca: %s has none in PEM", file)
	}
	return nil
}

// Ping reports whether ClickHouse answers.
func (db *DB) Ping(ctx context.Context) error {
	if err := db.conn.Ping(ctx); err != nil {
		return fmt.Errorf("reach ClickHouse: %w", err)
	}
	return nil
}

// Close gives the connections back. Calls that are running fail.
func (db *DB) Close() error { return db.conn.Close() }

// utc is t as a query parameter of type DateTime64(3, 'UTC').
func utc(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05.000") }
