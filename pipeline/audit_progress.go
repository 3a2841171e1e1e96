package pipeline

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
)

// committedProgress reads how far ingest is with every partition. Progress
// that was made with a topic since deleted is left out.
func (a *Audit) committedProgress(ctx context.Context) (map[topicPartition]progress, error) {
	all := map[topicPartition]progress{}
	offsets, err := kadm.NewClient(a.client).FetchOffsets(ctx, IngestGroup)
	if errors.Is(err, kerr.GroupIDNotFound) {
		return all, nil // ingest has never committed
	}
	if err != nil {
		return nil, fmt.Errorf("read the committed offsets of group %s: %w", IngestGroup, err)
	}
	for _, of := range a.partitions {
		offset, ok := offsets.Lookup(of.topic, of.partition)
		if !ok || offset.At < 0 {
			continue
		}
		if offset.Err != nil {
			return nil, fmt.Errorf("read the committed offset of %s in group %s: %w", of, IngestGroup, offset.Err)
		}
		p, err := parseProgress(offset.At, offset.Metadata)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", of, err)
		}
		if p.Source == 0 || p.Source == of.source() {
			all[of] = p
		}
	}
	return all, nil
}

const (
	// settlePatience is how long one insert may take before an audit goes on
	// without its end, watchPatience how long inserts may follow each other.
	settlePatience   = time.Minute
	watchPatience    = 5 * time.Second
	progressInterval = 50 * time.Millisecond
)

// Ingest commits a plan before each insert and settles it after. So an insert
// is under way exactly while a plan stands, and that is how the audit knows.
// Pausing ingest was rejected: whatever pauses it would still do so after an
// audit that was killed.

// Settle waits until the inserts that are under way are over. Others may have
// begun by then.
func (a *Audit) Settle(ctx context.Context) error {
	before, err := a.committedProgress(ctx)
	if err != nil {
		return err
	}
	now := before
	for deadline := time.Now().Add(settlePatience); ; {
		standing := topicPartition{}
		for of, p := range before {
			if p.To != 0 && now[of] == p {
				standing = of
			}
		}
		if standing.topic == "" {
			return nil
		}
		if err := a.wait(ctx, standing, before[standing], deadline); err != nil {
			return err
		}
		if now, err = a.committedProgress(ctx); err != nil {
			return err
		}
	}
}

// Watch waits for a moment in which nothing is inserted, and returns a
// function that tells whether any insert has begun since: none has where the
// same settled offsets stand before and after.
func (a *Audit) Watch(ctx context.Context) (moved func(context.Context) (bool, error), err error) {
	for deadline := time.Now().Add(watchPatience); ; {
		before, err := a.committedProgress(ctx)
		if err != nil {
			return nil, err
		}
		planned, found := firstPlanned(before)
		if !found {
			return func(ctx context.Context) (bool, error) {
				now, err := a.committedProgress(ctx)
				return !maps.Equal(before, now), err
			}, nil
		}
		if err := a.wait(ctx, planned, before[planned], deadline); err != nil {
			return nil, err
		}
	}
}

// wait lets a plan stand for a moment. It returns an error where waiting makes
// no sense any more.
func (a *Audit) wait(ctx context.Context, of topicPartition, p progress, deadline time.Time) error {
	switch {
	case a.abandoned(ctx):
		return fmt.Errorf("ingest ended in the middle of inserting offsets %d to %d of %s: start it, and audit again when it has finished them", p.offset, p.To, of)
	case time.Now().After(deadline):
		return fmt.Errorf("ingest is inserting offsets %d to %d of %s: audit again when it is through, or when less arrives", p.offset, p.To, of)
	case !sleep(ctx, progressInterval):
		return ctx.Err()
	}
	return nil
}

func firstPlanned(all map[topicPartition]progress) (topicPartition, bool) {
	for of, p := range all {
		if p.To != 0 {
			return of, true
		}
	}
	return topicPartition{}, false
}

// abandoned reports whether no ingest runs. One that was killed is a member
// for some seconds yet.
func (a *Audit) abandoned(ctx context.Context) bool {
	groups, err := kadm.NewClient(a.client).DescribeGroups(ctx, IngestGroup)
	return err == nil && groups[IngestGroup].Err == nil && len(groups[IngestGroup].Members) == 0
}
