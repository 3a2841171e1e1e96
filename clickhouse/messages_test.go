package clickhouse

import (
	"cmp"
	"fmt"
	"testing"
	"time"

	"github.com/shopspring/decimal"

	"waymark/tracker"
	"waymark/tracker/wire"
)

// mailed is a world in which a mailer reports: a message for the campaign
// spring, one named by utm_content, and one without links, whose clicks it reports
// itself.
func mailed(seed uint64) *world {
	w := newWorld(seed, 4000)
	for _, e := range w.events {
		if e.Stage == "clicked" && e.UtmSource == "news" {
			e.UtmContent = pick(w, []string{"newsletter", "newsletter", "unknown"})
		}
	}
	report := func(event, message, campaign string) {
		e := &wire.Event{UserId: w.user(), Program: pick(w, []string{"wedding", "wedding", "general", ""}), Campaign: campaign, Properties: map[string]string{}}
		if message != "" {
			e.Properties["message"] = message
		}
		if segment := pick(w, []string{"", "new", "loyal"}); segment != "" {
			e.Properties["segment"] = segment
		}
		w.act(e, event, "", w.moment())
	}
	for range 200 {
		for _, event := range []string{"sent", "sent", "opened", "bounced"} {
			report(event, "", "spring")
			report(event, "newsletter", "spring")
			report(event, "app", "")
		}
		report("clicked", "app", "")
	}
	return w
}

// mailing is what became of a message, event by event.
type mailing struct {
	parties map[string]map[string]bool // kind → who
	value   decimal.Decimal
}

type mailKey struct{ program, message, segment string }

// mailings recounts the messages; of time nothing is asked where it is nil.
func (r *recount) mailings(within func(time.Time) bool) map[mailKey]*mailing {
	known, segments, latest := map[[2]string]bool{}, map[mailKey]string{}, map[mailKey]uint64{}
	messageOf := func(f fact) (string, bool) {
		switch f.Event.Event {
		case "sent", "opened", "clicked", "bounced":
			return cmp.Or(f.Properties["message"], f.Campaign), f.Stage != "clicked"
		}
		return "", false
	}
	for _, f := range r.facts {
		message, is := messageOf(f)
		if !is {
			continue
		}
		known[[2]string{f.program, message}] = true
		who := mailKey{f.program, message, f.party}
		if segment := f.Properties["segment"]; segment != "" && f.TimeMs >= latest[who] {
			segments[who], latest[who] = segment, f.TimeMs
		}
	}
	all := map[mailKey]*mailing{}
	count := func(f fact, message, who, segment string, kinds ...string) *mailing {
		key := mailKey{f.program, message, segment}
		if all[key] == nil {
			all[key] = &mailing{parties: map[string]map[string]bool{}}
		}
		for _, kind := range kinds {
			if all[key].parties[kind] == nil {
				all[key].parties[kind] = map[string]bool{}
			}
			all[key].parties[kind][message+"\x00"+who] = true
		}
		return all[key]
	}
	for _, f := range r.facts {
		if !within(time.UnixMilli(int64(f.TimeMs))) {
			continue
		}
		if message, is := messageOf(f); is {
			count(f, message, f.party, segments[mailKey{f.program, message, f.party}], f.Event.Event)
			continue
		}
		message := f.visit.UtmContent
		if !known[[2]string{f.program, message}] || message == "" {
			message = f.campaign
		}
		if f.channel != "email" && f.channel != "" || message == "" || !known[[2]string{f.program, message}] {
			continue
		}
		switch {
		case f.Stage == "clicked" && counts("valid", f.Reasons):
			who := fmt.Sprint("visitor ", f.VisitorId)
			if f.VisitorId == 0 {
				who = fmt.Sprint("hit ", f.TimeMs, f.Node, f.Sequence)
			}
			count(f, message, who, "", "visited")
		case f.Stage == "converted":
			sum := count(f, message, f.party, segments[mailKey{f.program, message, f.party}], "followed", "converted")
			if !unverified(f.Event) {
				sum.value = sum.value.Add(decimal.RequireFromString(cmp.Or(f.Value, "0")))
			}
		case f.Stage != "" && f.Stage != "invited" && f.Stage != "clicked":
			count(f, message, f.party, segments[mailKey{f.program, message, f.party}], "followed")
		}
	}
	return all
}

