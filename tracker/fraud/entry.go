package fraud

import (
	"encoding/json"
	"strconv"
	"strings"
	"time"

	"waymark/tracker"
	"waymark/tracker/wire"
)

// Kind is the chain that an entry stands in.
type Kind string

const (
	Assessment Kind = "assessment"
	Decision   Kind = "decision"
)

// What a decision may be.
const (
	Approve  = "approve"  // nothing is held against the referral any more
	Reject   = "reject"   // it earns nothing
	Withdraw = "withdraw" // the assessment holds again
)

// System is the actor of assessments.
const System = "system"

// Referral says who brought whom in a programme.
type Referral struct {
	ID           string // 32 hexadecimal digits, see the view fraud_referrals
	Program      string
	Referrer     string
	ReferrerType string
	Referee      string
	ReferredAt   time.Time // when it began: the signup, else the first action
}

// Signal is what was measured of a referral. Its unit, and in which direction
// the threshold is passed, depend on the signal (see tracker.FraudRules).
type Signal struct {
	Name      string  `json:"-"`
	Value     float64 `json:"value"`
	Threshold float64 `json:"threshold"`
	Weight    float64 `json:"weight"`
	Triggered bool    `json:"triggered"`
}

// Entry is an entry of the log.
type Entry struct {
	Referral
	Kind  Kind
	N     int       // place in the chain, from 0
	Time  time.Time // when it was made
	Actor string    // System, or the id of a key

	// Of an assessment. Risk and Action are empty where there is no such referral
	// any more, because later facts credit somebody else.
	Score   float64 // sum of the weights that were triggered, 1 at most
	Risk    string  // low, medium or high
	Action  string  // approve, review, hold or reject
	Signals []Signal
	Version uint64 // of the programme

	// Of a decision.
	Decision string
	Reason   string
}

// EventID is the idempotency key of the entry among those of its kind.
func (e *Entry) EventID() string { return e.ID + "/" + strconv.Itoa(e.N) }

const (
	// signalPrefix begins the names of the properties that hold a signal each.
	signalPrefix = "signal."
	// propertyBytesMax is what a property of an event may have.
	propertyBytesMax = 1024
)

// Event is the event that carries the entry.
func (e *Entry) Event() *wire.Event {
	event := &wire.Event{
		Event: tracker.EventFraudAssessment, Program: e.Program, UserId: e.Referee, Id: e.EventID(), TimeMs: uint64(e.Time.UnixMilli()),
		Properties: map[string]string{
			"referral": e.ID, "referrer": cut(e.Referrer), "referrer_type": e.ReferrerType, "referred_at": e.ReferredAt.UTC().Format(time.RFC3339Nano),
			"n": strconv.Itoa(e.N), "actor": e.Actor,
		},
	}
	if e.Kind == Decision {
		event.Event = tracker.EventFraudDecision
		event.Properties["decision"], event.Properties["reason"] = e.Decision, cut(e.Reason)
		return event
	}
	event.Properties["score"] = strconv.FormatFloat(e.Score, 'f', -1, 64)
	event.Properties["risk"], event.Properties["action"] = e.Risk, e.Action
	event.Properties["version"] = strconv.FormatUint(e.Version, 10)
	for _, s := range e.Signals {
		text, err := json.Marshal(s)
		if err != nil {
			panic("BUG: encode a signal of fraud: " + err.Error())
		}
		event.Properties[signalPrefix+s.Name] = string(text)
	}
	return event
}

// cut shortens a text to what a property may have, at the end of a character.
func cut(text string) string {
	if len(text) <= propertyBytesMax {
		return text
	}
	return strings.ToValidUTF8(text[:propertyBytesMax], "")
}

// Evidence is an event that a signal was measured by.
type Evidence struct {
	Signal string
	Time   time.Time
	Party  string
	Event  string
	Action string // identity of the event: o: and the order, i: and the id, or that of a click
	Detail string
}
