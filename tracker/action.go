package tracker

import (
	"encoding/binary"
	"encoding/hex"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/shopspring/decimal"
)

// Bounds of an action, in bytes unless they say otherwise.
const (
	actionTextMax       = 255 // id, user_id, order_id, code, referrer.id
	actionNameMax       = 64  // event, program, plan, channel, referrer.type, the name of a property
	actionValueMax      = 48  // value as written
	actionDecimalsMax   = 6   // digits of value after the point
	propertiesMax       = 32  // count
	propertyBytesMax    = 1024
	actionAheadMax      = 5 * time.Minute // of time, for clocks that are not quite right
	actionValueIntegers = 12              // digits of value before the point
)

// actionTimeMin is the earliest time of an action. Anything before it is a
// unit mistaken, not a history.
var actionTimeMin = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)

// Action is what a customer reports: somebody signed up, paid, stayed. The
// zero value of a field means that it was not given.
type Action struct {
	ID         string // idempotency key
	Event      string
	Time       time.Time
	Program    string
	ClickID    string
	VisitorID  uint64
	UserID     string
	Code       string
	Referrer   Party
	OrderID    string
	Value      string // canonical decimal
	Currency   string
	Plan       string
	Channel    string
	Properties map[string]string
}

// Set gives a field the value that its text says; referrer.id and
// referrer.type are fields of their own here. An empty text means that the
// field is not given. The error is a *FieldError.
func (a *Action) Set(field, text string) error {
	var err error
	switch field {
	case "id":
		a.ID, err = text, checkText(field, text, actionTextMax)
	case "event":
		a.Event, err = text, checkEventName(text)
	case "time":
		a.Time, err = parseActionTime(text)
	case "program":
		a.Program, err = text, checkText(field, text, actionNameMax)
	case "click_id":
		a.ClickID, err = text, checkText(field, text, actionNameMax)
	case "visitor_id":
		a.VisitorID, err = ParseVisitorID(text)
	case "user_id":
		a.UserID, err = text, checkText(field, text, actionTextMax)
	case "code":
		a.Code, err = text, checkText(field, text, actionTextMax)
	case "referrer.id":
		a.Referrer.ID, err = text, checkText(field, text, actionTextMax)
	case "referrer.type":
		a.Referrer.Type, err = text, checkText(field, text, actionNameMax)
	case "order_id":
		a.OrderID, err = text, checkText(field, text, actionTextMax)
	case "value":
		a.Value, err = parseValue(text)
	case "currency":
		a.Currency, err = parseCurrency(text)
	case "plan":
		a.Plan, err = text, checkText(field, text, actionNameMax)
	case "channel":
		a.Channel, err = text, checkText(field, text, actionNameMax)
	default:
		return fieldErrorf(field, "unknown field; remove it, or put it into properties")
	}
	return err
}

// SetProperty gives the action a property. The error is a *FieldError.
func (a *Action) SetProperty(name, text string) error {
	if err := checkText("properties", name, actionNameMax); err != nil || name == "" {
		return fieldErrorf("properties", "the name of a property must have 1 to %d bytes and no control character", actionNameMax)
	}
	if err := checkText("properties."+name, text, propertyBytesMax); err != nil {
		return err
	}
	if len(a.Properties) == propertiesMax {
		return fieldErrorf("properties", "has more than %d entries", propertiesMax)
	}
	if a.Properties == nil {
		a.Properties = make(map[string]string)
	}
	a.Properties[name] = text
	return nil
}

// check holds the rules that concern more than one field. The error is a
// *FieldError.
func (a *Action) check(now time.Time) error {
	if a.Event == EventClick || a.Event == EventScan {
		return fieldErrorf("event", "%s comes from redirects only", a.Event)
	}
	return a.CheckFacts(now)
}

// CheckFacts holds the rules that concern more than one field and are those of
// every event, whoever reports it. The error is a *FieldError.
func (a *Action) CheckFacts(now time.Time) error {
	switch {
	case a.Event == "":
		return fieldErrorf("event", "is missing; name what happened, such as signup or purchase")
	case ReservedEvent(a.Event):
		return fieldErrorf("event", "%s is written by Waymark alone; choose another name", a.Event)
	case a.Time.After(now.Add(actionAheadMax)):
		return fieldErrorf("time", "%s is in the future; it is %s here", a.Time.Format(time.RFC3339), now.UTC().Format(time.RFC3339))
	case a.Event == EventRefund && strings.HasPrefix(a.Value, "-"):
		return fieldErrorf("value", "a refund is written as a positive amount")
	case a.Referrer.ID == "" && a.Referrer.Type != "":
		return fieldErrorf("referrer.id", "is missing while referrer.type is given")
	}
	return nil
}

// CheckProgram holds the rules that a programme has for its actions. The error
// is a *FieldError.
func (a *Action) CheckProgram(p *Program) error {
	if t := a.Referrer.Type; t != "" && len(p.PartyTypes) > 0 && !slices.Contains(p.PartyTypes, t) {
		return fieldErrorf("referrer.type", "the programme %q knows %s only", p.Name, strings.Join(p.PartyTypes, ", "))
	}
	if a.Currency != "" && a.Currency != p.Currency {
		return fieldErrorf("currency", "the programme %q counts in %s; convert the value", p.Name, p.Currency)
	}
	return nil
}

// CheckCurrency judges the currency of an action whose programme only the
// user's signup will tell: at least some programme must count in it. The error
// is a *FieldError.
func (a *Action) CheckCurrency(programs []Program) error {
	if a.Currency == "" || slices.ContainsFunc(programs, func(p Program) bool { return p.Currency == a.Currency }) {
		return nil
	}
	return fieldErrorf("currency", "no programme counts in %s; convert the value", a.Currency)
}

