package rewards

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/shopspring/decimal"

	"waymark/tracker"
	"waymark/tracker/wire"
)

// State is that of a reward after an entry.
type State string

const (
	Pending    State = "pending"
	Calculated State = "calculated"
	Eligible   State = "eligible"
	Paid       State = "paid"
	Expired    State = "expired"
	Cancelled  State = "cancelled"
)

// Kind says what an entry does.
type Kind string

const (
	Earn    Kind = "earn"    // begins a reward, or begins it again after it was cancelled
	Adjust  Kind = "adjust"  // changes its amount
	Reverse Kind = "reverse" // takes all of it back
	Move    Kind = "move"    // changes its state alone
	Expire  Kind = "expire"  // takes it back because nobody claimed it
	Payout  Kind = "payout"  // pays a party; its chain is that of the party's payouts
	Open    Kind = "open"    // begins a batch of payouts; its time is that until which rewards are taken
	Close   Kind = "close"   // ends it
)

// System is the actor of what follows from the facts and the clock.
const System = "system"

// Entry is an entry of the ledger. Of all that claim a place of a chain the
// first counts, for ever: that is what keeps two who act at the same time apart.
type Entry struct {
	Chain string // id of the reward, or PayoutChain
	N     int    // place in the chain, from 0
	Party string
	Time  time.Time       // when it takes effect
	Value decimal.Decimal // what the party's account gains by it, negative where it loses
	Kind  Kind
	State State

	// How the amount came about; of an entry that gives or changes one.
	Rule, Fact, Referee, Referrer, ReferrerType string
	Campaign, Base, Multipliers, Cap            string
	Version                                     uint64

	Actor      string // System, or the id of a key
	Reason     string
	Batch      string // of a payout, and of the moves that follow from it
	Lines      []Line // of a payout
	RecordedAt time.Time
}

// Line is what a payout settles of a reward: what it is worth and was not paid,
// or, negative, what was paid too much. The lines of a payout sum to it.
type Line struct {
	Reward string
	Amount decimal.Decimal
}

// LinesMax is how many lines one entry of a payout has at most. What is beyond
// goes into the next entry of the chain.
const LinesMax = lineProperties * linesInProperty

const (
	lineProperties  = 14
	linesInProperty = 16 // of at most 26 + 1 + 30 bytes, and the space between them
)

// ID is the idempotency key of the entry.
func (e *Entry) ID() string { return e.Chain + "/" + strconv.Itoa(e.N) }

// Event is the event that carries the entry. The amounts are in the programme's
// currency.
func (e *Entry) Event(program, currency string) *wire.Event {
	properties := map[string]string{
		"reward": e.Chain, "n": strconv.Itoa(e.N), "entry": string(e.Kind), "state": string(e.State), "actor": e.Actor,
		"recorded_at": e.RecordedAt.UTC().Format(time.RFC3339Nano),
	}
	for name, text := range map[string]string{
		"rule": e.Rule, "fact": e.Fact, "referee": e.Referee, "referrer": e.Referrer, "referrer_type": e.ReferrerType,
		"campaign": e.Campaign, "base": e.Base, "multipliers": e.Multipliers, "cap": e.Cap, "reason": e.Reason, "batch": e.Batch,
	} {
		if text != "" {
			properties[name] = cut(text)
		}
	}
	if e.Version != 0 {
		properties["version"] = strconv.FormatUint(e.Version, 10)
	}
	for i := 0; i < len(e.Lines); i += linesInProperty {
		var lines []string
		for _, line := range e.Lines[i:min(i+linesInProperty, len(e.Lines))] {
			lines = append(lines, line.Reward+":"+line.Amount.String())
		}
		properties[fmt.Sprintf("lines_%02d", i/linesInProperty)] = strings.Join(lines, " ")
	}
	return &wire.Event{
		Event: tracker.EventRewardEntry, Program: program, UserId: e.Party, Id: e.ID(), TimeMs: uint64(e.Time.UnixMilli()),
		Value: e.Value.String(), Currency: currency, Properties: properties,
	}
}

// propertyBytesMax is what a property of an event may have.
const propertyBytesMax = 1024

// cut shortens a text to what a property may have, at the end of a character.
func cut(text string) string {
	if len(text) <= propertyBytesMax {
		return text
	}
	return strings.ToValidUTF8(text[:propertyBytesMax], "")
}

// EntryOf reads an entry back from the event that carries it.
func EntryOf(e *wire.Event) (Entry, error) {
	p := e.Properties
	out := Entry{
		Chain: p["reward"], Party: e.UserId, Time: time.UnixMilli(int64(e.TimeMs)).UTC(), Kind: Kind(p["entry"]), State: State(p["state"]),
		Rule: p["rule"], Fact: p["fact"], Referee: p["referee"], Referrer: p["referrer"], ReferrerType: p["referrer_type"], Campaign: p["campaign"],
		Base: p["base"], Multipliers: p["multipliers"], Cap: p["cap"], Actor: p["actor"], Reason: p["reason"], Batch: p["batch"],
	}
	var errs [5]error
	out.N, errs[0] = strconv.Atoi(p["n"])
	out.Value, errs[1] = parseAmount(cmp.Or(e.Value, "0"))
	out.RecordedAt, errs[2] = time.Parse(time.RFC3339Nano, p["recorded_at"])
	if version := p["version"]; version != "" {
		out.Version, errs[3] = strconv.ParseUint(version, 10, 64)
	}
	for i := range lineProperties {
		for _, text := range strings.Fields(p[fmt.Sprintf("lines_%02d", i)]) {
			reward, sum, _ := strings.Cut(text, ":")
			line := Line{Reward: reward}
			if line.Amount, errs[4] = parseAmount(sum); errs[4] != nil {
				break
			}
			out.Lines = append(out.Lines, line)
		}
	}
	for _, err := range errs {
		if err != nil {
			return out, fmt.Errorf("read ledger entry %q: %w", e.Id, err)
		}
	}
	return out, nil
}

// parseAmount reads a plain decimal. An exponent of nine digits, which the
// decimal package takes, would not fit into memory once written out.
func parseAmount(text string) (decimal.Decimal, error) {
	if len(text) > 48 || strings.ContainsAny(text, "eE") {
		return decimal.Zero, fmt.Errorf("%.48q is no plain decimal", text)
	}
	return decimal.NewFromString(text)
}
