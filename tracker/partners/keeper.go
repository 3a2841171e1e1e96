package partners

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"waymark/tracker"
	"waymark/tracker/decided"
	"waymark/tracker/wire"
)

var (
	// ErrExists says that a party is a partner already.
	ErrExists = errors.New("this party is a partner of the programme already")
	// ErrCodeTaken says that another partner of the programme has the code.
	ErrCodeTaken = errors.New("another partner of the programme has this code, or had it")
	// ErrLost says that somebody else changed a record first.
	ErrLost = errors.New("somebody else changed the partner at the same time; read it again")
)

// Store reads what became of changes. ClickHouse implements it.
type Store interface {
	// PartnerChanges returns the changes of a partner in the order of its chain,
	// none for one that there is not.
	PartnerChanges(ctx context.Context, program, id string) ([]Change, error)
	// PartnerOfCode returns who claimed a code, which is given folded; "" for
	// nobody.
	PartnerOfCode(ctx context.Context, program, code string) (id string, err error)
	// Partners returns records in the order of programme and id.
	Partners(ctx context.Context, query Query) ([]Partner, error)
}

// Query asks for a page of records. Empty fields ask for all.
type Query struct {
	Program string
	ID      string
	Status  string
	After   [2]string // programme and id of the last one of the page before
	Limit   int
}

// Keeper changes records. It is safe for concurrent use, beside others of its
// kind.
type Keeper struct {
	Store    Store
	Sink     tracker.ActionSink
	Patience time.Duration    // for a change to become visible, decided.Patience if it is 0
	Now      func() time.Time // time.Now if it is nil
}

// Create makes a record. It is ErrExists or ErrCodeTaken where that cannot be,
// and tracker.ErrUnavailable while the log or ClickHouse is away: asking again
// is safe, as a code that was claimed before an interruption is the partner's.
func (k *Keeper) Create(ctx context.Context, partner Partner, actor string) (Change, error) {
	changes, err := k.Store.PartnerChanges(ctx, partner.Program, partner.ID)
	if err != nil {
		return Change{}, err
	}
	if len(changes) > 0 {
		return Change{}, ErrExists
	}
	now := k.now()
	if partner.JoinedAt.IsZero() {
		partner.JoinedAt = now
	}
	partner.JoinedAt = partner.JoinedAt.UTC().Truncate(time.Millisecond)
	change := Change{Partner: partner, Time: partner.JoinedAt, Actor: actor, RecordedAt: now}
	if err := k.claim(ctx, &change); err != nil {
		return change, err
	}
	if err := k.write(ctx, &change); errors.Is(err, ErrLost) {
		return change, ErrExists
	} else if err != nil {
		return change, err
	}
	return change, nil
}

// Update changes a record. An error of change is returned as it is, and
// nothing is written then, nor where it changes nothing; the program's errors are
// tracker.ErrNotFound, ErrCodeTaken, ErrLost and tracker.ErrUnavailable.
func (k *Keeper) Update(ctx context.Context, program, id, actor string, change func(*Partner) error) (Change, error) {
	changes, err := k.Store.PartnerChanges(ctx, program, id)
	if err != nil {
		return Change{}, err
	}
	if len(changes) == 0 {
		return Change{}, fmt.Errorf("find the partner %s: %w", id, tracker.ErrNotFound)
	}
	last := changes[len(changes)-1]
	next := Change{Partner: last.Partner, N: last.N + 1, Time: k.now(), Actor: actor, RecordedAt: k.now()}
	if err := change(&next.Partner); err != nil {
		return last, err
	}
	if next.Partner.same(&last.Partner) {
		return last, nil
	}
	if next.Time.Before(last.Time) {
		next.Time = last.Time
	}
	if FoldCode(next.Partner.Code) != FoldCode(last.Partner.Code) {
		if err := k.claim(ctx, &next); err != nil {
			return next, err
		}
	}
	return next, k.write(ctx, &next)
}

// now is in the resolution of events, so that a change reads back as it was.
func (k *Keeper) now() time.Time {
	now := time.Now
	if k.Now != nil {
		now = k.Now
	}
	return now().UTC().Truncate(time.Millisecond)
}

// claim takes the code of a record.
func (k *Keeper) claim(ctx context.Context, c *Change) error {
	owner, err := k.Store.PartnerOfCode(ctx, c.Partner.Program, FoldCode(c.Partner.Code))
	if err != nil {
		return err
	}
	if owner == "" {
		err = k.append(ctx, c.claim(), func() (bool, error) {
			owner, err = k.Store.PartnerOfCode(ctx, c.Partner.Program, FoldCode(c.Partner.Code))
			return owner != "", err
		})
	}
	if err == nil && owner != c.Partner.ID {
		err = ErrCodeTaken
	}
	return err
}

// write writes a change, and looks who stands at its place.
func (k *Keeper) write(ctx context.Context, c *Change) error {
	var first *Change
	err := k.append(ctx, c.Event(), func() (bool, error) {
		changes, err := k.Store.PartnerChanges(ctx, c.Partner.Program, c.Partner.ID)
		if err == nil && len(changes) > c.N {
			first = &changes[c.N]
		}
		return first != nil, err
	})
	if err == nil && (first.Actor != c.Actor || !first.RecordedAt.Equal(c.RecordedAt) || !first.Partner.same(&c.Partner)) {
		err = ErrLost
	}
	return err
}

// append writes an event and waits until it, or what was there before it, can
// be seen.
func (k *Keeper) append(ctx context.Context, event *wire.Event, seen func() (bool, error)) error {
	payload, err := event.MarshalVT()
	if err != nil {
		return fmt.Errorf("encode a change of the partner %s: %w", event.UserId, err)
	}
	if err := k.Sink.Append(ctx, payload); err != nil {
		return err
	}
	err = decided.Await(ctx, cmp.Or(k.Patience, decided.Patience), []*wire.Event{event}, func(pending []*wire.Event) ([]*wire.Event, error) {
		if found, err := seen(); err != nil || found {
			return nil, err
		}
		return pending, nil
	})
	if err != nil {
		return fmt.Errorf("change the partner %s: %w", event.UserId, err)
	}
	return nil
}
