package pipeline

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"waymark/tracker"
)

// AuditOptions configure an Audit.
type AuditOptions struct {
	Clients ClientOptions
	Store   AuditStore
	// Since leaves out what came earlier; the zero time leaves out nothing.
	// For what Kafka still has, it is the time at which a record was written;
	// for the rest, the time of the event.
	Since  time.Time
	Logger *slog.Logger // nil: slog.Default()
}

// Audit proves that every record below the committed offsets is in events
// exactly once, or names those that are not.
//
// What Kafka still has is read again wherever events has no row, and judged as
// ingest judges it: a repeat, a record that can't become a row, else missing.
// What Kafka has no more is judged by the ordinals alone, which are contiguous
// for each node; so are repeats of hits, wherever they stand.
type Audit struct {
	opts       AuditOptions
	client     *kgo.Client
	partitions []topicPartition // of the topics as they are now
}

// auditRangesMax bounds the ranges that an audit keeps of one kind and place.
// What is beyond is counted in its last line, and found again once the first
// ones are repaired.
const auditRangesMax = 1000

// NewAudit connects to Kafka and looks the topics up. It fails when Kafka does
// not answer within 15 seconds.
func NewAudit(ctx context.Context, o AuditOptions) (*Audit, error) {
	if o.Store == nil {
		panic("BUG: audit without a store")
	}
	o.Logger = loggerOr(o.Logger)
	client, err := NewClient(o.Clients)
	if err != nil {
		return nil, err
	}
	a := &Audit{opts: o, client: client}
	asking, cancel := context.WithTimeout(ctx, 15*time.Second)
	defer cancel()
	for _, name := range eventTopics {
		topic, err := lookUpTopic(asking, client, name)
		if err != nil {
			client.Close()
			return nil, err
		}
		for partition := range len(topic.Partitions) {
			a.partitions = append(a.partitions, topicPartition{topic: name, topicID: topic.TopicID, partition: int32(partition)})
		}
	}
	return a, nil
}

// Close disconnects from Kafka.
func (a *Audit) Close() { a.client.Close() }

// EventsAudit is what Check found.
type EventsAudit struct {
	Results []tracker.AuditResult
	Missing []MissingRecords
	Surplus []tracker.SurplusRows
}

// MissingRecords are records that Kafka has and events should have. To is
// excluded.
type MissingRecords struct {
	of       topicPartition
	From, To int64
}

// extent is what there is to check of a place.
type extent struct {
	what    string // topic/partition
	place   tracker.Place
	of      topicPartition
	actions bool
	from    int64 // where the audit begins
	start   int64 // where the log begins, at most to: below it, events is all there is
	to      int64 // what ingest is through with
	waiting int64 // records that ingest has yet to insert
}

// Check compares Kafka with events. Ingest may run meanwhile: what it has
// settled stays as it is.
func (a *Audit) Check(ctx context.Context) (*EventsAudit, error) {
	extents, err := a.extents(ctx)
	if err != nil {
		return nil, err
	}
	found := &EventsAudit{}
	ordinals := newOrdinalAudit()
	for _, x := range extents {
		a.opts.Logger.Debug("audit of a partition", "partition", x.what, "from", x.from, "to", x.to)
		if err := a.checkOffsets(ctx, x, found, ordinals); err != nil {
			return nil, err
		}
	}
	for _, x := range extents {
		if err := ordinals.read(ctx, a.opts.Store, x); err != nil {
			return nil, err
		}
	}
	if err := ordinals.check(ctx, a.opts.Store, a.opts.Since.IsZero(), found); err != nil {
		return nil, err
	}
	return found, a.checkActions(ctx, found)
}

