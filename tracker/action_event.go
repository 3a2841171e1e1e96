package tracker

import (
	"context"
	"slices"
	"time"

	"waymark/tracker/wire"
)

// actionSource is where an action came from and what the request says besides
// the action itself.
type actionSource struct {
	way      string
	key      *APIKey // nil for the pixel
	host     []byte
	now      time.Time
	reasons  Reasons
	visitor  uint64          // of the cookie
	touches  []Touch         // of the cookie, the last at the end
	patience context.Context // ends when links should be waited for no longer
}

// event turns an action into the event that is kept, with the fields of its
// link as they are now. The error is a *FieldError.
//
// The link is the code's if one is given: somebody named it on purpose. Else
// it is the click's, else that of the cookie's last touch. A click before the
// programme's attribution window still tells the programme, but its link gets
// no credit. A referrer or channel that is given replaces the link's.
func (a *Actions) event(act *Action, src *actionSource) (*wire.Event, error) {
	if err := act.check(src.now); err != nil {
		return nil, err
	}
	if act.VisitorID == 0 {
		act.VisitorID = src.visitor
	}
	if act.ClickID == "" && act.VisitorID == 0 && act.UserID == "" && act.Code == "" && act.Referrer.ID == "" {
		return nil, fieldErrorf("click_id", "is missing, and so are visitor_id, user_id, code and referrer: nothing says whose action this is")
	}
	e := &wire.Event{
		Event: act.Event, Stage: StageOf(act.Event), Reasons: uint32(src.reasons), VisitorId: act.VisitorID,
		Id: act.ID, UserId: act.UserID, OrderId: act.OrderID, Value: act.Value, Plan: act.Plan,
		Properties: act.Properties,
	}
	if act.Time.IsZero() {
		act.Time = src.now
	}
	e.TimeMs = uint64(act.Time.UnixMilli())

	link, field, err := a.actionLink(act, src, e)
	if err != nil {
		return nil, err
	}
	program, err := a.actionProgram(act, src.key, link, field)
	if err != nil {
		return nil, err
	}
	if Reasons(e.Reasons)&Late != 0 {
		link = nil
	}
	if program != nil && program.TrustPixel {
		e.Reasons &^= uint32(Unverified)
	}
	if err := a.describe(e, act, link, program); err != nil {
		return nil, err
	}
	if e.Id == "" && e.OrderId == "" {
		e.Id = defaultActionID(act, src)
	}
	return e, nil
}

// actionLink finds the action's link, nil if it has none, and the field that
// it was found by. It notes the click in e.
func (a *Actions) actionLink(act *Action, src *actionSource, e *wire.Event) (link *Prepared, field string, err error) {
	touches := src.touches
	var touched uint64 // time of the click that the link comes from
	if len(touches) > 0 {
		last := touches[len(touches)-1]
		link, field, touched = a.Links.ByNumber(last.Link), "program", last.TimeMS
	}
	if act.ClickID != "" {
		click, err := a.ClickIDs.parse([]byte(act.ClickID), a.Now())
		if err != nil {
			return nil, "", fieldErrorf("click_id", "is %v", err)
		}
		if link = a.link(src.patience, click.Link); link == nil {
			return nil, "", fieldErrorf("click_id", "belongs to link number %d, which does not exist", click.Link)
		}
		field, touched = "click_id", click.TimeMS
		e.ClickTimeMs, e.ClickNode, e.ClickSequence = click.TimeMS, uint32(click.Node), uint32(click.Sequence)
		touches = addTouch(touches, click)
	}
	e.Touches = a.wireTouches(touches, e.TimeMs)
	if act.Code != "" {
		if link = a.Links.Resolve(src.host, []byte(act.Code)); link == nil {
			return nil, "", fieldErrorf("code", "there is no link with the code %q", act.Code)
		}
		return link, "code", nil
	}
	if link != nil && outsideWindow(link.Program, touched, e.TimeMs) {
		e.Reasons |= uint32(Late)
	}
	return link, field, nil
}

