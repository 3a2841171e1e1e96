package main

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"strconv"

	"waymark/pipeline"
	"waymark/tracker"
	"waymark/tracker/wire"
)

// trafficOptions say what the events of a run look like.
type trafficOptions struct {
	Events    int     `help:"Events to make." default:"2000000"`
	PerSecond float64 `help:"Events a second of their own time: the denser they are, the fewer rows a roll-up makes of them." default:"1000"`
	Links     int     `help:"Links that are followed." default:"20000"`
	Actions   float64 `help:"Share of the events that are actions." default:"0.05"`
	Seed      uint64  `help:"The same seed makes the same events." default:"1"`
}

// traffic makes events as the shippers put them into Kafka, in the mix of
// `waymark loadtest`: links by Zipf's law, 30 % returning visitors, 15 % scans,
// 6 % robots, 4 % who opt out, 15 % with a query. What the GeoIP database would
// say is drawn here, by Zipf's law as well, since none comes with Waymark.
type traffic struct {
	trafficOptions
	random    *rand.Rand
	byLink    *rand.Zipf
	byPlace   *rand.Zipf
	enricher  *pipeline.Enricher
	links     []wire.Event // the fields of each link
	visitors  []trafficVisitor
	users     []trafficUser // of the latest signups
	signups   int
	made      int
	sequences uint32 // events so far in the millisecond
	lastMS    uint64
	ordinals  [trafficNodes]uint64
}

// trafficVisitor is a browser that comes back.
type trafficVisitor struct {
	id                       uint64
	agent, language, referer string
	address                  [4]byte
	place                    uint64
	optsOut                  bool
	click                    *wire.Event // the last one
}

// trafficUser has signed up and will buy.
type trafficUser struct {
	id    string
	click *wire.Event
}

const (
	trafficNodes    = 4
	trafficVisitors = 20_000
	trafficUsers    = 4_096
	trafficPlaces   = 3_000
	trafficStartMS  = 1_788_220_800_000 // 1 September 2026
)

func newTraffic(o trafficOptions) (*traffic, error) {
	enricher, err := pipeline.NewEnricher(nil, func(day int) []byte { return binary.LittleEndian.AppendUint64(nil, uint64(day)) })
	if err != nil {
		return nil, err
	}
	t := &traffic{trafficOptions: o, random: rand.New(rand.NewPCG(o.Seed, 1)), enricher: enricher, visitors: make([]trafficVisitor, trafficVisitors)}
	t.byLink = rand.NewZipf(t.random, 1.1, 1, uint64(o.Links-1))
	t.byPlace = rand.NewZipf(t.random, 1.1, 5, trafficPlaces-1)
	for i := range o.Links {
		t.links = append(t.links, t.link(i))
	}
	return t, nil
}

const codeAlphabet = "23456789ABCDEFGHJKMNPQRSTUVWXYZ"

func (t *traffic) link(i int) wire.Event {
	code := []byte("LOVE-")
	for range 6 {
		code = append(code, codeAlphabet[t.random.IntN(len(codeAlphabet))])
	}
	return wire.Event{
		Program: "wedding", Campaign: trafficCampaigns[i%len(trafficCampaigns)], Channel: trafficChannels[t.random.IntN(len(trafficChannels))],
		Link: uint32(i + 1), Code: string(code), ReferrerId: "s-" + strconv.Itoa(i/2), ReferrerType: "supplier", RefereeType: "couple",
	}
}

// next is the next event of the run, in the order of time.
func (t *traffic) next() *wire.Event {
	ms := trafficStartMS + uint64(float64(t.made)*1000/t.PerSecond)
	t.sequences++
	if ms != t.lastMS {
		t.lastMS, t.sequences = ms, 0
	}
	t.made++
	visitor := &t.visitors[t.random.IntN(len(t.visitors))]
	if t.random.Float64() >= t.Actions || visitor.click == nil {
		return t.hit(visitor, ms)
	}
	if len(t.users) == 0 || t.random.Float64() < 0.4 {
		return t.signup(visitor.click, ms)
	}
	return t.later(&t.users[t.random.IntN(len(t.users))], ms)
}

