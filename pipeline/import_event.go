package pipeline

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"time"

	"waymark/tracker"
	"waymark/tracker/wire"
)

// importLinks is what an import needs of *tracker.Links.
type importLinks interface {
	Resolve(host, code []byte) *tracker.Prepared
	Program(name string) (*tracker.Program, bool)
	Programs() []tracker.Program
}

// errClickUnknown says that an action names a click which no row so far was.
var errClickUnknown = errors.New("click is not known yet")

// importEvents turns rows into events. What a row says wins over what its link
// or click says, since it is history: the link may have changed since.
//
// The programme is the row's, else that of its click or link. An action of a
// user may leave it to the user's signup; all else is of the programme general.
// It must not depend on what the import happens to know, being part of the
// identity of an action: so a code that is no link needs a programme of its
// own, and the visitor's last touch does not tell one.
type importEvents struct {
	links    importLinks
	enricher *importEnricher
	memory   *importMemory
	source   string // "" or a name and a colon
	zone     *time.Location
	now      func() time.Time
}

// event is the event of a row. The error is a *FieldError, or errClickUnknown.
func (b *importEvents) event(row *importRow) (*wire.Event, error) {
	act, err := b.action(row)
	if err != nil {
		return nil, err
	}
	e := &wire.Event{
		Id: b.identify(row, act), Event: act.Event, Stage: tracker.StageOf(act.Event), TimeMs: uint64(act.Time.UnixMilli()),
		VisitorId: act.VisitorID, UserId: act.UserID, OrderId: act.OrderID, Value: act.Value, Currency: act.Currency, Plan: act.Plan, Properties: act.Properties,
	}
	if e.Stage == tracker.StageClicked {
		return e, b.hit(e, act, row)
	}
	return e, b.outcome(e, act, row)
}

// actionFields are the fields that tracker.Action reads and checks.
var actionFields = [...]importField{
	fieldEvent, fieldTime, fieldProgram, fieldUserID, fieldCode, fieldReferrerID, fieldReferrerType, fieldOrderID,
	fieldValue, fieldCurrency, fieldPlan, fieldChannel, fieldID,
}

// action reads the fields that rows share with POST /v1/events, by its rules.
func (b *importEvents) action(row *importRow) (*tracker.Action, error) {
	act := new(tracker.Action)
	for _, field := range actionFields {
		text := row.texts[field]
		if text == "" {
			continue
		}
		if field == fieldTime {
			text = inZone(text, b.zone)
		}
		if err := act.Set(importNames[field], text); err != nil {
			return nil, err
		}
	}
	if act.Time.IsZero() {
		return nil, &tracker.FieldError{Field: "time", Detail: "is missing; history has times of its own"}
	}
	if err := act.CheckFacts(b.now()); err != nil {
		return nil, err
	}
	for name, text := range row.properties {
		if err := act.SetProperty(name, text); err != nil {
			return nil, err
		}
	}
	act.VisitorID = b.visitor(row.texts[fieldVisitorID])
	if tracker.StageOf(act.Event) == tracker.StageClicked && act.ID == "" {
		// The click of a click is itself: in a file with one column of click
		// ids, those of actions name the rows of the clicks.
		return act, act.Set("id", row.texts[fieldClickID])
	}
	return act, nil
}

// visitor is the number of a visitor: 16 hexadecimal digits are one of
// Waymark's own, any other text is hashed with the name of the source, so that
// two systems that count visitors from 1 do not share them.
func (b *importEvents) visitor(text string) uint64 {
	if text == "" {
		return 0
	}
	if own, err := tracker.ParseVisitorID(text); err == nil {
		return own
	}
	sum := sha256.Sum256([]byte(b.source + "\x00" + text))
	return max(binary.BigEndian.Uint64(sum[:]), 1) // 0 means none
}

// identify gives a row its identity, once: its own id with the source's name
// before it, else that of its content.
func (b *importEvents) identify(row *importRow, act *tracker.Action) string {
	if row.identity != "" {
		return row.identity
	}
	if act.ID != "" {
		row.identity = b.source + act.ID
		return row.identity
	}
	digest := rowDigest(row, act.Time.UnixMilli(), act.Value)
	row.identity = b.source + rowID(digest, b.memory.occurrence(digest))
	return row.identity
}

