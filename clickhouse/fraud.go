package clickhouse

import (
	"context"
	"fmt"
	"slices"
	"strconv"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"

	"waymark/tracker/fraud"
	"waymark/tracker/rewards"
)

// FraudMark changes whenever there is news about a referral: an action, a
// version of a programme. It stays "" while no programme is watched, so that who
// guards nothing never pays for a look.
func (db *DB) FraudMark(ctx context.Context) (string, error) {
	var watched uint64
	if err := db.conn.QueryRow(ctx, "SELECT count() FROM waymark.fraud_watched").Scan(&watched); err != nil {
		return "", fmt.Errorf("ask ClickHouse for the programmes that are watched for fraud: %w", err)
	}
	if watched == 0 {
		return "", nil
	}
	return db.mark(ctx)
}

// fraudColumns are those that scanFraud reads.
const fraudColumns = `program, id, referrer, referrer_type, referee, referred_at, entry, n, time, actor, score, risk, action,
    measured.signal, measured.value, measured.threshold, measured.weight, measured.triggered, version, decision, reason`

// FraudChanges returns the assessments that the log lacks: of referrals that
// were never assessed, whose score, risk, action or triggered signals have
// changed, or that there are no more. That a value has changed and nothing
// follows from it is no news, or the log would grow with the square of a
// referrer's referrals.
func (db *DB) FraudChanges(ctx context.Context, limit int) ([]*fraud.Entry, error) {
	entries, err := db.fraudEntries(ctx, `
SELECT `+fraudColumns+`
FROM
(
    SELECT
        u.program AS program, u.id AS id, argMax(u.referrer, u.present) AS referrer, argMax(u.referrer_type, u.present) AS referrer_type,
        argMax(u.referee, u.present) AS referee, argMax(u.referred_at, u.present) AS referred_at,
        'assessment' AS entry, toUInt32(max(u.next)) AS n, toDateTime64(0, 3, 'UTC') AS time, '' AS actor,
        max(u.present) AS still, min(u.present) AS unknown,
        argMax((u.score, u.risk, u.action, u.signals), u.present) AS result, argMin((u.score, u.risk, u.action, u.signals), u.present) AS logged,
        if(still, result.1, 0) AS score, if(still, result.2, '') AS risk, if(still, result.3, '') AS action,
        anyIf(u.measured, u.present) AS measured, argMax(u.version, u.present) AS version, '' AS decision, '' AS reason
    FROM
    (
        SELECT
            true AS present, program, id, referrer, referrer_type, referee, referred_at, score, risk, action, signals,
            CAST(measured AS Array(Tuple(signal String, value Float64, threshold Float64, weight Float64, triggered Bool))) AS measured, version, 0 AS next
        FROM waymark.fraud_scores AS s
        WHERE s.program IN (SELECT w.program FROM waymark.fraud_watched AS w)
        UNION ALL
        SELECT
            false, program, id, any(e.referrer), argMax(e.referrer_type, e.n), any(e.referee), argMax(e.referred_at, e.n),
            argMax(e.score, e.n), argMax(e.risk, e.n), argMax(e.action, e.n), argMax(e.signals, e.n), argMax(e.measured, e.n), argMax(e.version, e.n), max(e.n) + 1
        FROM waymark.fraud_entries AS e
        WHERE e.entry = 'assessment' AND e.program IN (SELECT w.program FROM waymark.fraud_watched AS w)
        GROUP BY program, id
    ) AS u
    GROUP BY u.program, u.id
)
WHERE unknown OR if(still, logged != result, logged.2 != '')
ORDER BY program, id
LIMIT {limit:UInt32}`, clickhouse.Named("limit", strconv.Itoa(limit)))
	if err != nil {
		return nil, fmt.Errorf("assess the referrals: %w", err)
	}
	return entries, nil
}

// FraudChain returns the entries of a referral: its assessments in order, then
// the decisions.
func (db *DB) FraudChain(ctx context.Context, id string) ([]*fraud.Entry, error) {
	entries, err := db.fraudEntries(ctx, `
SELECT `+fraudColumns+` FROM waymark.fraud_entries WHERE id = {id:String} ORDER BY entry, n`, clickhouse.Named("id", id))
	if err != nil {
		return nil, fmt.Errorf("read the log of the referral %s: %w", id, err)
	}
	return entries, nil
}

// FindFraudEntries returns which entries stand at the places that others claim,
// by their EventID. A place that is free, or not visible yet, is absent.
func (db *DB) FindFraudEntries(ctx context.Context, kind fraud.Kind, places []*fraud.Entry) (map[string]*fraud.Entry, error) {
	found := map[string]*fraud.Entry{}
	for window := range slices.Chunk(places, rewardWindow) {
		ids, claims := make([]string, len(window)), make([]string, len(window))
		for i, e := range window {
			ids[i], claims[i] = e.ID, e.EventID()
		}
		entries, err := db.fraudEntries(ctx, fmt.Sprintf(`
SELECT `+fraudColumns+`
FROM waymark.fraud_entries
WHERE id IN (%s) AND entry = {entry:String} AND concat(id, '/', toString(n)) IN (%s)`, quoteTexts(ids), quoteTexts(claims)), clickhouse.Named("entry", string(kind)))
		if err != nil {
			return nil, fmt.Errorf("look for entries of the log of fraud: %w", err)
		}
		for _, e := range entries {
			found[e.EventID()] = e
		}
	}
	return found, nil
}

func (db *DB) fraudEntries(ctx context.Context, sql string, args ...any) (entries []*fraud.Entry, err error) {
	err = db.scan(ctx, sql, args, func(rows driver.Rows) error {
		var e fraud.Entry
		var kind string
		var n uint32
		var names []string
		var values, thresholds, weights []float64
		var triggered []bool
		err := rows.Scan(&e.Program, &e.ID, &e.Referrer, &e.ReferrerType, &e.Referee, &e.ReferredAt, &kind, &n, &e.Time, &e.Actor, &e.Score, &e.Risk, &e.Action,
			&names, &values, &thresholds, &weights, &triggered, &e.Version, &e.Decision, &e.Reason)
		if err != nil {
			return err
		}
		e.Kind, e.N = fraud.Kind(kind), int(n)
		for i := range names {
			e.Signals = append(e.Signals, fraud.Signal{Name: names[i], Value: values[i], Threshold: thresholds[i], Weight: weights[i], Triggered: triggered[i]})
		}
		entries = append(entries, &e)
		return nil
	})
	return entries, err
}

// Holds returns what the log of fraud says now of each referral of a programme
// that was assessed: whether its rewards must wait, are taken back, or neither.
func (db *DB) Holds(ctx context.Context, program string) (map[rewards.Referral]rewards.Verdict, error) {
	holds := map[rewards.Referral]rewards.Verdict{}
	err := db.scan(ctx, "SELECT referrer, referee, if(action IN ('hold', 'reject'), action, '') FROM waymark.fraud WHERE program = {program:String}",
		[]any{clickhouse.Named("program", program)}, func(rows driver.Rows) error {
			var referral rewards.Referral
			var verdict string
			err := rows.Scan(&referral.Referrer, &referral.Referee, &verdict)
			holds[referral] = rewards.Verdict(verdict)
			return err
		})
	if err != nil {
		return nil, fmt.Errorf("read which referrals of the programme %s are held: %w", program, err)
	}
	return holds, nil
}
