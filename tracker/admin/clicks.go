package admin

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"time"

	"waymark/tracker"
	"waymark/tracker/wire"
)

type clickPath struct {
	ClickID string `path:"click_id" doc:"A click id, as the destination got it."`
}

type clickOutput struct{ Body clickReport }

// clickReport says what a click id is and what it brought.
type clickReport struct {
	ClickID     string        `json:"click_id"`
	Genuine     bool          `json:"genuine" doc:"Whether the id was made by this installation."`
	Explanation string        `json:"explanation" doc:"What can be said of the click in a sentence."`
	Time        *time.Time    `json:"time,omitempty" doc:"When the click was made; absent if the id is not genuine."`
	Node        *int          `json:"node,omitempty" doc:"The edge node that took it."`
	Sequence    *int          `json:"sequence,omitempty" doc:"Its number within node and millisecond."`
	Link        *clickLink    `json:"link,omitempty" doc:"The link as it is now; absent while this node has not heard of it."`
	Arrived     bool          `json:"arrived" doc:"Whether the click has reached ClickHouse."`
	Hit         *clickHit     `json:"hit,omitempty" doc:"The click as it was recorded; absent until it has arrived."`
	Actions     []clickAction `json:"actions" doc:"What was reported for it, and for the users that it brought."`
}

type clickLink struct {
	Number   tracker.LinkNumber `json:"number"`
	Code     string             `json:"code"`
	Domain   string             `json:"domain"`
	URL      string             `json:"url"`
	Program  string             `json:"program"`
	Campaign string             `json:"campaign"`
	Channel  string             `json:"channel"`
	Referrer tracker.Party      `json:"referrer"`
	Deleted  bool               `json:"deleted"`
}

type clickHit struct {
	Event        string   `json:"event" doc:"click or scan"`
	Valid        bool     `json:"valid" doc:"Whether it counts as a visit."`
	Unique       bool     `json:"unique" doc:"Whether it is the visitor's first on the link within the programme's window."`
	Reasons      []string `json:"reasons" doc:"What is special about it."`
	VisitorID    string   `json:"visitor_id" doc:"16 hexadecimal digits, empty for none."`
	Country      string   `json:"country"`
	Region       string   `json:"region"`
	City         string   `json:"city"`
	Device       string   `json:"device"`
	Browser      string   `json:"browser"`
	OS           string   `json:"os"`
	Language     string   `json:"language"`
	ReferrerHost string   `json:"referrer_host"`
}

type clickAction struct {
	Event       string    `json:"event"`
	Stage       string    `json:"stage" doc:"Stage of the funnel that it reaches, empty for none."`
	Time        time.Time `json:"time"`
	Program     string    `json:"program"`
	ID          string    `json:"id"`
	OrderID     string    `json:"order_id"`
	UserID      string    `json:"user_id"`
	Value       string    `json:"value"`
	Currency    string    `json:"currency"`
	Reasons     []string  `json:"reasons"`
	Attributed  bool      `json:"attributed" doc:"Whether it is credited to this click."`
	Explanation string    `json:"explanation" doc:"Why, or why not."`
}

func (s *server) registerClicks() {
	route(s, operation("GET", "/v1/clicks/{click_id}", "get-click", "What a click id is and what it brought", reader, 404, 503), "path", s.getClick)
}

func (s *server) getClick(ctx context.Context, in *clickPath) (*clickOutput, error) {
	out := &clickOutput{Body: clickReport{ClickID: in.ClickID, Actions: []clickAction{}}}
	click, err := s.ClickIDs.Parse([]byte(in.ClickID))
	if err != nil {
		out.Body.Explanation = fmt.Sprintf("This is %v: it was mistyped, cut off or forged, or its key has left the key ring. Nothing is attributed to it.", err)
		return out, nil
	}
	link := s.Links.ByNumber(click.Link)
	if link != nil && !sees(caller(ctx), link.Link.Program) || link == nil && caller(ctx).Program != "" {
		return nil, newProblem(http.StatusNotFound, "this click belongs to a link of another programme than your key is good for")
	}
	history, err := s.ClickFinder.ClickHistory(ctx, click)
	if err != nil {
		return nil, err
	}
	out.Body.describe(click, link)
	if history.Hit != nil {
		out.Body.Arrived, out.Body.Hit = true, hitOf(history.Hit.Event)
	}
	for _, row := range history.Actions {
		out.Body.Actions = append(out.Body.Actions, actionOf(click, history.Hit, row.Event))
	}
	out.Body.Explanation = out.Body.explain()
	return out, nil
}

