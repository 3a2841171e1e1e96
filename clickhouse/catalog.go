package clickhouse

import (
	"context"
	"fmt"

	"github.com/ClickHouse/clickhouse-go/v2"

	"waymark/tracker"
)

// InsertLinks copies records of the topic waymark.links. The same one may come
// more than once; the highest version of a number counts.
func (db *DB) InsertLinks(ctx context.Context, rows []tracker.LinkRow) error {
	return db.insertRows(ctx, "links", `INSERT INTO waymark.links (number, code, domain, url, program, campaign, channel,
		referrer_id, referrer_type, referee_type, tags, status, active, starts_at, expires_at, expired_url, forward_query,
		click_param, noindex, utm, created_at, updated_at, deleted, version)`,
		len(rows), func(i int) []any {
			l := &rows[i].Link
			return []any{uint32(l.Number), l.Code, l.Domain, l.URL, l.Program, l.Campaign, l.Channel,
				l.Referrer.ID, l.Referrer.Type, l.RefereeType, l.Tags, uint16(l.Status), l.Active, l.StartsAt, l.ExpiresAt, l.ExpiredURL, l.ForwardQuery,
				l.ClickParam, l.NoIndex, l.UTM, l.CreatedAt, l.UpdatedAt, rows[i].Deleted, rows[i].Version}
		})
}

// InsertPrograms copies records of the topic waymark.programs in the same way,
// and keeps every version.
func (db *DB) InsertPrograms(ctx context.Context, rows []tracker.ProgramRow) error {
	if err := db.insertProgramVersions(ctx, rows); err != nil {
		return err
	}
	return db.insertRows(ctx, "programmes", `INSERT INTO waymark.programs (name, party_types, currency, attribution_window_days,
		cookie_lifetime_days, unique_window_hours, code_prefix, case_insensitive, trust_pixel, app_schemes, version)`,
		len(rows), func(i int) []any {
			p := &rows[i].Program
			return []any{p.Name, p.PartyTypes, p.Currency, uint32(p.AttributionWindowDays),
				uint32(p.CookieLifetimeDays), uint32(p.UniqueWindowHours), p.CodePrefix, p.CaseInsensitive, p.TrustPixel, p.AppSchemes, rows[i].Version}
		})
}

func (db *DB) insertRows(ctx context.Context, what, query string, n int, row func(int) []any) error {
	if n == 0 {
		return nil
	}
	ctx = clickhouse.Context(ctx, clickhouse.WithSettings(clickhouse.Settings{"async_insert": 0}))
	batch, err := db.conn.PrepareBatch(ctx, query)
	if err != nil {
		return fmt.Errorf("prepare the insert of %d %s: %w", n, what, err)
	}
	defer batch.Close()
	for i := range n {
		if err := batch.Append(row(i)...); err != nil {
			return fmt.Errorf("add one of %d %s to the insert: %w", n, what, err)
		}
	}
	if err := batch.Send(); err != nil {
		return fmt.Errorf("insert %d %s: %w", n, what, err)
	}
	return nil
}
