package pipeline

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"strings"
	"time"
	"unicode"

	"github.com/twmb/franz-go/pkg/kgo"

	"waymark/tracker"
)

const (
	// writeTimeout bounds a change; Kafka that is away must not keep an API
	// request for ever.
	writeTimeout = 15 * time.Second
	// codeTries is how often a generated code may be taken already. With a
	// billion codes for some million links even the second is unlikely.
	codeTries = 20
)

// unavailable says that a change may not have been made.
func unavailable(what string, err error) error {
	return fmt.Errorf("%s: %w: %w", what, tracker.ErrUnavailable, err)
}

// writeContext bounds a change in time, and ends it when Run does: nothing
// would see it come back.
func (c *Catalog) writeContext(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithTimeout(ctx, writeTimeout)
	stop := context.AfterFunc(c.running, cancel)
	return ctx, func() { stop(); cancel() }
}

// CreateLinks creates links, gives each its number and times, and generates
// the code of those that have none. Links must have been validated. It returns
// an error for each link, nil for those that exist now and that this node
// serves already; of the others number, times and generated code are unset
// again. The errors are tracker.ErrExists where the code is taken, by an
// earlier link of the same call too, and tracker.ErrUnavailable where Kafka
// did not answer in time; such a link may come into being still.
func (c *Catalog) CreateLinks(ctx context.Context, links []tracker.Link) []error {
	ctx, cancel := c.writeContext(ctx)
	defer cancel()
	creation := &linkCreation{catalog: c, links: links, errs: make([]error, len(links)), generated: make([]bool, len(links))}
	for i := range links {
		creation.open = append(creation.open, i)
		creation.generated[i] = links[i].Code == ""
	}
	writer, err := c.linkWriter(ctx)
	for err == nil && len(creation.open) > 0 {
		if err = writer.write(ctx, creation.decide); err == nil {
			creation.settle()
		}
	}
	if err != nil {
		for _, i := range creation.open {
			creation.fail(i, unavailable("create link", err))
		}
	}
	return creation.errs
}

// linkCreation is one call of CreateLinks.
type linkCreation struct {
	catalog   *Catalog
	links     []tracker.Link
	errs      []error
	generated []bool // the code is ours to choose
	open      []int  // indexes of links without an outcome
	changes   []*linkChange
	written   []int // indexes of changes
}

// decide numbers the links whose codes are free and fails the others.
func (lc *linkCreation) decide() []*linkChange {
	lc.changes, lc.written = nil, nil
	now := time.Now().UTC().Truncate(time.Millisecond)
	taken := make(map[string]bool, len(lc.open))
	var open []int
	for _, i := range lc.open {
		link := &lc.links[i]
		if err := lc.chooseCode(link, lc.generated[i], taken); err != nil {
			lc.fail(i, err)
			continue
		}
		number, err := lc.catalog.links.takeNumber()
		if err != nil {
			lc.fail(i, err)
			continue
		}
		taken[lc.catalog.uniqueKey(link)] = true
		link.Number, link.CreatedAt, link.UpdatedAt = number, now, now
		open = append(open, i)
		lc.changes = append(lc.changes, &linkChange{link: link, base: newLinkBase})
	}
	lc.open, lc.written = open, open
	return lc.changes
}

// chooseCode checks that the link's code is free, or generates one that is.
func (lc *linkCreation) chooseCode(link *tracker.Link, generate bool, taken map[string]bool) error {
	for range codeTries {
		if generate {
			prefix := ""
			if p, ok := lc.catalog.options.Links.Program(link.Program); ok {
				prefix = p.CodePrefix
			}
			link.Code = tracker.NewCode(prefix)
		}
		_, occupied := lc.catalog.options.Links.Occupant(link)
		if !occupied && !taken[lc.catalog.uniqueKey(link)] {
			return nil
		}
		if !generate {
			return fmt.Errorf("code %q: %w", link.Code, tracker.ErrExists)
		}
	}
	return unavailable("generate a code", fmt.Errorf("%d in a row were taken", codeTries))
}

// settle leaves those open that lost a race: for their code, which the next
// decision sees, or only for their number.
func (lc *linkCreation) settle() {
	lc.open = nil
	for at, change := range lc.changes {
		if !change.won {
			lc.open = append(lc.open, lc.written[at])
		}
	}
}

func (lc *linkCreation) fail(i int, err error) {
	lc.errs[i] = err
	link := &lc.links[i]
	link.Number, link.CreatedAt, link.UpdatedAt = 0, time.Time{}, time.Time{}
	if lc.generated[i] {
		link.Code = ""
	}
}

