package clickhouse

import (
	"cmp"
	"fmt"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/shopspring/decimal"

	"waymark/tracker"
	"waymark/tracker/wire"
)

const maxDepth = 64

// member is a party of a programme as the graph has it.
type member struct {
	*path
	orders          float64
	value, refunds  decimal.Decimal
	signup, convert bool
}

// graph recounts the journeys of each programme: party → member.
func (r *recount) graph() map[string]map[string]*member {
	programs := map[string]map[string]*member{}
	for key, p := range r.paths {
		if programs[key.program] == nil {
			programs[key.program] = map[string]*member{}
		}
		programs[key.program][key.party] = &member{path: p, signup: p.first["signed_up"] != 0, convert: p.first["converted"] != 0}
	}
	for _, f := range r.facts {
		if unverified(f.Event) || f.Stage == "clicked" || f.Stage == "invited" {
			continue
		}
		m := programs[f.program][f.party]
		value := decimal.RequireFromString(cmp.Or(f.Value, "0"))
		if f.Stage == "converted" {
			m.orders, m.value = m.orders+1, m.value.Add(value)
		}
		if f.Event.Event == "refund" {
			m.refunds = m.refunds.Add(value)
		}
	}
	return programs
}

func (m *member) referrer() string {
	if m == nil {
		return ""
	}
	return m.credit.ReferrerId
}

// at is the time of a stage, nil if it was not reached.
func (m *member) at(stage string) any {
	if m == nil || m.first[stage] == 0 {
		return nil
	}
	return time.UnixMilli(int64(m.first[stage]))
}

// row is what ancestors and descendants say of a party.
func (m *member) row(program string, depth int, party string) []any {
	orders, value, refunds := 0.0, decimal.Zero, decimal.Zero
	if m != nil {
		orders, value, refunds = m.orders, m.value, m.refunds
	}
	return []any{program, float64(depth), party, m.referrer(), m.at("signed_up"), m.at("activated"), m.at("converted"), m.at("retained"), orders, value, refunds}
}

// ancestors walks up, with a list of those it has passed.
func ancestors(program string, parties map[string]*member, party string, depthMax int) want {
	rows := want{parties[party].row(program, 0, party)}
	passed := []string{party}
	for depth := 1; depth <= min(depthMax, maxDepth); depth++ {
		party = parties[party].referrer()
		if party == "" || slices.Contains(passed, party) {
			break
		}
		passed = append(passed, party)
		rows = append(rows, parties[party].row(program, depth, party))
	}
	return rows
}

// descendants asks of each party of the programme whether its own way up leads
// to the root, which shares no direction with the view.
func descendants(program string, parties map[string]*member, root string, depthMax int) want {
	depthOf := func(party, root string) int {
		for depth, seen := 0, map[string]bool{}; !seen[party]; depth++ {
			if party == root {
				return depth
			}
			seen[party] = true
			party = parties[party].referrer()
		}
		return -1
	}
	inside := map[string]int{root: 0}
	for party := range parties {
		if depth := depthOf(party, root); depth > 0 && depth <= min(depthMax, maxDepth) {
			inside[party] = depth
		}
	}
	var rows want
	for top, depth := range inside {
		size, value := 0.0, decimal.Zero
		for party, d := range inside {
			below := depthOf(party, top)
			// A ring leads from the root's referrer down to the root: not within the tree.
			if below > 0 && d == depth+below {
				size, value = size+1, value.Add(parties[party].value)
			}
		}
		rows = append(rows, append(parties[top].row(program, depth, top), size, value))
	}
	return rows
}

