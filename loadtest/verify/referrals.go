package verify

import (
	"context"
	"encoding/binary"
	"fmt"
)

// deed is an action as its user's journey sees it.
type deed struct {
	key    string // of the action: the same one counts once
	event  string
	micros int64
	timeMS uint64
}

func appendDeed(dst []byte, d deed) []byte {
	dst = binary.AppendVarint(dst, d.micros)
	dst = binary.AppendUvarint(dst, d.timeMS)
	dst = binary.AppendUvarint(dst, uint64(len(d.event)))
	return append(append(dst, d.event...), d.key...)
}

func parseDeed(b []byte) deed {
	micros, n := binary.Varint(b)
	b = b[n:]
	timeMS, n := binary.Uvarint(b)
	b = b[n:]
	length, n := binary.Uvarint(b)
	return deed{key: string(b[n+int(length):]), event: string(b[n : n+int(length)]), micros: micros, timeMS: timeMS}
}

// journey is what referrals says of a user. A time of 0 means never.
type journey struct {
	signedUp, activated, converted, retained uint64
	orders                                   uint64
	value, refunds                           int64 // millionths
}

// add counts an action of the user.
func (j *journey) add(d deed) {
	first := func(at *uint64) {
		if *at == 0 || d.timeMS < *at {
			*at = d.timeMS
		}
	}
	switch d.event {
	case "signup":
		first(&j.signedUp)
	case "activate":
		first(&j.activated)
	case "retain":
		first(&j.retained)
	case "purchase":
		first(&j.converted)
		j.orders++
		j.value += d.micros
	case "refund":
		j.refunds += d.micros
	}
}

func (j *journey) appendTo(dst []byte) []byte {
	for _, n := range [...]uint64{j.signedUp, j.activated, j.converted, j.retained, j.orders, uint64(j.value), uint64(j.refunds)} {
		dst = binary.AppendUvarint(dst, n)
	}
	return dst
}

// userTally is what the two sides say of a user.
type userTally struct {
	deeds map[string]deed
	open  map[string]bool // keys of actions that may have happened
	rows  int
	found string
}

// compareReferrals compares the users' journeys.
func (v *verification) compareReferrals(ctx context.Context) error {
	v.Progress("comparing referrals")
	if err := v.readReferrals(ctx); err != nil {
		return err
	}
	line, part := v.line("referrals", "users"), map[string]*userTally{}
	return v.users.each(func(side uint8, key, facts []byte) error {
		t := part[string(key)]
		if t == nil {
			t = &userTally{deeds: map[string]deed{}, open: map[string]bool{}}
			part[string(key)] = t
		}
		switch side {
		case sidePromised:
			d := parseDeed(facts)
			t.deeds[d.key] = d
		case sideOpen:
			t.open[parseDeed(facts).key] = true
		default:
			t.rows++
			t.found = string(facts)
		}
		return nil
	}, func() error {
		for user, t := range part {
			t.judge(line, user)
		}
		clear(part)
		return nil
	})
}

// judge compares one user. Where an action may have happened or not, any row will
// do: what is wrong with the action itself shows in events.
func (t *userTally) judge(l *Line, user string) {
	var expected journey
	for _, d := range t.deeds {
		expected.add(d)
		delete(t.open, d.key)
	}
	name := func() string { return user }
	l.Found += uint64(t.rows)
	if len(t.deeds) > 0 {
		l.Expected++
	}
	switch {
	case len(t.deeds) == 0 && len(t.open) == 0:
		l.differ(foreign, 1, name)
	case t.rows == 0 && len(t.deeds) > 0:
		l.differ(lost, 1, name)
	case len(t.open) == 0 && t.found != string(expected.appendTo(nil)):
		l.differ(altered, 1, name)
	}
}

func (v *verification) readReferrals(ctx context.Context) error {
	var user string
	var times [4]int64
	var j journey
	query := "SELECT party"
	for _, column := range []string{"signed_up_at", "activated_at", "converted_at", "retained_at"} {
		query += ", ifNull(toUnixTimestamp64Milli(min(" + column + ")), 0)"
	}
	query += ", sum(orders), toInt64(sum(value) * 1000000), toInt64(sum(refunds) * 1000000) FROM waymark.referrals WHERE " + v.named("party") + " GROUP BY party"
	err := stream(ctx, v.conn, query, func() error {
		for i, at := range []*uint64{&j.signedUp, &j.activated, &j.converted, &j.retained} {
			*at = uint64(times[i])
		}
		return v.users.add(sideReferrals, []byte(user), j.appendTo(nil))
	}, &user, &times[0], &times[1], &times[2], &times[3], &j.orders, &j.value, &j.refunds)
	if err != nil {
		return fmt.Errorf("read referrals: %w", err)
	}
	return nil
}