// hit completes a click or scan.
func (b *importEvents) hit(e *wire.Event, act *tracker.Action, row *importRow) error {
	for _, field := range []importField{fieldOrderID, fieldPlan} {
		if row.texts[field] != "" {
			return &tracker.FieldError{Field: importNames[field], Detail: "belongs to actions, not to a " + e.Event + "; leave it out of such rows"}
		}
	}
	if e.Value != "" && e.Value != "0" {
		return &tracker.FieldError{Field: "value", Detail: "belongs to actions, not to a " + e.Event + "; leave it out of such rows, or write 0"}
	}
	e.Value, e.Currency = "", ""
	program, err := b.describe(e, act, row, nil)
	if err != nil {
		return err
	}
	if program == nil {
		program, _ = b.links.Program(tracker.DefaultProgram)
	}
	e.Program = program.Name
	if err := act.CheckProgram(program); err != nil {
		return err
	}
	if err := b.enricher.enrich(e, row); err != nil {
		return err
	}
	key, sequence := hashClickID(e.Id)
	e.Sequence = uint32(sequence)
	click := importedClick{about: aboutOf(e), timeMS: e.TimeMs, sequence: sequence, visitor: e.VisitorId}
	valid := tracker.Reasons(e.Reasons).Valid()
	if valid && click.visitor != 0 && row.texts[fieldReasons] == "" && b.memory.isRepeat(click, program.UniqueWindow()) {
		e.Reasons |= uint32(tracker.Repeat)
	}
	b.memory.remember(key, click, valid)
	return nil
}

// outcome completes an action.
func (b *importEvents) outcome(e *wire.Event, act *tracker.Action, row *importRow) error {
	click, touch, err := b.clickOf(act, row)
	if err != nil {
		return err
	}
	if click == nil && e.VisitorId == 0 && e.UserId == "" && act.Code == "" && act.Referrer.ID == "" {
		return &tracker.FieldError{Field: "visitor_id", Detail: "is missing, and so are click_id, user_id, code and referrer: nothing says whose action this is"}
	}
	program, err := b.describe(e, act, row, click)
	if err != nil {
		return err
	}
	if program == nil && (act.UserID == "" || act.Event == tracker.EventSignup) {
		program, _ = b.links.Program(tracker.DefaultProgram)
		if touch != nil && touch.about.Value().program != program.Name {
			return &tracker.FieldError{Field: "program", Detail: fmt.Sprintf("is missing, and the visitor's last click was in %q; say which it is", touch.about.Value().program)}
		}
	}
	if program == nil {
		if err := act.CheckCurrency(b.links.Programs()); err != nil {
			return err
		}
	} else {
		e.Program, e.Stage = program.Name, program.StageOf(act.Event)
		if e.Value != "" {
			e.Currency = program.Currency
		}
		if err := act.CheckProgram(program); err != nil {
			return err
		}
		b.credit(e, act, row, program, click, touch)
	}
	if err := b.enricher.enrich(e, row); err != nil {
		return err
	}
	if once := act.Event == tracker.EventSignup || act.Event == tracker.EventActivate; act.ID == "" && once && act.UserID != "" {
		e.Id = "user:" + act.UserID // as the edge has it, so that the two are one
	}
	return nil
}

// clickOf finds the click that an action names, and the last one of its
// visitor, both nil for none.
func (b *importEvents) clickOf(act *tracker.Action, row *importRow) (click, touch *importedClick, err error) {
	if id := row.texts[fieldClickID]; id != "" {
		key, _ := hashClickID(b.source + id)
		found, ok := b.memory.byID.get(key)
		if !ok {
			return nil, nil, errClickUnknown
		}
		return &found, nil, nil
	}
	if last, ok := b.memory.byVisitor.get(act.VisitorID); ok && act.VisitorID != 0 && last.timeMS <= uint64(act.Time.UnixMilli()) {
		return nil, &last, nil
	}
	return nil, nil, nil
}

