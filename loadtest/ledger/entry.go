package ledger

import (
	"bytes"
	"strconv"
)

// Kind is what a line is about.
type Kind uint8

// The two kinds of entries.
const (
	Click Kind = iota + 1
	Action
)

// Entry is a line of the ledger. Which fields a kind has says the package's
// documentation; the others are empty. The slices are borrowed: whoever fills or
// reads an entry says for how long.
type Entry struct {
	Kind   Kind
	Open   bool   // the answer never came
	TimeMS uint64 // of the answer, or of sending when it never came
	Status int    // of the answer, 0 when it never came

	Event   []byte
	ClickID []byte

	Method, Code []byte // of a click

	Way, ID, OrderID, UserID, Value []byte // of an action
	HappenedMS                      uint64 // the time sent with it, 0 for none
}

// Key is what makes an action unique within its run: the event, a zero byte, and
// the order or else the id. It is appended to dst.
func (e *Entry) Key(dst []byte) []byte {
	dst = append(append(dst, e.Event...), 0)
	if len(e.OrderID) > 0 {
		return append(dst, e.OrderID...)
	}
	return append(dst, e.ID...)
}

// Words that begin a line.
const (
	wordHeader     = "waymark-ledger"
	wordClick      = "click"
	wordAction     = "action"
	wordOpenClick  = "open-click"
	wordOpenAction = "open-action"
	wordEnd        = "end"
)

// Fields of a line, its word included.
const (
	clickFields  = 7
	actionFields = 11
)

// AppendTo appends the entry as a line.
func (e *Entry) AppendTo(dst []byte) []byte {
	start := len(dst)
	switch {
	case e.Kind == Click && e.Open:
		dst = append(dst, wordOpenClick...)
	case e.Kind == Click:
		dst = append(dst, wordClick...)
	case e.Open:
		dst = append(dst, wordOpenAction...)
	default:
		dst = append(dst, wordAction...)
	}
	dst = strconv.AppendUint(append(dst, '\t'), e.TimeMS, 10)
	dst = strconv.AppendInt(append(dst, '\t'), int64(e.Status), 10)
	fields := clickFields
	dst = appendFields(dst, e.Event, e.ClickID)
	if e.Kind == Click {
		dst = appendFields(dst, e.Method, e.Code)
	} else {
		fields = actionFields
		dst = appendFields(dst, e.Way, e.ID, e.OrderID, e.UserID, e.Value)
		dst = strconv.AppendUint(append(dst, '\t'), e.HappenedMS, 10)
	}
	if line := dst[start:]; bytes.Count(line, []byte{'\t'}) != fields-1 || bytes.IndexByte(line, '\n') >= 0 {
		panic("BUG: a field of a ledger entry holds a tab or a line feed: " + string(line))
	}
	return append(dst, '\n')
}

func appendFields(dst []byte, fields ...[]byte) []byte {
	for _, field := range fields {
		dst = append(append(dst, '\t'), field...)
	}
	return dst
}

// parse reads a line without its line feed. The entry borrows from the line.
func (e *Entry) parse(line []byte) bool {
	var fields [actionFields][]byte
	n := 0
	for more := true; more; n++ {
		if n == actionFields {
			return false
		}
		fields[n], line, more = bytes.Cut(line, []byte{'\t'})
	}
	*e = Entry{Event: fields[3], ClickID: fields[4]}
	want := clickFields
	switch string(fields[0]) {
	case wordOpenClick, wordClick:
		e.Kind, e.Method, e.Code = Click, fields[5], fields[6]
		e.Open = len(fields[0]) == len(wordOpenClick)
	case wordOpenAction, wordAction:
		e.Kind, want = Action, actionFields
		e.Open = len(fields[0]) == len(wordOpenAction)
		e.Way, e.ID, e.OrderID, e.UserID, e.Value = fields[5], fields[6], fields[7], fields[8], fields[9]
	default:
		return false
	}
	if n != want || len(e.Event) == 0 {
		return false
	}
	var status uint64
	if !number(fields[1], &e.TimeMS) || !number(fields[2], &status) || status > 999 || e.Open != (status == 0) {
		return false
	}
	e.Status = int(status)
	if e.Kind == Click {
		return e.Open || len(e.ClickID) > 0
	}
	return len(e.ID) > 0 && number(fields[10], &e.HappenedMS)
}

// number reads a decimal number as AppendUint writes it: an alias such as 007
// would make two texts of one line.
func number(text []byte, n *uint64) bool {
	if len(text) == 0 || len(text) > 19 || text[0] == '0' && len(text) > 1 {
		return false
	}
	*n = 0
	for _, c := range text {
		if c < '0' || c > '9' {
			return false
		}
		*n = *n*10 + uint64(c-'0')
	}
	return true
}
