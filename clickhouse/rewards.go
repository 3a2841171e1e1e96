package clickhouse

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
	"github.com/shopspring/decimal"

	"waymark/tracker/rewards"
)

// RewardTerms returns what the rewards of a programme are calculated by. There
// are no versions of a programme that was never written.
func (db *DB) RewardTerms(ctx context.Context, program string) (*rewards.Terms, error) {
	versions, err := db.ProgramVersions(ctx, program)
	if err != nil {
		return nil, err
	}
	terms := &rewards.Terms{Program: program, Guarded: true}
	if terms.Verdicts, err = db.Holds(ctx, program); err != nil {
		return nil, err
	}
	if terms.Partners, err = db.partnerTerms(ctx, program); err != nil {
		return nil, err
	}
	for i := range versions {
		v := &versions[i]
		terms.Versions = append(terms.Versions, rewards.Version{Number: v.Version, Since: v.Program.EffectiveFrom, Program: &v.Program})
	}
	return terms, nil
}

// RewardFacts returns the facts of a programme by which rewards are calculated:
// its actions with a referrer, and refunds and judgements without. They come in
// no order. Countries are left out unless they are asked for: an action's is that
// of its click, and takes a pass over the clicks.
func (db *DB) RewardFacts(ctx context.Context, program string, countries bool) ([]*rewards.Fact, error) {
	country, visits := "''", ""
	if countries {
		country = "v.country"
		visits = `
LEFT ANY JOIN (SELECT source, partition, offset, country FROM waymark.action_visits WHERE program = {program:String}) AS v
    ON v.source = a.source AND v.partition = a.partition AND v.offset = a.offset`
	}
	var facts []*rewards.Fact
	err := db.scan(ctx, `
SELECT
    a.event, a.stage, concat(if(bitAnd(a.reasons, 128) = 0, '', 'u'), if(a.order_id != '', concat('o:', a.order_id), concat('i:', a.id))), a.time,
    a.party, a.user_id != '', a.order_id, if(bitAnd(a.reasons, 128) = 0, a.value, p.value), a.plan, a.channel, a.campaign, `+country+`,
    a.referrer, a.referrer_type, a.referee_type, p.properties, bitAnd(a.reasons, 128) != 0
FROM waymark.actions AS a
LEFT ANY JOIN
(
    -- What the view has not: properties, and the value of what is unverified.
    SELECT source, partition, offset, properties, value
    FROM waymark.events
    WHERE stage NOT IN ('clicked', 'invited') AND (notEmpty(properties) OR bitAnd(reasons, 128) != 0)
) AS p ON p.source = a.source AND p.partition = a.partition AND p.offset = a.offset`+visits+`
WHERE a.program = {program:String} AND a.stage != 'invited' AND (a.referrer != '' OR a.event IN ('refund', 'accept', 'reject'))`,
		[]any{clickhouse.Named("program", program)}, func(rows driver.Rows) error {
			var f rewards.Fact
			var user, unverified uint8
			err := rows.Scan(&f.Event, &f.Stage, &f.Key, &f.Time, &f.Party, &user, &f.Order, &f.Value, &f.Plan, &f.Channel, &f.Campaign, &f.Country,
				&f.Referrer, &f.ReferrerType, &f.RefereeType, &f.Properties, &unverified)
			f.User, f.Unverified = user == 1, unverified == 1
			facts = append(facts, &f)
			return err
		})
	if err != nil {
		return nil, fmt.Errorf("ask ClickHouse for the facts of the programme %s: %w", program, err)
	}
	return facts, nil
}

