package verify

import (
	"context"
	"encoding/binary"
	"fmt"

	"waymark/loadtest/ledger"
)

// Sides of a comparison.
const (
	sidePromised uint8 = iota
	sideOpen
	sideEvents
	sideConversions
	sideActionIDs
	sideReferrals
	sides
)

// tally is what the sides say about one key.
type tally struct {
	promised uint32
	open     bool
	facts    string // of the ledger
	rows     [sides]uint32
	altered  [sides]bool
}

// tallies are those of one part of a spill.
type tallies map[string]*tally

// add takes in a record. The ledger's come first, since they were added first.
func (t tallies) add(side uint8, key, facts []byte) {
	entry := t[string(key)]
	if entry == nil {
		entry = new(tally)
		t[string(key)] = entry
	}
	switch side {
	case sidePromised, sideOpen:
		if side == sideOpen {
			entry.open = true
		} else {
			entry.promised++
		}
		entry.facts = string(facts)
	default:
		entry.rows[side]++
		// action_ids has no facts.
		entry.altered[side] = entry.altered[side] || len(facts) > 0 && string(facts) != entry.facts
	}
}

// judge compares one key with what one table says of it. It reports whether there
// are rows of an unknown key.
func (t *tally) judge(l *Line, side uint8, key func() string) (unknown bool) {
	rows := t.rows[side]
	l.Found += uint64(rows)
	if t.promised > 0 {
		l.Expected++
	}
	switch {
	case t.promised == 0 && !t.open:
		return rows > 0
	case rows == 0 && t.promised > 0:
		l.differ(lost, 1, key)
	case rows > 1:
		l.differ(doubled, uint64(rows-1), key)
	case rows == 1 && t.altered[side]:
		l.differ(altered, 1, key)
	}
	return false
}

// appendIdentity appends the key of a click.
func appendIdentity(dst []byte, timeMS uint64, node, sequence uint16) []byte {
	dst = binary.BigEndian.AppendUint64(dst, timeMS)
	dst = binary.BigEndian.AppendUint16(dst, node)
	return binary.BigEndian.AppendUint16(dst, sequence)
}

// identityText writes a key of a click as column `click` of events does.
func identityText(key string) string {
	b := []byte(key)
	return fmt.Sprintf("%d-%d-%d", binary.BigEndian.Uint64(b), binary.BigEndian.Uint16(b[8:]), binary.BigEndian.Uint16(b[10:]))
}

// appendClickFacts appends what a row must say besides.
func appendClickFacts(dst []byte, link uint32, scan, head bool) []byte {
	flags := byte(0)
	if scan {
		flags |= 1
	}
	if head {
		flags |= 2
	}
	return append(binary.BigEndian.AppendUint32(dst, link), flags)
}

// openClick is all that is known of a click whose answer never came.
type openClick struct {
	code       string
	scan, head bool
}

// openClicks are those that look alike.
type openClicks struct {
	count  uint64
	sentMS uint64 // the first
}

// clockSlackMS is how far the clocks of generator and edge may be apart.
const clockSlackMS = 60_000

func (v *verification) addClick(e *ledger.Entry) error {
	scan, head := string(e.Event) == "scan", string(e.Method) == "HEAD"
	if e.Open {
		v.report.OpenClicks++
		key := openClick{string(e.Code), scan, head}
		if v.open[key] == nil {
			v.open[key] = &openClicks{sentMS: e.TimeMS}
		}
		o := v.open[key]
		o.count, o.sentMS = o.count+1, min(o.sentMS, e.TimeMS)
		return nil
	}
	click, err := v.decode(e.ClickID)
	if err != nil {
		return err
	}
	v.report.Clicks++
	v.daily.promise(e.Code, click.TimeMS, head)
	var key [12]byte
	var facts [5]byte
	return v.clicks.add(sidePromised,
		appendIdentity(key[:0], click.TimeMS, click.Node, click.Sequence), appendClickFacts(facts[:0], click.Link, scan, head))
}

// compareClicks compares the hits in events by identity.
func (v *verification) compareClicks(ctx context.Context) error {
	v.Progress("comparing clicks")
	codes, err := v.codes(ctx)
	if err != nil {
		return err
	}
	var ms int64
	var node, sequence uint16
	var link uint32
	var scan, head uint8
	var key, facts []byte
	query := "SELECT toUnixTimestamp64Milli(time), node, sequence, link, event = 'scan', bitAnd(reasons, 4) != 0 FROM waymark.events WHERE " + v.scope.clicks()
	err = stream(ctx, v.conn, query, func() error {
		key = appendIdentity(key[:0], uint64(ms), node, sequence)
		facts = appendClickFacts(facts[:0], link, scan != 0, head != 0)
		return v.clicks.add(sideEvents, key, facts)
	}, &ms, &node, &sequence, &link, &scan, &head)
	if err != nil {
		return fmt.Errorf("read the clicks: %w", err)
	}
	line, part := v.line("events", "clicks"), tallies{}
	last := map[string][]byte{} // facts of the unknown rows of a part
	return v.clicks.each(func(side uint8, key, facts []byte) error {
		part.add(side, key, facts)
		if t := part[string(key)]; t.promised == 0 {
			last[string(key)] = append([]byte(nil), facts...)
		}
		return nil
	}, func() error {
		for key, t := range part {
			if t.judge(line, sideEvents, func() string { return identityText(key) }) {
				v.judgeUnknown(line, key, last[key], t.rows[sideEvents], codes)
			}
		}
		clear(part)
		clear(last)
		return nil
	})
}

// judgeUnknown finds out whether a row that the ledger does not know is that of a
// request that was cut off.
func (v *verification) judgeUnknown(line *Line, key string, facts []byte, rows uint32, codes map[uint32]string) {
	ms := binary.BigEndian.Uint64([]byte(key))
	link, flags := binary.BigEndian.Uint32(facts), facts[4]
	click := openClick{codes[link], flags&1 != 0, flags&2 != 0}
	o := v.open[click]
	if o == nil || o.count == 0 || ms+clockSlackMS < o.sentMS {
		line.differ(foreign, uint64(rows), func() string { return identityText(key) + " on " + click.code })
		return
	}
	o.count--
	v.report.OpenClicksArrived++
	v.daily.promise([]byte(click.code), ms, click.head)
	line.differ(doubled, uint64(rows-1), func() string { return identityText(key) })
}

// codes are the codes of the links that have hits.
func (v *verification) codes(ctx context.Context) (map[uint32]string, error) {
	codes := map[uint32]string{}
	var link uint32
	var code string
	err := stream(ctx, v.conn, "SELECT link, any(code) FROM waymark.events WHERE "+v.scope.clicks()+" GROUP BY link", func() error {
		codes[link] = code
		return nil
	}, &link, &code)
	if err != nil {
		return nil, fmt.Errorf("read the links: %w", err)
	}
	return codes, nil
}