// generations goes up from each party to one that nobody referred.
func generations(programs map[string]map[string]*member) want {
	var rows want
	for program, parties := range programs {
		known := map[string]bool{}
		for party, m := range parties {
			known[party] = true
			if m.referrer() != "" {
				known[m.referrer()] = true
			}
		}
		layers := map[any][]any{}
		for party := range known {
			var generation any
			at := party
			for n := 0; n <= maxDepth; n++ {
				if up := parties[at].referrer(); up == "" || up == at {
					generation = float64(n)
					break
				}
				at = parties[at].referrer()
			}
			row := layers[generation]
			if row == nil {
				row = []any{program, generation, 0.0, 0.0, 0.0, decimal.Zero}
				layers[generation] = row
			}
			row[2] = row[2].(float64) + 1
			if m := parties[party]; m != nil {
				if m.signup {
					row[3] = row[3].(float64) + 1
				}
				if m.convert {
					row[4] = row[4].(float64) + 1
				}
				row[5] = row[5].(decimal.Decimal).Add(m.value)
			}
		}
		for _, row := range layers {
			rows = append(rows, row)
		}
	}
	return rows
}

func (r *recount) edges() want {
	var rows want
	for program, parties := range r.graph() {
		for party, m := range parties {
			if m.referrer() != "" {
				c := m.credit
				rows = append(rows, []any{program, m.referrer(), party, c.ReferrerType, c.RefereeType, float64(c.Link), linkKey(c), c.Campaign, c.Channel,
					m.at("clicked"), m.at("signed_up"), m.at("activated"), m.at("converted"), m.at("retained"), m.orders, m.value, m.refunds})
			}
		}
	}
	return rows
}

// compareSets compares rows in any order, cell by cell.
func compareSets(t *testing.T, name string, got *tracker.Report, want want) {
	t.Helper()
	text := func(row []any) string {
		var all string
		for _, cell := range row {
			switch cell := cell.(type) {
			case time.Time:
				all += fmt.Sprint(cell.UnixMilli(), "|")
			default:
				all += fmt.Sprint(cell, "|")
			}
		}
		return all
	}
	for _, row := range got.Rows { // a depth is a byte
		for i := range row {
			if v := reflect.ValueOf(row[i]); v.IsValid() && (v.CanInt() || v.CanUint()) {
				row[i] = v.Convert(reflect.TypeFor[float64]()).Interface()
			}
		}
	}
	order := func(rows [][]any) {
		slices.SortFunc(rows, func(a, b []any) int { return cmp.Compare(text(a), text(b)) })
	}
	order(got.Rows)
	order(want)
	if len(got.Rows) != len(want) {
		t.Errorf("%s: %d rows, want %d", name, len(got.Rows), len(want))
	}
	for i := range min(len(want), len(got.Rows)) {
		if !sameRow(got.Rows[i], want[i]) {
			t.Fatalf("%s: got %v, want %v", name, got.Rows[i], want[i])
		}
	}
}

func view(t *testing.T, db *DB, format string, args ...any) *tracker.Report {
	t.Helper()
	answer, err := db.table(testContext(t), fmt.Sprintf(format, args...))
	if err != nil {
		t.Fatalf(format+": %v", append(args, err)...)
	}
	return answer
}

// A world of users that refer each other at random has trees, rings of several
// lengths, trees below rings, self-referrals and referrers who are nobody.
func tangled(seed uint64) *world {
	w := newWorld(seed, 1500)
	for i := range 120 {
		e := &wire.Event{Program: "wedding", ReferrerType: "couple", RefereeType: "couple", UserId: fmt.Sprint("g", w.random.IntN(90)), ReferrerId: fmt.Sprint("g", w.random.IntN(100))}
		if i%3 > 0 {
			e.UserId = fmt.Sprint("g", i)
		}
		if i%20 == 0 {
			e.ReferrerId = e.UserId
		}
		w.act(e, "signup", "signed_up", w.moment())
		if i%4 == 0 {
			w.act(&wire.Event{UserId: e.UserId, Value: fmt.Sprint(i, ".5")}, "purchase", "converted", w.moment())
		}
	}
	return w
}

