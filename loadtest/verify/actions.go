package verify

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"

	"waymark/loadtest/ledger"
)

// actionFacts are what a row says of an action, and the ledger too.
type actionFacts struct {
	user   string
	micros int64  // value × 10^6
	timeMS uint64 // 0 for a pixel: its time is that of the server
	click  ClickID
}

func (f *actionFacts) appendTo(dst []byte) []byte {
	dst = binary.AppendVarint(dst, f.micros)
	dst = binary.AppendUvarint(dst, f.timeMS)
	dst = appendIdentity(dst, f.click.TimeMS, f.click.Node, f.click.Sequence)
	return append(dst, f.user...)
}

// wayPixel is the way of actions that come from a visitor's browser.
const wayPixel = "pixel"

func (v *verification) addAction(e *ledger.Entry) error {
	f := actionFacts{user: string(e.UserID)}
	if string(e.Way) != wayPixel {
		f.timeMS = e.HappenedMS
	}
	var err error
	if f.micros, err = parseMicros(string(e.Value)); err != nil {
		return err
	}
	if len(e.ClickID) > 0 {
		if f.click, err = v.decode(e.ClickID); err != nil {
			return err
		}
	}
	side := sidePromised
	if e.Open {
		side = sideOpen
	}
	key := e.Key(nil)
	if err := v.actions.add(side, key, f.appendTo(nil)); err != nil {
		return err
	}
	if f.user == "" || string(e.Way) == wayPixel {
		return nil
	}
	return v.users.add(side, e.UserID, appendDeed(nil, deed{string(key), string(e.Event), f.micros, f.timeMS}))
}

var errDecimal = errors.New("is no decimal with at most six digits after the point")

// parseMicros reads a decimal as millionths; "" is 0.
func parseMicros(text string) (int64, error) {
	if text == "" {
		return 0, nil
	}
	whole, fraction, _ := strings.Cut(text, ".")
	if whole == "" || len(whole) > 12 || len(fraction) > 6 {
		return 0, fmt.Errorf("the value %.40q %w", text, errDecimal)
	}
	n := int64(0)
	for _, c := range whole + fraction + "000000"[len(fraction):] {
		if c < '0' || c > '9' {
			return 0, fmt.Errorf("the value %.40q %w", text, errDecimal)
		}
		n = n*10 + int64(c-'0')
	}
	return n, nil
}

// countActions counts what the ledger has, each action once.
func (v *verification) countActions(context.Context) error {
	part := tallies{}
	return v.actions.each(func(side uint8, key, facts []byte) error {
		part.add(side, key, facts)
		return nil
	}, func() error {
		for _, t := range part {
			if t.promised > 0 {
				v.report.Actions++
				v.report.Repeats += uint64(t.promised - 1)
			} else {
				v.report.OpenActions++
			}
		}
		clear(part)
		return nil
	})
}

// compareActions compares events, conversions and action_ids by event and key.
func (v *verification) compareActions(ctx context.Context) error {
	v.Progress("comparing actions")
	const facts = "user_id, toInt64(toDecimal128(value, 6) * 1000000), if(bitAnd(reasons, 128) != 0, 0, toUnixTimestamp64Milli(time))," +
		" toUnixTimestamp64Milli(click_time), click_node, click_sequence"
	for _, source := range []struct {
		side  uint8
		query string
	}{
		{sideEvents, "SELECT event, if(order_id != '', order_id, id), " + facts + " FROM waymark.events WHERE " + v.scope.actions()},
		{sideConversions, "SELECT event, if(order_id != '', order_id, id), " + facts + " FROM waymark.conversions WHERE " + v.named("id")},
		// What stands before the colon tells orders from ids, and is the installation's business.
		{sideActionIDs, "SELECT event, substring(key, position(key, ':') + 1) AS name, '', 0::Int64, 0::Int64, 0::Int64, 0::UInt16, 0::UInt16" +
			" FROM waymark.action_ids WHERE " + v.named("name")},
	} {
		if err := v.readActions(ctx, source.side, source.query); err != nil {
			return err
		}
	}
	lines := [sides]*Line{
		sideEvents: v.line("events", "actions"), sideConversions: v.line("conversions", "purchases"), sideActionIDs: v.line("action_ids", "actions"),
	}
	part := tallies{}
	return v.actions.each(func(side uint8, key, facts []byte) error {
		part.add(side, key, facts)
		return nil
	}, func() error {
		for key, t := range part {
			if t.promised == 0 && t.open && t.rows[sideEvents] > 0 {
				v.report.OpenActionsArrived++
				t.promised = 1 // since it is in one table, it must be in all
			}
			name := func() string { return strings.ReplaceAll(key, "\x00", " ") }
			for _, side := range []uint8{sideEvents, sideConversions, sideActionIDs} {
				if side == sideConversions && !strings.HasPrefix(key, "purchase\x00") && t.rows[side] == 0 {
					continue
				}
				if t.judge(lines[side], side, name) {
					lines[side].differ(foreign, uint64(t.rows[side]), name)
				}
			}
		}
		clear(part)
		return nil
	})
}

func (v *verification) readActions(ctx context.Context, side uint8, query string) error {
	var event, name string
	var timeMS, clickMS int64
	var f actionFacts
	var key, encoded []byte
	err := stream(ctx, v.conn, query, func() error {
		f.timeMS, f.click.TimeMS = uint64(timeMS), uint64(clickMS)
		key = append(append(append(key[:0], event...), 0), name...)
		encoded = encoded[:0]
		if side != sideActionIDs {
			encoded = f.appendTo(encoded)
		}
		return v.actions.add(side, key, encoded)
	}, &event, &name, &f.user, &f.micros, &timeMS, &clickMS, &f.click.Node, &f.click.Sequence)
	if err != nil {
		return fmt.Errorf("read the actions: %w", err)
	}
	return nil
}