// uniqueKey is the same for two links that can't exist side by side.
func (c *Catalog) uniqueKey(link *tracker.Link) string {
	p, ok := c.options.Links.Program(link.Program)
	if !ok || !p.CaseInsensitive {
		return link.Key()
	}
	return link.Domain + "/" + strings.Map(smallestFold, link.Code)
}

// smallestFold is the same for all letters that strings.EqualFold takes for
// one.
func smallestFold(r rune) rune {
	smallest := r
	for next := unicode.SimpleFold(r); next != r; next = unicode.SimpleFold(next) {
		smallest = min(smallest, next)
	}
	return smallest
}

// takeNumber returns a link number above all that this process has seen or
// given out. One that is not used in the end is skipped.
func (c *linksCopy) takeNumber() (tracker.LinkNumber, error) {
	c.numbers.Lock()
	defer c.numbers.Unlock()
	last := max(c.lastNumber, c.links.MaxNumber())
	if last == math.MaxUint32 {
		return 0, fmt.Errorf("number a link: all %d numbers are used", uint32(math.MaxUint32))
	}
	c.lastNumber = last + 1
	return c.lastNumber, nil
}

// UpdateLink changes a link and returns it as this node serves it now. change
// gets the current version; it may be called again with a later one if another
// writer was faster, and its error ends the update. Code, domain, number and
// times are not its to change. The error is tracker.ErrNotFound without such a
// link and tracker.ErrUnavailable when Kafka did not answer in time.
func (c *Catalog) UpdateLink(ctx context.Context, domain, code string, change func(*tracker.Link) error) (tracker.Link, error) {
	return c.replaceLink(ctx, domain, code, false, change)
}

// DeleteLink deletes a link. Its record stays, marked, so that its number
// still resolves. Errors are as of UpdateLink.
func (c *Catalog) DeleteLink(ctx context.Context, domain, code string) error {
	_, err := c.replaceLink(ctx, domain, code, true, func(*tracker.Link) error { return nil })
	return err
}

func (c *Catalog) replaceLink(ctx context.Context, domain, code string, deleted bool, change func(*tracker.Link) error) (tracker.Link, error) {
	ctx, cancel := c.writeContext(ctx)
	defer cancel()
	writer, err := c.linkWriter(ctx)
	if err != nil {
		return tracker.Link{}, unavailable("change link", err)
	}
	for {
		var next tracker.Link
		var version *linkChange
		var refused error
		err := writer.write(ctx, func() []*linkChange {
			version, refused = nil, nil
			current, ok := c.options.Links.Get(domain, code)
			if !ok {
				refused = fmt.Errorf("link %q: %w", code, tracker.ErrNotFound)
				return nil
			}
			next = current
			if refused = change(&next); refused != nil {
				return nil
			}
			next.Domain, next.Code, next.Number, next.CreatedAt = current.Domain, current.Code, current.Number, current.CreatedAt
			next.UpdatedAt = time.Now().UTC().Truncate(time.Millisecond)
			if !next.UpdatedAt.After(current.UpdatedAt) {
				next.UpdatedAt = current.UpdatedAt.Add(time.Millisecond)
			}
			version = &linkChange{link: &next, base: uint64(current.UpdatedAt.UnixMilli()), deleted: deleted}
			return []*linkChange{version}
		})
		switch {
		case refused != nil:
			return tracker.Link{}, refused
		case err != nil:
			return tracker.Link{}, unavailable("change link", err)
		case version.won:
			return next, nil
		}
	}
}

// PutProgram creates or replaces a programme; this node knows it when it
// returns. The last of several writers wins. The error is
// tracker.ErrUnavailable when Kafka did not answer in time.
func (c *Catalog) PutProgram(ctx context.Context, p tracker.Program) error {
	return c.put(ctx, c.followPrograms, p.Name, p)
}

// PutKey creates or replaces an API key, as PutProgram does a programme. A key
// is revoked by putting it with RevokedAt set.
func (c *Catalog) PutKey(ctx context.Context, k tracker.APIKey) error {
	return c.put(ctx, c.followKeys, k.ID, k)
}

// put writes a record of a small topic and waits until it has come back.
func (c *Catalog) put(ctx context.Context, f *follower, key string, value any) error {
	ctx, cancel := c.writeContext(ctx)
	defer cancel()
	encoded, err := json.Marshal(value)
	if err != nil {
		panic("BUG: encode a record of " + f.topic + ": " + err.Error())
	}
	r := &kgo.Record{Topic: f.topic, Key: []byte(key), Value: encoded}
	if err := c.producer.ProduceSync(ctx, r).FirstErr(); err != nil {
		return unavailable("write to "+f.topic, err)
	}
	if err := f.await(ctx, r.Offset+1); err != nil {
		return unavailable("write to "+f.topic, err)
	}
	return nil
}