func TestReferralGraphAgainstRecount(t *testing.T) {
	world := tangled(17)
	db := openTestDB(t)
	// In blocks, so that the targets hold parts that are not merged yet.
	blocks := world.blocks(6)
	insertAll(t, db, blocks)
	recount := world.recount()
	graph := recount.graph()
	check := func() {
		t.Helper()
		compareSets(t, "referral_edges", view(t, db, "SELECT * FROM waymark.referral_edges"), recount.edges())
		compareSets(t, "generations", view(t, db, "SELECT * FROM waymark.generations"), generations(graph))
		for i, party := range []string{"g0", "g5", "g31", "g62", "u3", "nobody at all"} {
			for _, depth := range []int{i % 4, 200} {
				args := fmt.Sprintf("(program = 'wedding', party = '%s', depth_max = %d)", party, depth)
				compareSets(t, "ancestors"+args, view(t, db, "SELECT * FROM waymark.ancestors%s", args), ancestors("wedding", graph["wedding"], party, depth))
				compareSets(t, "descendants"+args, view(t, db, "SELECT * FROM waymark.descendants%s", args), descendants("wedding", graph["wedding"], party, depth))
			}
		}
	}
	check()
	exec(t, db, "OPTIMIZE TABLE waymark.referrals FINAL")
	exec(t, db, "OPTIMIZE TABLE waymark.referees FINAL")
	check()
}

// A hand-made graph: a → b → c, b → d, d ⇄ nobody; x ⇄ y with z below; s refers itself and t.
func TestReferralGraphByHand(t *testing.T) {
	db := openTestDB(t)
	var rows []tracker.Row
	signup := func(party, referrer string, value int) {
		at := uint64(1_770_000_000_000 + len(rows)*1000)
		rows = append(rows,
			tracker.Row{Offset: int64(len(rows)), Event: &wire.Event{Event: "signup", Stage: "signed_up", Id: party, Program: "p", UserId: party, ReferrerId: referrer, TimeMs: at}},
			tracker.Row{Offset: int64(len(rows) + 1), Event: &wire.Event{Event: "purchase", Stage: "converted", Id: party, UserId: party, Value: fmt.Sprint(value), TimeMs: at + 500}})
	}
	signup("a", "", 1)
	signup("b", "a", 2)
	signup("c", "b", 4)
	signup("d", "b", 8)
	signup("x", "y", 16)
	signup("y", "x", 32)
	signup("z", "y", 64)
	signup("s", "s", 128)
	signup("t", "s", 256)
	insertAll(t, db, []*tracker.Block{{Token: "g", Rows: rows}})
	for sql, want := range map[string]string{
		"SELECT depth, party, subtree, subtree_value FROM waymark.descendants(program = 'p', party = 'a', depth_max = 64)": "[0 a 3 14 1 b 2 12 2 c 0 0 2 d 0 0]",
		"SELECT depth, party, subtree, subtree_value FROM waymark.descendants(program = 'p', party = 'a', depth_max = 1)":  "[0 a 1 2 1 b 0 0]",
		"SELECT depth, party, subtree, subtree_value FROM waymark.descendants(program = 'p', party = 'x', depth_max = 64)": "[0 x 2 96 1 y 1 64 2 z 0 0]",
		"SELECT depth, party, subtree FROM waymark.descendants(program = 'p', party = 's', depth_max = 64)":                "[0 s 1 1 t 0]",
		"SELECT depth, party FROM waymark.ancestors(program = 'p', party = 'c', depth_max = 64)":                           "[0 c 1 b 2 a]",
		"SELECT depth, party FROM waymark.ancestors(program = 'p', party = 'z', depth_max = 64)":                           "[0 z 1 y 2 x]",
		"SELECT depth, party FROM waymark.ancestors(program = 'p', party = 't', depth_max = 64)":                           "[0 t 1 s]",
		"SELECT generation, parties, signups, value FROM waymark.generations":                                              "[0 2 2 129 1 2 2 258 2 2 2 12 <nil> 3 3 112]",
	} {
		if got := fmt.Sprint(ask(t, db, sql)); got != want {
			t.Errorf("%s:\n got %s\nwant %s", sql, got, want)
		}
	}
}
