package clickhouse

import (
	"fmt"
	"strings"
)

// RowFilters are the conditions by which a reader of one programme sees only its rows: an expression for each table of the
// schema that has such rows, by database.table. They name the temporary table of members, which the statements in prepare
// make, and which must run in the same session with all rows in sight. Every other table is not for such a reader.
//
// An action that named only its user has no programme of its own: it belongs to the user's home (view homes), which takes
// the signups of all programmes to tell. With the rows of its programme alone a reader would find itself a home for the
// users of others. So the members, those whose home the programme is and who have such actions, are looked up first.
//
// The settled tables are left out, and how far they are (settled_until): with a home that has moved since, they know what
// is no longer the reader's to see. Without them the views resolve everything as they are read, slower and to the same rows.
func RowFilters(program string) (prepare []string, filters map[string]string) {
	name := quoteText(program)
	prepare = []string{fmt.Sprintf("CREATE TEMPORARY TABLE members ENGINE = Memory AS SELECT party FROM waymark.homes "+
		"WHERE home = %s AND party IN (SELECT party FROM waymark.referrals WHERE program = '')", name)}
	own := "program = " + name
	// In events the party is an alias; an action without a programme has a user, who is the party.
	byUser := own + " OR program = '' AND user_id IN (SELECT party FROM members)"
	byParty := own + " OR program = '' AND party IN (SELECT party FROM members)"
	filters = map[string]string{
		"waymark.events":           byUser,
		"waymark.conversions":      byParty,
		"waymark.actions_by_party": byParty,
		"waymark.referrals":        byParty,
		// It has no programme, but hashes of who was named: those of the actions that are seen.
		"waymark.referees":         "(parent, node) IN (SELECT cityHash64(referrer_id), cityHash64(party) FROM waymark.actions_by_party)",
		"waymark.programs":         "name = " + name,
		"waymark.program_versions": "name = " + name,
	}
	for _, table := range []string{
		"clicks_hourly", "link_clicks_daily", "link_clicks_monthly", "visitor_sample", "links", "reward_entries", "fraud_entries",
		"message_events", "partner_changes", "audit_entries", "decisions",
	} {
		filters["waymark."+table] = own
	}
	return prepare, filters
}

// quoteText writes a string literal of ClickHouse.
func quoteText(s string) string {
	return "'" + strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(s) + "'"
}