// outsideWindow reports whether a click is too old to be credited with an
// action. Both times are Unix milliseconds.
func outsideWindow(program *Program, clickMS, actionMS uint64) bool {
	return clickMS+uint64(program.AttributionWindow().Milliseconds()) < actionMS
}

// addTouch puts a click among the touches of the cookie, unless one of them is
// this click or the repeats of it.
func addTouch(touches []Touch, click Click) []Touch {
	at := 0
	for i, t := range touches {
		if t.Link == click.Link && t.CountedMS <= click.TimeMS && click.TimeMS <= t.TimeMS {
			return touches
		}
		if t.TimeMS <= click.TimeMS {
			at = i + 1
		}
	}
	return slices.Insert(slices.Clone(touches), at, Touch{Link: click.Link, TimeMS: click.TimeMS, CountedMS: click.TimeMS})
}

// wireTouches are the touches within the window before an action, with the
// channels of their links.
func (a *Actions) wireTouches(touches []Touch, actionMS uint64) []*wire.Touch {
	encoded := make([]*wire.Touch, 0, len(touches))
	for _, t := range touches {
		touch := &wire.Touch{Link: uint32(t.Link), TimeMs: t.TimeMS}
		if link := a.Links.ByNumber(t.Link); link != nil {
			if outsideWindow(link.Program, t.TimeMS, actionMS) {
				continue
			}
			touch.Channel = link.Link.Channel
		}
		encoded = append(encoded, touch)
	}
	return encoded
}

// actionProgram is the programme that the action counts in: the given one,
// else its link's, else the key's. It is nil where only the user's signup
// tells, which is looked up when a report is read.
func (a *Actions) actionProgram(act *Action, key *APIKey, link *Prepared, linkField string) (*Program, error) {
	bound := ""
	if key != nil {
		bound = key.Program
	}
	field := "program"
	var program *Program
	switch {
	case act.Program != "":
		found, ok := a.Links.Program(act.Program)
		if !ok {
			return nil, fieldErrorf(field, "there is no programme %q", act.Program)
		}
		program = found
	case link != nil:
		program, field = link.Program, linkField
	case bound != "":
		found, ok := a.Links.Program(bound)
		if !ok {
			return nil, fieldErrorf(field, "the programme %q of this key does not exist", bound)
		}
		program = found
	}
	if bound != "" && program.Name != bound {
		return nil, fieldErrorf(field, "belongs to the programme %q, and this key is good for %q only", program.Name, bound)
	}
	return program, nil
}

// describe writes what the link and the programme say into e, and what the
// action says instead.
func (a *Actions) describe(e *wire.Event, act *Action, link *Prepared, program *Program) error {
	if link != nil {
		l := link.Link
		e.Campaign, e.Channel, e.Link, e.Code, e.Domain = l.Campaign, l.Channel, l.Number, l.Code, l.Domain
		e.ReferrerId, e.ReferrerType, e.RefereeType = l.ReferrerId, l.ReferrerType, l.RefereeType
	}
	if act.Channel != "" {
		e.Channel = act.Channel
	}
	if act.Referrer.ID != "" {
		e.ReferrerId, e.ReferrerType = act.Referrer.ID, act.Referrer.Type
	}
	e.Currency = act.Currency
	if program == nil {
		return act.CheckCurrency(a.Links.Programs())
	}
	e.Program, e.Stage = program.Name, program.StageOf(act.Event)
	if act.Value != "" {
		e.Currency = program.Currency
	}
	return act.CheckProgram(program)
}

// defaultActionID is the idempotency key of an action that brought none: a
// person signs up and activates once, a network's postback and a pixel report
// each event once a click, and nothing else can be known to be a repeat.
func defaultActionID(act *Action, src *actionSource) string {
	once := act.Event == EventSignup || act.Event == EventActivate
	fromClick := src.way == wayPostback || src.way == wayPixel
	switch {
	case once && act.UserID != "":
		return "user:" + act.UserID
	case fromClick && act.ClickID != "":
		return "click:" + act.ClickID
	case src.way == wayPixel && act.VisitorID != 0:
		return "visitor:" + FormatVisitorID(act.VisitorID)
	}
	return randomActionID()
}
