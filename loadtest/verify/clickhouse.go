package verify

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
)

// open prepares access to the ClickHouse at address, with user and password
// unless the address has them. Errors never show its password.
func open(address, user, password string) (driver.Conn, error) {
	u, err := url.Parse(address)
	if err != nil || u.Host == "" {
		return nil, errors.New("read the ClickHouse address: give clickhouse://host:9000 or http://host:8123")
	}
	if u.User == nil && user != "" {
		u.User = url.UserPassword(user, password)
	}
	if u.Path == "" || u.Path == "/" {
		u.Path = "/default"
	}
	if u.Scheme == "https" {
		query := u.Query()
		query.Set("secure", "true") // the driver wants to be told twice
		u.RawQuery = query.Encode()
	}
	options, err := clickhouse.ParseDSN(u.String())
	if err != nil {
		return nil, fmt.Errorf("read the ClickHouse address %s: %w", u.Redacted(), err)
	}
	options.ReadTimeout = 10 * time.Minute // between two blocks of a long answer
	conn, err := clickhouse.Open(options)
	if err != nil {
		return nil, fmt.Errorf("open ClickHouse: %w", err)
	}
	return conn, nil
}

// scope is which rows belong to the runs that are verified.
type scope struct{ runs, programs []string }

// names must be what package ledger lets through in a header: they stand in the
// text of the queries.
func quoted(names []string) string { return "('" + strings.Join(names, "', '") + "')" }

// clicks selects the hits of the runs.
func (s scope) clicks() string { return "stage = 'clicked' AND program IN " + quoted(s.programs) }

// named selects what has a name that a run made: ids, orders and users begin
// with the run's name and a hyphen.
func (s scope) named(column string) string {
	return "substringIndex(" + column + ", '-', 1) IN " + quoted(s.runs)
}

// actions selects the actions of the runs.
func (s scope) actions() string { return "stage != 'clicked' AND " + s.named("id") }

// stream runs a query and calls row for each of its rows, after scanning it into
// into.
func stream(ctx context.Context, conn driver.Conn, query string, row func() error, into ...any) error {
	rows, err := conn.Query(ctx, query)
	if err != nil {
		return fmt.Errorf("ask ClickHouse: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		if err := rows.Scan(into...); err != nil {
			return fmt.Errorf("read from ClickHouse: %w", err)
		}
		if err := row(); err != nil {
			return err
		}
	}
	if err := rows.Err(); err != nil {
		return fmt.Errorf("read from ClickHouse: %w", err)
	}
	return nil
}

// arrived is how many clicks and actions of the runs are in events.
func arrived(ctx context.Context, conn driver.Conn, s scope) (clicks, actions uint64, err error) {
	err = stream(ctx, conn, "SELECT countIf("+s.clicks()+"), countIf("+s.actions()+") FROM waymark.events", func() error { return nil }, &clicks, &actions)
	return clicks, actions, err
}