// funnel is a row without its key; clicks that are not reported are of a kind.
func (m *mailing) funnel(reported bool, instead string, targets []any) []any {
	n := func(kind string) float64 { return float64(len(m.parties[kind])) }
	clicked := n("clicked")
	if !reported {
		clicked = n(instead)
	}
	row := []any{n("sent"), n("opened"), clicked, n("converted"), n("bounced"), m.value,
		ratio(n("opened"), n("sent")), ratio(clicked, n("opened")), ratio(n("converted"), clicked), ratio(n("bounced"), n("sent"))}
	return append(append(row, targets...), ratio(m.value.InexactFloat64(), n("sent")))
}

// merge groups mailings.
func merge(all map[mailKey]*mailing, key func(mailKey) mailKey) map[mailKey]*mailing {
	merged := map[mailKey]*mailing{}
	for k, m := range all {
		to := merged[key(k)]
		if to == nil {
			to = &mailing{parties: map[string]map[string]bool{}}
			merged[key(k)] = to
		}
		to.value = to.value.Add(m.value)
		for kind, parties := range m.parties {
			if to.parties[kind] == nil {
				to.parties[kind] = map[string]bool{}
			}
			for who := range parties {
				to.parties[kind][k.program+"\x00"+who] = true
			}
		}
	}
	return merged
}

func TestMessagesAgainstRecount(t *testing.T) {
	w := mailed(51)
	db := openTestDB(t)
	wedding := tracker.NewProgram("wedding")
	wedding.Messages = tracker.MessageRules{OpenRate: 0.25, ClickRate: 0.125, ConversionRate: 0.5, BounceRate: 0.0625}
	if err := db.InsertPrograms(testContext(t), []tracker.ProgramRow{{Program: wedding, Version: 1}}); err != nil {
		t.Fatal(err)
	}
	insertAll(t, db, w.blocks(4))
	none := []any{nil, nil, nil, nil}
	targets := map[string][]any{"wedding": {0.25, 0.125, 0.5, 0.0625}}
	of := func(program string) []any {
		if targets[program] != nil {
			return targets[program]
		}
		return none
	}
	r := w.recount()
	all := r.mailings(func(time.Time) bool { return true })
	byMessage := merge(all, func(k mailKey) mailKey { return mailKey{k.program, k.message, ""} })
	var messages, segments want
	for k, m := range byMessage {
		messages = append(messages, append([]any{k.program, k.message}, m.funnel(len(m.parties["clicked"]) > 0, "visited", of(k.program))...))
	}
	for k, m := range all {
		delete(m.parties, "visited")
		if row := m.funnel(len(byMessage[mailKey{k.program, k.message, ""}].parties["clicked"]) > 0, "followed", of(k.program)); len(m.parties) > 0 && fmt.Sprint(row[:5]) != "[0 0 0 0 0]" {
			segments = append(segments, append([]any{k.program, k.message, k.segment}, row...))
		}
	}
	compareRows(t, "messages", view(t, db, "SELECT * FROM waymark.messages"), messages)
	compareRows(t, "message_segments", view(t, db, "SELECT * FROM waymark.message_segments"), segments)
	if len(messages) < 7 || len(segments) < 21 {
		t.Errorf("only %d messages and %d segments", len(messages), len(segments))
	}
	q := tracker.ReportQuery{Name: "messages", Program: "wedding", From: w.start.AddDate(0, 0, 5), To: w.start.AddDate(0, 0, 15)}
	period := r.mailings(func(at time.Time) bool { return !at.Before(q.From) && at.Before(q.To) })
	got, err := db.Report(testContext(t), q)
	if err != nil {
		t.Fatal(err)
	}
	var rows want
	for k, m := range merge(period, func(k mailKey) mailKey { return mailKey{k.program, k.message, ""} }) {
		if k.program == "wedding" {
			rows = append(rows, append([]any{k.message}, m.funnel(len(m.parties["clicked"]) > 0, "visited", of("wedding"))...))
		}
	}
	compareRows(t, "report by message", got, rows)
}