// extents lists the places of the topics as they are, and of those that were
// deleted but have rows.
func (a *Audit) extents(ctx context.Context) ([]extent, error) {
	// The rows first: what has come in by then lies below the offsets that
	// are read next, unless it is part of a plan.
	holdings, err := a.opts.Store.Holdings(ctx, a.opts.Since)
	if err != nil {
		return nil, err
	}
	held := map[tracker.Place]tracker.Holding{}
	for _, h := range holdings {
		held[h.Place] = h
	}
	committed, err := a.committedProgress(ctx)
	if err != nil {
		return nil, err
	}
	var all []extent
	for _, of := range a.partitions {
		place := tracker.Place{Source: of.source(), Partition: of.partition}
		log, err := lookUpLog(ctx, a.client, of)
		if err != nil {
			return nil, err
		}
		x := extent{what: of.String(), place: place, of: of, actions: of.topic != TopicClicks}
		x.bound(committed[of], held[place], log)
		if x.from, err = a.begin(ctx, of, held[place], log); err != nil {
			return nil, err
		}
		x.from = min(x.from, x.to)
		all = append(all, x)
		delete(held, place)
	}
	for _, h := range holdings {
		if _, gone := held[h.Place]; !gone || h.From == h.To {
			continue
		}
		from := h.From
		if a.opts.Since.IsZero() {
			from = 0
		}
		all = append(all, extent{
			what: fmt.Sprintf("deleted topic %d/%d", h.Source, h.Partition), place: h.Place, actions: h.Hits == 0,
			from: from, start: h.To, to: h.To,
		})
	}
	return all, nil
}

// bound finds where the audit of a partition ends: at the committed offset or,
// where that lags behind the rows (and no plan explains them), after the last
// row, since that is where ingest goes on.
func (x *extent) bound(committed progress, held tracker.Holding, log logRange) {
	x.to = committed.offset
	if held.To > max(committed.offset, committed.To) {
		x.to = held.To
	}
	x.start = min(log.start, x.to)
	x.waiting = max(log.end-max(x.to, log.start), 0)
}

// begin finds the first offset to check.
func (a *Audit) begin(ctx context.Context, of topicPartition, held tracker.Holding, log logRange) (int64, error) {
	if a.opts.Since.IsZero() {
		return 0, nil
	}
	after, err := kadm.NewClient(a.client).ListOffsetsAfterMilli(ctx, a.opts.Since.UnixMilli(), of.topic)
	offset, ok := after.Lookup(of.topic, of.partition)
	if err == nil && ok {
		err = offset.Err
	}
	if err != nil {
		return 0, fmt.Errorf("ask Kafka where %s was at %s: %w", of, a.opts.Since.Format(time.RFC3339), err)
	}
	if !ok {
		return 0, fmt.Errorf("ask Kafka where %s was at %s: no answer about it", of, a.opts.Since.Format(time.RFC3339))
	}
	if offset.Offset > log.start || held.From == held.To {
		return offset.Offset, nil
	}
	return min(log.start, held.From), nil // what is older has been trimmed
}

