package rewards

import (
	"cmp"
	"time"

	"github.com/shopspring/decimal"

	"waymark/tracker"
)

// Fact is an action as it is resolved: with the programme, the referrer and
// the campaign it belongs to. Refunds, and what accepts or rejects a referral,
// are facts, too.
type Fact struct {
	Event, Stage string
	Key          string // of its tracker.ActionIdentity
	Time         time.Time
	Party        string // the referee: a user's id, else visitor:… or click:…
	User         bool   // Party is a user's id
	Order        string
	Value        decimal.Decimal // in the programme's currency
	Plan         string
	Channel      string
	Campaign     string
	Country      string
	Referrer     string // "" for none
	ReferrerType string
	RefereeType  string
	Properties   map[string]string
	Unverified   bool
}

// The events that judge a referral; its referee is the user that they name.
const (
	EventAccept = "accept"
	EventReject = "reject"
)

// Identity names the fact within its programme.
func (f *Fact) Identity() string { return f.Event + " " + f.Key }

// compareFacts is the order in which facts count: that of their times, and
// where those are equal, one that does not depend on the order of arrival.
func compareFacts(a, b *Fact) int {
	return cmp.Or(a.Time.Compare(b.Time), cmp.Compare(a.Event, b.Event), cmp.Compare(a.Key, b.Key))
}

// is reports whether the fact is of a stage, or an event of that name.
func (f *Fact) is(stageOrEvent string) bool {
	return f.Event == stageOrEvent || f.Stage != "" && f.Stage == stageOrEvent
}

// Referral names who brought whom.
type Referral struct{ Referrer, Referee string }

// Verdict is what the fraud log says of a referral in the end: "" lets it
// earn, VerdictHold keeps its rewards pending, VerdictReject takes them back.
type Verdict string

const (
	VerdictHold   Verdict = "hold"
	VerdictReject Verdict = "reject"
)

// Version is a version of a programme. Since is its EffectiveFrom; of several
// with the same one the largest Number, its place in the log, holds.
type Version struct {
	Number  uint64
	Since   time.Time
	Program *tracker.Program
}

// Partner is what the record of a partner says from a time on.
type Partner struct {
	Since   time.Time
	Percent *decimal.Decimal // commission, 10 is ten per cent; nil for that of the rule
	Barred  bool             // suspended or terminated: earns nothing
}

// Terms are what rewards are calculated by.
type Terms struct {
	Program  string
	Versions []Version            // at least one, in any order
	Verdicts map[Referral]Verdict // of fraud
	Guarded  bool                 // a referral without a verdict waits for one
	Partners map[string][]Partner // by party, in the order of Since
}

// partner is the record of a party that held at a time, the zero record for
// none.
func (t *Terms) partner(party string, at time.Time) Partner {
	var found Partner
	for _, p := range t.Partners[party] {
		if p.Since.After(at) {
			break
		}
		found = p
	}
	return found
}
