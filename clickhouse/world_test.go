package clickhouse

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"waymark/tracker"
	"waymark/tracker/wire"
)

// world is a seeded history of raw events, from which the tests recount what
// the SQL should say. No two events share a millisecond, so that "first" has
// one meaning.
type world struct {
	random *rand.Rand
	start  time.Time
	span   time.Duration
	used   map[uint64]bool // milliseconds
	links  []*wire.Event   // the link fields of an event
	events []*wire.Event
}

var (
	worldPrograms = []string{"wedding", "general", `we\ird'	"ü`}
	worldReasons  = []uint32{0, 0, 0, 0, 0, 0, 1, 2, 4, 8, 16, 32, 32, 64, 128, 256, 512, 1024, 2048, 1 | 32, 4 | 1, 64 | 2048, 32 | 2048}
)

// newWorld makes n hits and what follows from them, over forty days that
// include the end of a month, of winter time and, in Nepal, no whole hour.
func newWorld(seed uint64, n int) *world {
	w := &world{
		random: rand.New(rand.NewPCG(seed, 99)), used: map[uint64]bool{},
		start: time.Date(2026, 2, 25, 0, 0, 0, 0, time.UTC), span: 40 * 24 * time.Hour,
	}
	types := []string{"supplier", "couple", ""}
	for i := range 30 {
		link := &wire.Event{
			Program: pick(w, worldPrograms), Campaign: pick(w, []string{"", "spring", "summer"}), Channel: pick(w, []string{"", "qr", "email", "link"}),
			Link: uint32(i + 1), Code: fmt.Sprint("Ü/", i), Domain: pick(w, []string{"", "", "go.example"}),
			ReferrerType: pick(w, types), RefereeType: pick(w, types),
		}
		if w.random.IntN(4) > 0 {
			link.ReferrerId = w.user() // users refer, so that the cohort has referees
		}
		if i%10 == 0 { // as imported hits are: the campaign and channel of no link
			link.Link, link.Code, link.Domain, link.ReferrerId = 0, "", "", ""
		}
		w.links = append(w.links, link)
	}
	for range n {
		hit := w.hit()
		if w.random.IntN(10) == 0 {
			w.follow(hit)
		}
		switch w.random.IntN(25) {
		case 0:
			w.invite()
		case 1:
			w.stray()
		}
	}
	return w
}

func pick[T any](w *world, list []T) T { return list[w.random.IntN(len(list))] }

func (w *world) user() string { return fmt.Sprintf("u%d", w.random.IntN(150)) }

// moment is a millisecond of the span that no event has yet, often the first
// of an hour, where periods and roll-ups begin and end.
func (w *world) moment() uint64 {
	for {
		ms := uint64(w.start.UnixMilli()) + uint64(w.random.Int64N(w.span.Milliseconds()))
		if w.random.IntN(6) == 0 {
			ms -= ms % 3_600_000
		}
		if !w.used[ms] {
			w.used[ms] = true
			return ms
		}
	}
}

// after is a free millisecond up to three days after one.
func (w *world) after(ms uint64) uint64 {
	for {
		later := ms + 1 + uint64(w.random.Int64N(3*24*3600*1000))
		if !w.used[later] {
			w.used[later] = true
			return later
		}
	}
}

// onLink is an event with the fields of a link.
func onLink(link *wire.Event) *wire.Event {
	return &wire.Event{
		Program: link.Program, Campaign: link.Campaign, Channel: link.Channel, Link: link.Link, Code: link.Code, Domain: link.Domain,
		ReferrerId: link.ReferrerId, ReferrerType: link.ReferrerType, RefereeType: link.RefereeType,
	}
}

func (w *world) hit() *wire.Event {
	e := onLink(pick(w, w.links))
	e.Event, e.Stage, e.TimeMs = pick(w, []string{"click", "scan"}), "clicked", w.moment()
	e.Node, e.Sequence, e.Reasons = uint32(w.random.IntN(3)), uint32(w.random.IntN(2)), pick(w, worldReasons)
	if e.Reasons&64 == 0 {
		e.VisitorId = 1<<60 + uint64(w.random.IntN(400))
	}
	e.Country, e.Region, e.City = pick(w, []string{"", "DE", "FR", "US"}), pick(w, []string{"DE-BE", "FR-IDF"}), pick(w, []string{"", "Köln"})
	e.Network, e.Device, e.Browser = uint32(w.random.IntN(3)), pick(w, []string{"mobile", "desktop"}), pick(w, []string{"Firefox", "Chrome"})
	e.Os, e.Language, e.ReferrerHost = pick(w, []string{"iOS", "Linux"}), pick(w, []string{"de", "en"}), pick(w, []string{"", "t.example"})
	e.UtmSource, e.AddressHash = pick(w, []string{"", "news"}), w.random.Uint64()
	w.events = append(w.events, e)
	return e
}

// act adds an action with a fresh id.
func (w *world) act(e *wire.Event, event, stage string, at uint64) *wire.Event {
	e.Event, e.Stage, e.TimeMs = event, stage, at
	e.Id = fmt.Sprint("id", len(w.events))
	w.events = append(w.events, e)
	return e
}