// checkOffsets goes through the offsets of a place.
func (a *Audit) checkOffsets(ctx context.Context, x extent, found *EventsAudit, ordinals *ordinalAudit) error {
	judge := &judge{Audit: a, of: x.of, actions: x.actions, ordinals: ordinals}
	defer judge.close()
	sum := tracker.AuditResult{What: x.what, Range: tracker.NumberRange("offset", x.from, x.to), Expected: x.to - x.from, Verdict: tracker.AuditOK}
	var err error
	if judge.leftOut, err = a.opts.Store.LeftOut(ctx, x.place, x.from, x.to); err != nil {
		return err
	}
	var repeats []tracker.AuditResult
	gap := func(from, to int64) error {
		if below := min(to, x.start); from < below {
			judge.trim(from, below)
			from = below
		}
		if from >= to {
			return nil
		}
		return judge.read(ctx, from, to)
	}
	next := x.from
	err = a.opts.Store.OffsetRuns(ctx, x.place, x.from, x.to, func(run tracker.OffsetRun) error {
		if err := gap(next, run.From); err != nil {
			return err
		}
		next, sum.Found = run.To, sum.Found+int64(run.Copies)*(run.To-run.From)
		if run.Copies > 1 && len(repeats) < auditRangesMax {
			found.addSurplus(tracker.SurplusRows{Place: x.place, From: run.From, To: run.To, Keep: true})
			repeats = append(repeats, tracker.AuditResult{
				What: x.what, Range: tracker.NumberRange("offset", run.From, run.To), Expected: run.To - run.From, Found: int64(run.Copies) * (run.To - run.From),
				Verdict: tracker.AuditRepeated, Detail: fmt.Sprintf("each stands in events %d times", run.Copies), Repair: repairCommand,
			})
		}
		return nil
	})
	between := judge.trimmed
	if err == nil {
		err = errors.Join(gap(next, x.to), judge.flush(ctx))
	}
	if err != nil {
		return fmt.Errorf("audit %s: %w", x.what, err)
	}
	sum.Expected -= judge.explained()
	sum.Detail = judge.summary(x.waiting)
	switch {
	case len(judge.lost) > 0:
		sum.Verdict = tracker.AuditMissing
	case len(repeats) > 0:
		sum.Verdict = tracker.AuditRepeated
	case judge.unread > 0, x.actions && judge.trimmed > 0, judge.trimmed > between:
		sum.Verdict = tracker.AuditUnproven
	case judge.trimmed > 0:
		// Hits before others of their nodes: their ordinals are checked.
		sum.Expected, sum.Detail = sum.Expected-judge.trimmed, sum.Detail+": repeats, by the ordinals"
	}
	found.Results = append(append(found.Results, sum), repeats...)
	for _, lost := range judge.lost {
		found.Missing = append(found.Missing, MissingRecords{x.of, lost.from, lost.to})
		found.Results = append(found.Results, tracker.AuditResult{
			What: x.what, Range: tracker.NumberRange("offset", lost.from, lost.to), Expected: lost.to - lost.from,
			Verdict: tracker.AuditMissing, Detail: "Kafka has them, events has not", Repair: repairCommand,
		})
	}
	return nil
}

const repairCommand = "waymark audit --repair"

// checkActions looks for actions that count more than once.
func (a *Audit) checkActions(ctx context.Context, found *EventsAudit) error {
	current := map[uint32]bool{}
	for _, of := range a.partitions {
		current[of.source()] = true
	}
	sum := tracker.AuditResult{What: "actions", Range: tracker.AuditRange{Unit: "key"}, Verdict: tracker.AuditOK, Detail: "no identity counts twice"}
	var results []tracker.AuditResult
	var group []tracker.ActionRow // of one event and key
	settle := func() {
		for _, row := range surplusActions(group, current) {
			if len(results) >= auditRangesMax {
				break
			}
			found.addSurplus(tracker.SurplusRows{Place: row.Place, From: row.Offset, To: row.Offset + 1})
			results = append(results, tracker.AuditResult{
				What: "actions", Range: tracker.NumberRange("offset", row.Offset, row.Offset+1), Found: 1, Verdict: tracker.AuditRepeated,
				Detail: fmt.Sprintf("%s %q counts twice; this is the repeat, in partition %d of topic %d", row.Event, row.Key, row.Partition, row.Source), Repair: repairCommand,
			})
		}
		group = group[:0]
	}
	err := a.opts.Store.RepeatedActions(ctx, a.opts.Since, func(row tracker.ActionRow) error {
		if len(group) > 0 && group[0].RecordKey() != row.RecordKey() {
			settle()
		}
		group = append(group, row)
		return nil
	})
	if err != nil {
		return err
	}
	settle()
	if len(results) > 0 {
		sum.Verdict, sum.Detail = tracker.AuditRepeated, fmt.Sprintf("%d repeats count", len(results))
		sum.Found = int64(len(results))
	}
	found.Results = append(append(found.Results, sum), results...)
	return nil
}

// surplusActions are the rows of one event and key that repeat others: the
// first counts, and what an earlier topic brought was first.
func surplusActions(rows []tracker.ActionRow, current map[uint32]bool) []tracker.ActionRow {
	var kept []tracker.ActionIdentity
	var surplus []tracker.ActionRow
	for _, now := range []bool{false, true} {
		for _, row := range rows {
			if current[row.Source] != now {
				continue
			}
			if matchesAny(row.ActionIdentity, kept) {
				surplus = append(surplus, row)
				continue
			}
			kept = append(kept, row.ActionIdentity)
		}
	}
	return surplus
}
