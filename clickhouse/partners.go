package clickhouse

import (
	"context"
	"fmt"
	"strconv"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"

	"waymark/tracker/partners"
	"waymark/tracker/rewards"
)

// PartnerChanges returns the changes of a partner's record in the order of its
// chain.
func (db *DB) PartnerChanges(ctx context.Context, program, id string) ([]partners.Change, error) {
	return db.partnerChanges(ctx, "program = {program:String} AND partner = {partner:String}",
		clickhouse.Named("program", program), clickhouse.Named("partner", id))
}

// PartnerOfCode returns the partner that claimed a code, which is given as
// partners.FoldCode has it; "" for nobody.
func (db *DB) PartnerOfCode(ctx context.Context, program, code string) (id string, err error) {
	err = db.scan(ctx, "SELECT partner FROM waymark.partner_changes WHERE program = {program:String} AND kind = 'code' AND code = {code:String}",
		[]any{clickhouse.Named("program", program), clickhouse.Named("code", code)}, func(rows driver.Rows) error { return rows.Scan(&id) })
	if err != nil {
		return "", fmt.Errorf("ask ClickHouse for the partner with the code %s: %w", code, err)
	}
	return id, nil
}

// Partners returns a page of records in the order of programme and id.
func (db *DB) Partners(ctx context.Context, query partners.Query) ([]partners.Partner, error) {
	var all []partners.Partner
	err := db.scan(ctx, `
SELECT program, partner, code, type, name, email, status, commission_rate, joined_at
FROM waymark.partner_records
WHERE (program, partner) > ({after_program:String}, {after:String}) AND ({program:String} = '' OR program = {program:String})
    AND ({partner:String} = '' OR partner = {partner:String}) AND ({status:String} = '' OR status = {status:String})
ORDER BY program, partner
LIMIT {limit:UInt32}`, []any{
		clickhouse.Named("after_program", query.After[0]), clickhouse.Named("after", query.After[1]), clickhouse.Named("program", query.Program),
		clickhouse.Named("partner", query.ID), clickhouse.Named("status", query.Status), clickhouse.Named("limit", strconv.Itoa(query.Limit)),
	}, func(rows driver.Rows) error {
		var p partners.Partner
		var status, rate string
		err := rows.Scan(&p.Program, &p.ID, &p.Code, &p.Type, &p.Name, &p.Email, &status, &rate, &p.JoinedAt)
		if err == nil {
			p.Status = partners.Status(status)
			p.CommissionRate, err = partners.ParseRate(rate)
		}
		all = append(all, p)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("list partners: %w", err)
	}
	return all, nil
}

func (db *DB) partnerChanges(ctx context.Context, where string, args ...any) ([]partners.Change, error) {
	var all []partners.Change
	err := db.scan(ctx, `
SELECT program, partner, n, time, code, type, name, email, status, commission_rate, joined_at, actor, recorded_at
FROM waymark.partner_history
WHERE `+where+`
ORDER BY program, partner, n`, args, func(rows driver.Rows) error {
		var c partners.Change
		var n uint32
		var status, rate string
		p := &c.Partner
		err := rows.Scan(&p.Program, &p.ID, &n, &c.Time, &p.Code, &p.Type, &p.Name, &p.Email, &status, &rate, &p.JoinedAt, &c.Actor, &c.RecordedAt)
		if err == nil {
			c.N, p.Status = int(n), partners.Status(status)
			p.CommissionRate, err = partners.ParseRate(rate)
		}
		all = append(all, c)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read the records of partners: %w", err)
	}
	return all, nil
}

// partnerTerms returns what the records of a programme's partners say about
// their rewards, by party and in the order of time.
func (db *DB) partnerTerms(ctx context.Context, program string) (map[string][]rewards.Partner, error) {
	changes, err := db.partnerChanges(ctx, "program = {program:String}", clickhouse.Named("program", program))
	if err != nil {
		return nil, err
	}
	terms := map[string][]rewards.Partner{}
	for i := range changes {
		c := &changes[i]
		terms[c.Partner.ID] = append(terms[c.Partner.ID], rewards.Partner{Since: c.Time, Percent: c.Partner.CommissionRate, Barred: !c.Partner.Status.Earns()})
	}
	return terms, nil
}