// byClick is an action that brings the click id of a hit.
func byClick(hit *wire.Event, user string) *wire.Event {
	e := onLink(hit)
	e.ClickTimeMs, e.ClickNode, e.ClickSequence, e.UserId = hit.TimeMs, hit.Node, hit.Sequence, user
	e.Touches = []*wire.Touch{{Link: hit.Link, TimeMs: hit.TimeMs, Channel: hit.Channel}}
	return e
}

// follow adds what the visitor of a hit does next, in many shapes.
func (w *world) follow(hit *wire.Event) {
	user := w.user()
	if w.random.IntN(6) == 0 {
		user = "" // a party known by its click alone
	}
	at := w.after(hit.TimeMs)
	signup := byClick(hit, user)
	if w.random.IntN(8) == 0 {
		signup.VisitorId = hit.VisitorId
	}
	if w.random.IntN(12) == 0 { // the click lies before the window, so it brings no link
		signup = &wire.Event{Program: hit.Program, UserId: user, Reasons: 4096, ClickTimeMs: hit.TimeMs, ClickNode: hit.Node, ClickSequence: hit.Sequence}
	}
	w.act(signup, "signup", "signed_up", at)
	next := func() *wire.Event {
		if user == "" || w.random.IntN(3) == 0 {
			return byClick(hit, user)
		}
		e := &wire.Event{UserId: user}
		if w.random.IntN(4) == 0 {
			e.Program = hit.Program
		}
		if w.random.IntN(5) == 0 {
			e.Channel = "phone"
		}
		return e
	}
	if w.random.IntN(2) == 0 {
		at = w.after(at)
		w.act(next(), "activate", "activated", at)
	}
	for range w.random.IntN(3) {
		when := w.after(at)
		if w.random.IntN(5) == 0 {
			when = w.moment() // also before its signup, or before its click
		}
		e := w.act(next(), "purchase", "converted", when)
		e.Value = fmt.Sprintf("%d.%06d", w.random.IntN(1000), w.random.IntN(1_000_000))
		e.OrderId, e.Plan = fmt.Sprint("o", len(w.events)), "scale"
		if w.random.IntN(4) == 0 {
			refund := w.act(next(), "refund", "", w.after(when))
			refund.Value, refund.OrderId = e.Value, e.OrderId
		}
	}
	if w.random.IntN(3) == 0 {
		w.act(next(), "retain", "retained", w.after(at))
	}
}

func (w *world) invite() {
	switch e := onLink(pick(w, w.links)); w.random.IntN(4) {
	case 0: // by a user, with no link
		w.act(&wire.Event{UserId: w.user()}, "invite", "invited", w.moment())
	case 1: // with a link, by a user
		e.UserId = w.user()
		w.act(e, "invite", "invited", w.moment())
	default:
		w.act(e, "invite", "invited", w.moment())
	}
}

// stray adds what fits no journey: actions of users that never signed up,
// signups without a click or in a second programme, the pixel, custom events.
func (w *world) stray() {
	switch w.random.IntN(8) {
	case 6: // anybody may claim any user by the pixel
		e := onLink(pick(w, w.links))
		e.UserId, e.Reasons = w.user(), 128
		w.act(e, "signup", "signed_up", w.moment())
	case 7:
		e := onLink(pick(w, w.links))
		e.UserId, e.Reasons = pick(w, []string{"", w.user(), "pixel only"}), 128
		w.act(e, "purchase", "converted", w.moment()).Value = "99999.5"
	case 0:
		w.act(&wire.Event{UserId: fmt.Sprint("nobody", w.random.IntN(9))}, "purchase", "converted", w.moment()).Value = "5"
	case 1:
		w.act(&wire.Event{UserId: w.user(), Program: pick(w, worldPrograms)}, "signup", "signed_up", w.moment())
	case 2:
		w.act(&wire.Event{VisitorId: 1<<60 + uint64(w.random.IntN(400)), Program: "general", Reasons: 128, Country: "AT", Network: 7, Device: "tablet", UtmSource: "page"}, "signup", "signed_up", w.moment())
	case 3:
		w.act(&wire.Event{UserId: w.user(), Channel: "fair"}, "signup", "signed_up", w.moment())
	case 4:
		w.act(onLink(pick(w, w.links)), "quote_requested", "", w.moment())
	case 5: // credited by name, without a link
		w.act(&wire.Event{UserId: w.user(), ReferrerId: w.user(), ReferrerType: "couple", RefereeType: "couple", Program: "wedding"}, "signup", "signed_up", w.moment())
	}
}

// blocks deals the events, shuffled, to n blocks of a partition.
func (w *world) blocks(n int) []*tracker.Block {
	rows := make([]tracker.Row, len(w.events))
	for i, from := range w.random.Perm(len(w.events)) {
		rows[i] = tracker.Row{Offset: int64(i), Event: w.events[from]}
	}
	size := (len(rows) + n - 1) / n
	var blocks []*tracker.Block
	for chunk := range slices.Chunk(rows, size) {
		from, to := chunk[0].Offset, chunk[len(chunk)-1].Offset+1
		blocks = append(blocks, &tracker.Block{
			Token: fmt.Sprintf("77-3-%d-%d", from, to), Source: 77, Partition: 3, From: from, To: to, Rows: chunk,
		})
	}
	return blocks
}
