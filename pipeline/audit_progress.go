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
	// watchPatience is how long Watch waits for a moment without inserts.
	watchPatience = 5 * time.Second
	watchInterval = 50 * time.Millisecond
)

// Watch waits for a moment in which ingest inserts nothing, and returns a
// function that tells whether it has begun anything since. Ingest commits a
// plan before each insert and settles it after: so an insert is under way
// exactly while a plan stands, and none was where the same settled offsets
// stand before and after. Pausing ingest instead was rejected: whatever pauses
// it would still do so after an audit that was killed.
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
		abandoned := a.abandoned(ctx)
		switch p := before[planned]; {
		case abandoned:
			return nil, fmt.Errorf("ingest ended in the middle of inserting offsets %d to %d of %s: start it, and audit again when it has finished them", p.offset, p.To, planned)
		case time.Now().After(deadline):
			return nil, fmt.Errorf("ingest is inserting offsets %d to %d of %s, and was before: audit again when less arrives, or stop it for the audit", p.offset, p.To, planned)
		}
		if !sleep(ctx, watchInterval) {
			return nil, ctx.Err()
		}
	}
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