// CheckText refuses what could not be stored or shown: more than so many
// bytes, invalid UTF-8, control characters. The error is a *FieldError.
func CheckText(field, text string, bytesMax int) error {
	return checkText(field, text, bytesMax)
}

// checkText refuses what could not be stored or shown: too much of it,
// invalid UTF-8, control characters (the NUL separates the parts of record
// keys).
func checkText(field, text string, bytesMax int) error {
	if len(text) > bytesMax {
		return fieldErrorf(field, "has %d bytes, at most %d are allowed", len(text), bytesMax)
	}
	if !utf8.ValidString(text) {
		return fieldErrorf(field, "is not valid UTF-8")
	}
	if strings.ContainsFunc(text, unicode.IsControl) {
		return fieldErrorf(field, "contains a control character")
	}
	return nil
}

// checkEventName accepts [a-z][a-z0-9_]{0,63}, and "" for not given.
func checkEventName(name string) error {
	if name == "" {
		return nil
	}
	ok := len(name) <= actionNameMax && name[0] >= 'a' && name[0] <= 'z'
	for i := 0; ok && i < len(name); i++ {
		c := name[i]
		ok = c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '_'
	}
	if !ok {
		return fieldErrorf("event", "must start with a lower-case letter and hold at most %d lower-case letters, digits and underscores", actionNameMax)
	}
	return nil
}

// parseActionTime reads RFC 3339, or Unix time: ten digits are seconds and
// thirteen are milliseconds, which leaves no doubt between 2001 and 2286.
func parseActionTime(text string) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	t, err := time.Parse(time.RFC3339, text)
	if err != nil {
		n, numberErr := strconv.ParseInt(text, 10, 64)
		switch {
		case numberErr == nil && len(text) == 10 && n > 0:
			t = time.Unix(n, 0)
		case numberErr == nil && len(text) == 13 && n > 0:
			t = time.UnixMilli(n)
		default:
			return time.Time{}, fieldErrorf("time", "must be RFC 3339, such as 2026-11-20T10:00:00Z, or Unix seconds or milliseconds")
		}
	}
	if t.Before(actionTimeMin) {
		return time.Time{}, fieldErrorf("time", "%s lies before the year 2000", t.UTC().Format(time.RFC3339))
	}
	return t.UTC(), nil
}

// ParseVisitorID reads the 16 hexadecimal digits that a visitor's number has
// in the API, "" giving 0 for none. The error is a *FieldError.
func ParseVisitorID(text string) (uint64, error) {
	if text == "" {
		return 0, nil
	}
	var b [8]byte
	if len(text) == 16 {
		if _, err := hex.Decode(b[:], []byte(text)); err == nil {
			if id := binary.BigEndian.Uint64(b[:]); id != 0 {
				return id, nil
			}
		}
	}
	return 0, fieldErrorf("visitor_id", "must be 16 hexadecimal digits, not all of them zero")
}

// FormatVisitorID is the inverse of ParseVisitorID.
func FormatVisitorID(id uint64) string {
	if id == 0 {
		return ""
	}
	var b [8]byte
	binary.BigEndian.PutUint64(b[:], id)
	return hex.EncodeToString(b[:])
}

// parseValue reads a decimal in JSON's number syntax and returns it in its
// one canonical form, without exponent and trailing zeros, so that 19.9 and
// 19.90 are the same value everywhere.
func parseValue(text string) (string, error) {
	if text == "" {
		return "", nil
	}
	// The syntax is checked first because the decimal package also takes
	// exponents of nine digits, whose plain form would not fit into memory.
	if len(text) > actionValueMax || !isJSONNumber(text) {
		return "", fieldErrorf("value", "must be a decimal such as 19.90, with a point and without currency")
	}
	d, err := decimal.NewFromString(text)
	if err != nil {
		return "", fieldErrorf("value", "must be a decimal such as 19.90, with a point and without currency")
	}
	if !d.Truncate(actionDecimalsMax).Equal(d) {
		return "", fieldErrorf("value", "has more than %d digits after the point", actionDecimalsMax)
	}
	if d.Abs().Cmp(decimal.New(1, actionValueIntegers)) >= 0 {
		return "", fieldErrorf("value", "must be below 10^%d", actionValueIntegers)
	}
	return d.String(), nil
}

// isJSONNumber reports whether text is a number as RFC 8259 writes it, with
// at most two digits of exponent.
func isJSONNumber(text string) bool {
	rest := strings.TrimPrefix(text, "-")
	digits := func() int {
		n := 0
		for n < len(rest) && rest[n] >= '0' && rest[n] <= '9' {
			n++
		}
		rest = rest[n:]
		return n
	}
	leadingZero := strings.HasPrefix(rest, "0")
	if n := digits(); n == 0 || leadingZero && n > 1 {
		return false
	}
	if strings.HasPrefix(rest, ".") {
		rest = rest[1:]
		if digits() == 0 {
			return false
		}
	}
	if strings.HasPrefix(rest, "e") || strings.HasPrefix(rest, "E") {
		rest = rest[1:]
		if rest != "" && (rest[0] == '+' || rest[0] == '-') {
			rest = rest[1:]
		}
		if n := digits(); n == 0 || n > 2 {
			return false
		}
	}
	return rest == ""
}

// parseCurrency reads an ISO 4217 code in any case.
func parseCurrency(text string) (string, error) {
	if text == "" {
		return "", nil
	}
	code := strings.ToUpper(text)
	ok := len(text) == 3 && len(code) == 3 // of the text too: ſ is S in upper case
	for i := 0; ok && i < len(code); i++ {
		ok = code[i] >= 'A' && code[i] <= 'Z'
	}
	if !ok {
		return "", fieldErrorf("currency", "must be an ISO 4217 code of three letters, such as EUR")
	}
	return code, nil
}