// describe fills in what the click id itself says.
func (r *clickReport) describe(click tracker.Click, link *tracker.Prepared) {
	at := timeOf(click.TimeMS)
	node, sequence := int(click.Node), int(click.Sequence)
	r.Genuine, r.Time, r.Node, r.Sequence = true, &at, &node, &sequence
	if link == nil {
		return
	}
	l := link.Link
	r.Link = &clickLink{
		Number: tracker.LinkNumber(l.Number), Code: l.Code, Domain: l.Domain, URL: l.Url, Program: l.Program, Campaign: l.Campaign,
		Channel: l.Channel, Referrer: tracker.Party{ID: l.ReferrerId, Type: l.ReferrerType}, Deleted: l.Deleted,
	}
}

// explain sums the report up.
func (r *clickReport) explain() string {
	attributed := 0
	for _, action := range r.Actions {
		if action.Attributed {
			attributed++
		}
	}
	var about string
	switch {
	case r.Link == nil:
		return "The id is genuine, but this node has not heard of its link yet."
	case !r.Arrived:
		about = "The click is genuine and has not arrived in ClickHouse yet, or is older than what is kept there"
	case !r.Hit.Valid:
		about = "The click is genuine and does not count as a visit (" + strings.Join(r.Hit.Reasons, ", ") + ")"
	default:
		about = "The click is genuine and counts as a visit"
	}
	return fmt.Sprintf("%s; %d of the %d actions reported for it are credited to it.", about, attributed, len(r.Actions))
}

func hitOf(e *wire.Event) *clickHit {
	reasons := tracker.Reasons(e.Reasons)
	return &clickHit{
		Event: e.Event, Valid: reasons.Valid(), Unique: reasons.Valid() && reasons&tracker.Repeat == 0, Reasons: reasons.Names(),
		VisitorID: tracker.FormatVisitorID(e.VisitorId), Country: e.Country, Region: e.Region, City: e.City,
		Device: e.Device, Browser: e.Browser, OS: e.Os, Language: e.Language, ReferrerHost: e.ReferrerHost,
	}
}

func actionOf(click tracker.Click, hit *tracker.Row, e *wire.Event) clickAction {
	attributed, why := attribution(click, hit, e)
	return clickAction{
		Event: e.Event, Stage: e.Stage, Time: timeOf(e.TimeMs), Program: e.Program, ID: e.Id, OrderID: e.OrderId, UserID: e.UserId,
		Value: e.Value, Currency: e.Currency, Reasons: tracker.Reasons(e.Reasons).Names(), Attributed: attributed, Explanation: why,
	}
}

// attribution says whether an action is credited to a click, and why. The
// rules are those of the views in ClickHouse, applied to one pair.
func attribution(click tracker.Click, hit *tracker.Row, e *wire.Event) (bool, string) {
	own := e.ClickTimeMs == click.TimeMS && e.ClickNode == uint32(click.Node) && e.ClickSequence == uint32(click.Sequence)
	switch {
	case own && tracker.Reasons(e.Reasons)&tracker.Late != 0:
		days := float64(int64(e.TimeMs)-int64(click.TimeMS)) / float64(24*time.Hour/time.Millisecond)
		return false, fmt.Sprintf("not credited: it happened %.1f days after the click, outside the attribution window of the programme %s", days, e.Program)
	case own && e.Link != uint32(click.Link):
		return false, fmt.Sprintf("not credited: it also named the code %q, which goes before the click", e.Code)
	case !own && e.ClickTimeMs != 0:
		return false, "not credited: it brought the id of another click"
	case !own && e.Link != 0 && e.Link != uint32(click.Link):
		return false, fmt.Sprintf("not credited: it belongs to the link %q", e.Code)
	}
	why := fmt.Sprintf("credited: the user %q signed up with this click", e.UserId)
	if own {
		why = "credited: it brought this click id"
	}
	if tracker.Reasons(e.Reasons)&tracker.Unverified != 0 {
		why += "; it was reported from the visitor's browser, so it is unverified and earns nothing"
	}
	if hit != nil && !tracker.Reasons(hit.Event.Reasons).Valid() {
		why += ", although the click itself does not count as a visit"
	}
	return true, why
}

func timeOf(ms uint64) time.Time { return time.UnixMilli(int64(ms)).UTC() }