func (t *traffic) hit(v *trafficVisitor, ms uint64) *wire.Event {
	robot := t.random.Float64() < 0.06
	var stranger trafficVisitor
	switch {
	case robot:
		v = &stranger
		t.renew(v)
		v.agent, v.optsOut = pickFirst(t.random, trafficRobots), false
	case v.agent == "" || t.random.Float64() >= 0.3:
		t.renew(v)
	}
	e := copyLink(&t.links[t.byLink.Uint64()])
	e.Event, e.Stage, e.TimeMs, e.Sequence = tracker.EventClick, "clicked", ms, t.sequences
	if t.random.Float64() < 0.15 {
		e.Event = tracker.EventScan
	}
	node := t.random.IntN(trafficNodes)
	e.Node, e.Ordinal = uint32(node), t.ordinals[node]
	t.ordinals[node]++
	e.Address, e.UserAgent, e.AcceptLanguage, e.Referer = v.address[:], v.agent, v.language, v.referer
	if t.random.Float64() < 0.15 {
		e.Query = pickFirst(t.random, trafficQueries)
	}
	e.VisitorId = v.id
	for _, reason := range []struct {
		is  bool
		bit tracker.Reasons
	}{
		{v.optsOut, tracker.GPC}, {t.random.Float64() < 0.02, tracker.Prefetch}, {t.random.Float64() < 0.01, tracker.Head},
		{v.click != nil && v.click.Link == e.Link, tracker.Repeat},
	} {
		if reason.is {
			e.Reasons |= uint32(reason.bit)
		}
	}
	if v.optsOut {
		e.VisitorId = 0
	}
	t.enricher.Enrich(e)
	e.Country = trafficCountries[v.place%uint64(len(trafficCountries))]
	e.Region = fmt.Sprintf("%s-%02d", e.Country, v.place%16)
	e.City = "City " + strconv.FormatUint(v.place, 36)
	e.Network = uint32(1000 + v.place%700)
	v.click = e
	return e
}

// renew makes somebody new of a visitor.
func (t *traffic) renew(v *trafficVisitor) {
	*v = trafficVisitor{
		id: t.random.Uint64(), place: t.byPlace.Uint64(), optsOut: t.random.Float64() < 0.04,
		agent: pickFirst(t.random, trafficBrowsers), language: pickFirst(t.random, trafficLanguages), referer: pickFirst(t.random, trafficReferers),
	}
	binary.LittleEndian.PutUint32(v.address[:], t.random.Uint32())
	v.address[0] = []byte{2, 31, 46, 78, 84, 91, 109, 176, 188, 217}[v.address[0]%10]
}

func (t *traffic) signup(click *wire.Event, ms uint64) *wire.Event {
	user := trafficUser{id: fmt.Sprintf("u-%x-%x", t.Seed, t.made), click: click}
	if len(t.users) < trafficUsers {
		t.users = append(t.users, user)
	} else {
		t.users[t.signups%trafficUsers] = user
	}
	t.signups++
	e := t.action(click, ms)
	e.Event, e.Stage, e.UserId = "signup", "signed_up", user.id
	return e
}

// later is what a user does after the signup.
func (t *traffic) later(user *trafficUser, ms uint64) *wire.Event {
	e := t.action(user.click, ms)
	e.UserId = user.id
	what := trafficActions[t.random.IntN(len(trafficActions))]
	if e.Event, e.Stage = what.event, what.stage; what.paid {
		cents := 100 + t.random.IntN(50_000)
		e.OrderId, e.Value, e.Currency = fmt.Sprintf("o-%x-%x", t.Seed, t.made), fmt.Sprintf("%d.%02d", cents/100, cents%100), "EUR"
	}
	return e
}

