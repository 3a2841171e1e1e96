package tracker

import "fmt"

// Place is a partition of a Kafka topic, which goes by the number of its
// identity (see pipeline.SourceNumber), so that a topic created anew is
// another.
type Place struct {
	Source    uint32
	Partition int32
}

// Holding is what events has of a place.
type Holding struct {
	Place
	Hits, Actions uint64 // rows
	// From and To bound the offsets of the rows that were asked for; To is
	// excluded. Where there are none, they are equal.
	From, To int64
}

// OffsetRun is a run of offsets without a gap, To excluded, each of which
// stands in events Copies times: none of those that ingest left out.
type OffsetRun struct {
	From, To int64
	Copies   uint64
}

// OrdinalRun is a run of ordinals of a node without a gap, To excluded.
type OrdinalRun struct{ From, To uint64 }

// NodeOrdinal names a hit for good: no two hits share a node and an ordinal.
type NodeOrdinal struct {
	Node    uint16
	Ordinal uint64
}

// HitRow and ActionRow say where a hit or an action stands in events.
type HitRow struct {
	NodeOrdinal
	Place
	Offset int64
}

type ActionRow struct {
	ActionIdentity
	Place
	Offset int64
}

// SurplusRows are rows that events has too many of: the offsets from From up
// to To, which is excluded. Keep leaves one row of each offset, for those that
// stand there several times; else all go, since their event stands elsewhere.
type SurplusRows struct {
	Place
	From, To int64
	Keep     bool
}

// AuditVerdict is what an audit says of one range.
type AuditVerdict string

const (
	AuditOK       AuditVerdict = "ok"       // everything is there, once
	AuditMissing  AuditVerdict = "missing"  // less than there should be
	AuditRepeated AuditVerdict = "repeated" // more than once
	AuditDiffers  AuditVerdict = "differs"  // a view target is not what events gives
	// AuditUnproven: nothing is known to be wrong, but the evidence is gone
	// (trimmed from Kafka) or in motion (ingest is writing it).
	AuditUnproven AuditVerdict = "unproven"
)

// Bad reports whether the verdict is a difference.
func (v AuditVerdict) Bad() bool { return v != AuditOK && v != AuditUnproven }

// AuditRange is what a result is about. From and To are decimal numbers for
// the units offset and ordinal, RFC 3339 for time, empty for key; To is
// excluded.
type AuditRange struct {
	Unit string `json:"unit"` // offset, ordinal, time or key
	From string `json:"from,omitempty"`
	To   string `json:"to,omitempty"`
}

// NumberRange is a range of offsets or ordinals.
func NumberRange[N int64 | uint64](unit string, from, to N) AuditRange {
	return AuditRange{Unit: unit, From: fmt.Sprint(from), To: fmt.Sprint(to)}
}

func (r AuditRange) String() string {
	if r.From == "" && r.To == "" {
		return "all " + r.Unit + "s"
	}
	return r.Unit + "s " + r.From + " to " + r.To
}

// AuditResult is a line of an audit. The first line about a thing sums up; a
// line follows for each range of it that is not as it should be.
type AuditResult struct {
	What     string       `json:"what"` // topic/partition, node, actions, or the view target
	Range    AuditRange   `json:"range"`
	Expected int64        `json:"expected"` // offsets, ordinals, actions; for a view target its rows once merged
	Found    int64        `json:"found"`
	Verdict  AuditVerdict `json:"verdict"`
	Detail   string       `json:"detail,omitempty"`
	Repair   string       `json:"repair,omitempty"` // what to do about this range; empty in sums, and where there is nothing to do
}