// describe writes down what is known of the link, and returns the programme
// that the row, its click or its link tells, nil for none.
func (b *importEvents) describe(e *wire.Event, act *tracker.Action, row *importRow, click *importedClick) (*tracker.Program, error) {
	var program *tracker.Program
	name := act.Program
	domain := row.texts[fieldDomain]
	switch link := b.link(domain, act.Code); {
	case link != nil:
		l := link.Link
		e.Campaign, e.Channel, e.Link, e.Code, e.Domain = l.Campaign, l.Channel, l.Number, l.Code, l.Domain
		e.ReferrerId, e.ReferrerType, e.RefereeType = l.ReferrerId, l.ReferrerType, l.RefereeType
		if name == "" {
			name = link.Program.Name
		}
	case act.Code != "" && name == "":
		return nil, &tracker.FieldError{Field: "code", Detail: fmt.Sprintf("there is no link with the code %q; import the links first, or give the row a program", act.Code)}
	default:
		e.Code, e.Domain = act.Code, domain
	}
	if click != nil {
		about := click.about.Value()
		if name == "" {
			name = about.program
		}
	}
	if name != "" {
		found, ok := b.links.Program(name)
		if !ok {
			return nil, &tracker.FieldError{Field: "program", Detail: fmt.Sprintf("there is no programme %q; create it first", name)}
		}
		program = found
	}
	return program, b.override(e, row)
}

// override writes what the row itself says over what its link does.
func (b *importEvents) override(e *wire.Event, row *importRow) error {
	for _, part := range []struct {
		field importField
		bytes int
		at    *string
	}{
		{fieldCampaign, 255, &e.Campaign}, {fieldChannel, 64, &e.Channel}, {fieldDomain, 253, &e.Domain},
		{fieldReferrerID, 255, &e.ReferrerId}, {fieldReferrerType, 64, &e.ReferrerType}, {fieldRefereeType, 64, &e.RefereeType},
	} {
		text := row.texts[part.field]
		if text == "" {
			continue
		}
		if err := tracker.CheckText(importNames[part.field], text, part.bytes); err != nil {
			return err
		}
		if *part.at = text; part.field == fieldReferrerID {
			e.ReferrerType = "" // of the link's referrer
		}
	}
	return nil
}

func (b *importEvents) link(domain, code string) *tracker.Prepared {
	if code == "" {
		return nil
	}
	return b.links.Resolve([]byte(domain), []byte(code))
}

// credit ties an action to its click, as the edge does with click id and
// cookie: a click before the programme's attribution window stays named, but
// gives no credit. A code or referrer of the row's own has it instead.
func (b *importEvents) credit(e *wire.Event, act *tracker.Action, row *importRow, program *tracker.Program, click, touch *importedClick) {
	if click == nil && touch != nil && touch.about.Value().program == program.Name {
		click = touch
	}
	if click == nil {
		return
	}
	if e.VisitorId == 0 {
		e.VisitorId = click.visitor
	}
	e.ClickTimeMs, e.ClickSequence = click.timeMS, uint32(click.sequence)
	if act.Code != "" {
		return
	}
	if click.timeMS+uint64(program.AttributionWindow().Milliseconds()) < e.TimeMs {
		e.Reasons |= uint32(tracker.Late)
		return
	}
	about := click.about.Value()
	about.describe(e)
	b.override(e, row) // which was checked before
}

// inZone turns a time without a zone into one of RFC 3339; any other text it
// returns as it is. A date alone is its midnight.
func inZone(text string, zone *time.Location) string {
	if len(text) < len("2006-01-02") || text[4] != '-' {
		return text // fast path: Unix time
	}
	written := text
	if len(text) > 10 && text[10] == ' ' {
		written = text[:10] + "T" + strings.ReplaceAll(text[11:], " ", "")
	}
	switch last := written[len(written)-1]; {
	case last == 'Z', len(written) > 19 && strings.ContainsAny(written[19:], "+-Z"):
		return written
	case len(written) == 10:
		written += "T00:00:00"
	case len(written) == 16:
		written += ":00"
	}
	t, err := time.ParseInLocation("2006-01-02T15:04:05", written, zone)
	if err != nil {
		return text
	}
	return t.Format(time.RFC3339Nano)
}