// RewardPrograms lists the programmes that may have rewards.
func (db *DB) RewardPrograms(ctx context.Context) (names []string, err error) {
	err = db.scan(ctx, `
SELECT DISTINCT name FROM (SELECT name FROM waymark.program_versions UNION ALL SELECT toString(program) AS name FROM waymark.reward_entries) ORDER BY name`, nil, func(rows driver.Rows) error {
		var name string
		err := rows.Scan(&name)
		names = append(names, name)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("ask ClickHouse for the programmes with rewards: %w", err)
	}
	return names, nil
}

// RewardsMark changes whenever there is news for the rewards of any programme:
// an action, what was said of a referral or a partner, what a person decided
// about a reward, a version. What an accountant writes is no news: it follows
// from these.
func (db *DB) RewardsMark(ctx context.Context) (string, error) {
	return db.mark(ctx, "(SELECT count() FROM waymark.fraud_entries)", "(SELECT count() FROM waymark.partner_changes)",
		"(SELECT count() FROM waymark.reward_entries WHERE actor != '"+rewards.System+"')")
}

// mark is a text that changes with every action and every version of a
// programme, and with what further queries of one number give. Counts of whole
// tables cost nothing.
func (db *DB) mark(ctx context.Context, further ...string) (string, error) {
	var mark string
	queries := append([]string{"(SELECT count() FROM waymark.actions_by_party)", "(SELECT max(version) + count() FROM waymark.program_versions)"}, further...)
	if err := db.conn.QueryRow(ctx, "SELECT concatWithSeparator(' ', "+strings.Join(queries, ", ")+")").Scan(&mark); err != nil {
		return "", fmt.Errorf("ask ClickHouse for news about referrals and rewards: %w", err)
	}
	return mark, nil
}

// RewardEntries yields entries of a programme's ledger, by party and in the
// order of their chains; those of some parties only unless there are none.
func (db *DB) RewardEntries(ctx context.Context, program string, parties []string, yield func(*rewards.Entry) error) error {
	where, args := "program = {program:String}", []any{clickhouse.Named("program", program)}
	if len(parties) > 0 {
		where += " AND party IN (" + quoteTexts(parties) + ")"
	}
	return db.rewardEntries(ctx, where, args, func(_ string, e *rewards.Entry) error { return yield(e) })
}

// RewardChain returns the entries of one chain and the programme that it
// belongs to, "" for a chain that there is not.
func (db *DB) RewardChain(ctx context.Context, chain string) (program string, entries []rewards.Entry, err error) {
	err = db.rewardEntries(ctx, "reward = {reward:String}", []any{clickhouse.Named("reward", chain)}, func(of string, e *rewards.Entry) error {
		program, entries = of, append(entries, *e)
		return nil
	})
	return program, entries, err
}

// RewardBatch returns the entries that pay parties in a batch of payouts.
func (db *DB) RewardBatch(ctx context.Context, batch string) (entries []rewards.Entry, err error) {
	err = db.rewardEntries(ctx, "batch = {batch:String} AND entry = 'payout'", []any{clickhouse.Named("batch", batch)}, func(_ string, e *rewards.Entry) error {
		entries = append(entries, *e)
		return nil
	})
	return entries, err
}

const (
	// rewardWindow is how many entries are looked up by one query, whose text
	// stays well below what ClickHouse reads (256 KiB).
	rewardWindow = 400
	// rewardScan is from how many on reading the whole ledger is faster.
	rewardScan = 4000
)

// FindRewardEntries returns which entries stand at the places that others claim,
// by their id. A place that is free, or not visible yet, is absent.
func (db *DB) FindRewardEntries(ctx context.Context, program string, claims []*rewards.Entry) (map[string]*rewards.Entry, error) {
	claimed, found := make(map[string]bool, len(claims)), make(map[string]*rewards.Entry, len(claims))
	for _, e := range claims {
		claimed[e.ID()] = true
	}
	keep := func(e *rewards.Entry) error {
		if claimed[e.ID()] {
			found[e.ID()] = e
		}
		return nil
	}
	if len(claims) >= rewardScan {
		return found, db.RewardEntries(ctx, program, nil, keep)
	}
	for window := range slices.Chunk(claims, rewardWindow) {
		var parties, ids []string
		for _, e := range window {
			parties, ids = append(parties, e.Party), append(ids, e.ID())
		}
		slices.Sort(parties)
		where := fmt.Sprintf("program = {program:String} AND party IN (%s) AND concat(reward, '/', toString(n)) IN (%s)", quoteTexts(slices.Compact(parties)), quoteTexts(ids))
		err := db.rewardEntries(ctx, where, []any{clickhouse.Named("program", program)}, func(_ string, e *rewards.Entry) error { return keep(e) })
		if err != nil {
			return nil, err
		}
	}
	return found, nil
}

// quoteTexts writes string literals of ClickHouse, for an IN.
func quoteTexts(texts []string) string {
	quoted := make([]string, len(texts))
	for i, text := range texts {
		quoted[i] = quoteText(text)
	}
	return strings.Join(quoted, ", ")
}

func (db *DB) rewardEntries(ctx context.Context, where string, args []any, yield func(program string, e *rewards.Entry) error) error {
	err := db.scan(ctx, `
SELECT
    program, party, reward, n, time, value, entry, state, rule, fact, referee, referrer, referrer_type, campaign, base, multipliers, cap, version,
    actor, reason, batch, lines.reward, lines.amount, recorded_at
FROM waymark.reward_entries
WHERE `+where+`
ORDER BY program, party, reward, n`, args, func(rows driver.Rows) error {
		var e rewards.Entry
		var program, kind, state string
		var n uint32
		var lines []string
		var amounts []decimal.Decimal
		err := rows.Scan(&program, &e.Party, &e.Chain, &n, &e.Time, &e.Value, &kind, &state, &e.Rule, &e.Fact, &e.Referee, &e.Referrer, &e.ReferrerType,
			&e.Campaign, &e.Base, &e.Multipliers, &e.Cap, &e.Version, &e.Actor, &e.Reason, &e.Batch, &lines, &amounts, &e.RecordedAt)
		if err != nil {
			return err
		}
		e.N, e.Kind, e.State = int(n), rewards.Kind(kind), rewards.State(state)
		for i := range lines {
			e.Lines = append(e.Lines, rewards.Line{Reward: lines[i], Amount: amounts[i]})
		}
		return yield(program, &e)
	})
	if err != nil {
		return fmt.Errorf("read the ledger of rewards: %w", err)
	}
	return nil
}