// action is one that brings its click id.
func (t *traffic) action(click *wire.Event, ms uint64) *wire.Event {
	e := copyLink(click)
	e.TimeMs, e.Id = ms, fmt.Sprintf("a-%x-%x", t.Seed, t.made)
	e.ClickTimeMs, e.ClickNode, e.ClickSequence = click.TimeMs, click.Node, click.Sequence
	e.Touches = []*wire.Touch{{Link: click.Link, TimeMs: click.TimeMs, Channel: click.Channel}}
	return e
}

// copyLink is an event with the fields of a link or another event's link.
func copyLink(from *wire.Event) *wire.Event {
	return &wire.Event{
		Program: from.Program, Campaign: from.Campaign, Channel: from.Channel, Link: from.Link, Code: from.Code, Domain: from.Domain,
		ReferrerId: from.ReferrerId, ReferrerType: from.ReferrerType, RefereeType: from.RefereeType,
	}
}

// pickFirst draws from a list, its first third as often as the rest.
func pickFirst(random *rand.Rand, list []string) string {
	n := len(list)
	if random.IntN(2) == 0 {
		n = (n + 2) / 3
	}
	return list[random.IntN(n)]
}

var trafficActions = []struct {
	event, stage string
	paid         bool
}{
	{"purchase", "converted", true}, {"purchase", "converted", true}, {"purchase", "converted", true},
	{"activate", "activated", false}, {"retain", "retained", false}, {"refund", "", true}, {"review", "", false},
}

var (
	trafficCampaigns = []string{"spring", "", "summer", "autumn", "fair", "print", "newsletter", "partners"}
	trafficChannels  = []string{"link", "qr", "email", "social"}
	trafficCountries = []string{"DE", "US", "GB", "FR", "ES", "NL", "PL", "IT", "TR", "AT", "CH", "BE", "SE", "DK", "NO", "PT", "IE", "CZ", "RO", "BR", "IN", "JP", "CA", "AU"}

	trafficBrowsers = []string{
		"Mozilla/5.0 (iPhone; CPU iPhone OS 18_6 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.6 Mobile/15E148 Safari/604.1",
		"Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.0.0 Safari/537.36",
		"Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.0.0 Mobile Safari/537.36",
		"Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.6 Safari/605.1.15",
		"Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:143.0) Gecko/20100101 Firefox/143.0",
		"Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.0.0 Safari/537.36 Edg/141.0.0.0",
		"Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) SamsungBrowser/28.0 Chrome/130.0.0.0 Mobile Safari/537.36",
		"Mozilla/5.0 (iPad; CPU OS 18_6 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.6 Mobile/15E148 Safari/604.1",
		"Mozilla/5.0 (X11; Linux x86_64; rv:143.0) Gecko/20100101 Firefox/143.0",
	}
	trafficRobots = []string{
		"Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)", "facebookexternalhit/1.1 (+http://www.facebook.com/externalhit_uatext.php)",
		"WhatsApp/2.23.20.0", "Twitterbot/1.0", "curl/8.14.1", "",
	}
	trafficLanguages = []string{"de-DE,de;q=0.9,en;q=0.8", "en-US,en;q=0.9", "en-GB,en;q=0.9", "fr-FR,fr;q=0.9", "es-ES,es;q=0.9", "nl-NL,nl;q=0.9", "pl-PL", "it-IT", "tr-TR", "pt-BR", "ja"}
	trafficReferers  = []string{"", "", "https://www.instagram.com/", "https://l.facebook.com/", "https://www.google.com/", "https://t.co/", "https://www.youtube.com/", "https://mail.google.com/", "https://blog.example/offers"}
	trafficQueries   = []string{"utm_source=newsletter&utm_medium=email&utm_campaign=spring", "fbclid=IwY2xjawMExample0bGNrAxwAHgRpbnYDdGVzdA", "utm_source=instagram&utm_medium=social", "gclid=EAIaIQobChMIexample", "ref=partner&lang=de"}
)
