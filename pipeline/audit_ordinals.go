package pipeline

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"

	"waymark/tracker"
)

// ordinalAudit checks that the ordinals of each node are contiguous from 1 and
// that none counts twice. This needs no Kafka, so it proves also what was
// trimmed; and it spans partitions and topics, where offsets can't.
type ordinalAudit struct {
	held map[uint16][]tracker.OrdinalRun // in events
	lost map[uint16][]tracker.OrdinalRun // in Kafka and not in events, sorted; reported as offsets
}

func newOrdinalAudit() *ordinalAudit {
	return &ordinalAudit{held: map[uint16][]tracker.OrdinalRun{}, lost: map[uint16][]tracker.OrdinalRun{}}
}

// lose notes a hit that events lacks. It reports false for one that was noted
// before.
func (o *ordinalAudit) lose(hit tracker.NodeOrdinal) bool {
	runs := o.lost[hit.Node]
	i, _ := slices.BinarySearchFunc(runs, hit.Ordinal, func(r tracker.OrdinalRun, ordinal uint64) int { return cmp.Compare(r.To, ordinal) })
	// runs[i] is the first that ends at the ordinal or after it.
	switch {
	case i < len(runs) && runs[i].From <= hit.Ordinal && hit.Ordinal < runs[i].To,
		i+1 < len(runs) && runs[i+1].From == hit.Ordinal:
		return false
	case i < len(runs) && runs[i].To == hit.Ordinal:
		runs[i].To++
	default:
		o.lost[hit.Node] = slices.Insert(runs, i, tracker.OrdinalRun{From: hit.Ordinal, To: hit.Ordinal + 1})
	}
	return true
}

// read takes in the ordinals of a place.
func (o *ordinalAudit) read(ctx context.Context, store AuditStore, x extent) error {
	if x.actions || x.from >= x.to {
		return nil
	}
	return store.OrdinalRuns(ctx, x.place, x.from, x.to, func(node uint16, run tracker.OrdinalRun) error {
		// Chunks of one node mostly come one after the other.
		if runs := o.held[node]; len(runs) > 0 && runs[len(runs)-1].To == run.From {
			runs[len(runs)-1].To = run.To
			return nil
		}
		o.held[node] = append(o.held[node], run)
		return nil
	})
}

// check adds a result for each node, and one for each gap and repeat. Where
// fromFirst is set, nodes must begin at ordinal 1.
func (o *ordinalAudit) check(ctx context.Context, store AuditStore, fromFirst bool, found *EventsAudit) error {
	for _, node := range slices.Sorted(maps.Keys(o.held)) {
		runs := o.held[node]
		slices.SortFunc(runs, func(a, b tracker.OrdinalRun) int { return cmp.Compare(a.From, b.From) })
		next := runs[0].From
		if fromFirst {
			next = min(next, 1)
		}
		sum := tracker.AuditResult{What: fmt.Sprintf("node %d", node), Verdict: tracker.AuditOK}
		first, surplus := next, int64(0)
		var results []tracker.AuditResult
		for _, run := range runs {
			if run.From > next {
				missing, lines := o.gap(node, next, run.From)
				results = append(results, lines...)
				sum.Expected += missing
			}
			if run.From < next {
				lines, err := repeated(ctx, store, node, tracker.OrdinalRun{From: run.From, To: min(run.To, next)}, found)
				if err != nil {
					return err
				}
				for _, line := range lines {
					surplus += line.Found - line.Expected
				}
				results = append(results, lines...)
			}
			if run.To > next {
				sum.Found += int64(run.To - max(next, run.From))
				next = run.To
			}
		}
		sum.Expected, sum.Found = sum.Expected+sum.Found, sum.Found+surplus
		sum.Range = tracker.NumberRange("ordinal", first, next)
		if len(results) > 0 {
			sum.Verdict = results[0].Verdict
		}
		found.Results = append(append(found.Results, sum), results[:min(len(results), auditRangesMax)]...)
	}
	return nil
}

// gap reports ordinals that are in no row, but for those that are missing in
// events alone, which are reported by their offsets.
func (o *ordinalAudit) gap(node uint16, from, to uint64) (missing int64, results []tracker.AuditResult) {
	report := func(from, to uint64) {
		if from >= to {
			return
		}
		missing += int64(to - from)
		results = append(results, tracker.AuditResult{
			What: fmt.Sprintf("node %d", node), Range: tracker.NumberRange("ordinal", from, to), Expected: int64(to - from), Verdict: tracker.AuditMissing,
			Detail: "neither in events nor in Kafka",
			Repair: "none: if the node's log and metrics name a damaged segment or record, they are accounted for; if old months were dropped on purpose, use --since",
		})
	}
	for _, lost := range o.lost[node] {
		if lost.To <= from || lost.From >= to {
			continue
		}
		report(from, lost.From)
		from = max(from, lost.To)
	}
	report(from, to)
	return missing, results
}

// repeated reports ordinals that stand at more than one offset.
func repeated(ctx context.Context, store AuditStore, node uint16, run tracker.OrdinalRun, found *EventsAudit) ([]tracker.AuditResult, error) {
	rows, err := store.HitRows(ctx, node, run)
	if err != nil {
		return nil, err
	}
	surplus := int64(0)
	for i := 1; i < len(rows); i++ {
		if rows[i].NodeOrdinal != rows[i-1].NodeOrdinal {
			continue
		}
		surplus++
		found.addSurplus(tracker.SurplusRows{Place: rows[i].Place, From: rows[i].Offset, To: rows[i].Offset + 1})
	}
	if surplus == 0 {
		return nil, nil
	}
	return []tracker.AuditResult{{
		What: fmt.Sprintf("node %d", node), Range: tracker.NumberRange("ordinal", run.From, run.To), Expected: int64(run.To - run.From), Found: int64(run.To-run.From) + surplus,
		Verdict: tracker.AuditRepeated, Detail: "stand at several offsets; the first of each counts", Repair: repairCommand,
	}}, nil
}

// addSurplus joins rows to the last ones where they go on.
func (found *EventsAudit) addSurplus(rows tracker.SurplusRows) {
	if last := len(found.Surplus) - 1; last >= 0 {
		if before := &found.Surplus[last]; before.Place == rows.Place && before.Keep == rows.Keep && before.To == rows.From {
			before.To = rows.To
			return
		}
	}
	if len(found.Surplus) < auditRangesMax {
		found.Surplus = append(found.Surplus, rows)
	}
}
