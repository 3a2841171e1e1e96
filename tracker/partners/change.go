package partners

import (
	"crypto/sha256"
	"encoding/base32"
	"strconv"
	"strings"
	"time"

	"waymark/tracker"
	"waymark/tracker/wire"
)

// Change is a place in the chain of a record.
type Change struct {
	Partner    Partner
	N          int       // place in the chain, from 0
	Time       time.Time // from which on it holds
	Actor      string    // id of the key
	RecordedAt time.Time // when it was written, to the millisecond
}

// What a change is of.
const (
	kindRecord = "record"
	kindCode   = "code"
)

// Event is the event that carries the change.
func (c *Change) Event() *wire.Event {
	return c.event(kindRecord, chain(c.Partner.Program, kindRecord, c.Partner.ID)+"/"+strconv.Itoa(c.N))
}

// claim is the event by which the partner takes its code. It is the same
// whoever writes it how often for this partner: there is nothing to compare.
func (c *Change) claim() *wire.Event {
	e := c.event(kindCode, chain(c.Partner.Program, kindCode, FoldCode(c.Partner.Code))+"/0")
	e.Properties["code"] = FoldCode(c.Partner.Code)
	return e
}

func (c *Change) event(kind, id string) *wire.Event {
	p := &c.Partner
	properties := map[string]string{
		"n": strconv.Itoa(c.N), "kind": kind, "code": p.Code, "status": string(p.Status), "actor": c.Actor,
		"joined_at": p.JoinedAt.UTC().Format(time.RFC3339Nano), "recorded_at": c.RecordedAt.UTC().Format(time.RFC3339Nano),
	}
	for name, text := range map[string]string{"type": p.Type, "name": p.Name, "email": p.Email, "commission_rate": p.rateText()} {
		if text != "" {
			properties[name] = text
		}
	}
	return &wire.Event{
		Event: tracker.EventPartnerChange, Program: p.Program, UserId: p.ID, Id: id, TimeMs: uint64(c.Time.UnixMilli()), Properties: properties,
	}
}

// FoldCode is a code as codes are compared: nobody tells two that differ in
// case apart on the phone.
func FoldCode(code string) string { return strings.ToLower(code) }

// chain is the id of what is changed, in 26 characters. Lengths are hashed with
// the parts, so that no two lists of parts run together.
func chain(program, kind, name string) string {
	h := sha256.New()
	for _, part := range []string{program, kind, name} {
		h.Write(strconv.AppendInt(nil, int64(len(part)), 10))
		h.Write([]byte{':'})
		h.Write([]byte(part))
	}
	return base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(h.Sum(nil)[:16])
}
