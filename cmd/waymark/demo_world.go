package main

import (
	"fmt"
	"math/rand/v2"
)

// The demo's world: who invites whom, when, and what becomes of it. It is
// drawn from a seed before the first request is sent and knows nothing of
// Waymark, so that it can be compared with what Waymark counted.
//
// All times are Unix milliseconds.

const (
	hourMS = int64(3_600_000)
	dayMS  = 24 * hourMS
)

// partyTypes are the two sides of the programme wedding.
var partyTypes = [...]string{"supplier", "couple"}

// flow is how one party type refers another.
type flow struct {
	invitations float64 // mean number per member
	click       float64 // probability that an invitation is followed
	signup      float64 // probability that a visitor signs up
}

// flows by type of referrer and referee.
var flows = map[[2]string]flow{
	{"supplier", "couple"}:   {invitations: 4.0, click: 0.55, signup: 0.35},
	{"supplier", "supplier"}: {invitations: 1.2, click: 0.40, signup: 0.25},
	{"couple", "supplier"}:   {invitations: 1.5, click: 0.50, signup: 0.30},
	{"couple", "couple"}:     {invitations: 2.5, click: 0.60, signup: 0.40},
}

var channels = [...]string{"email", "link", "qr", "social"}

var plans = [...]string{"starter", "professional", "scale", "enterprise"}

// The browsers that visitors use; all are ordinary ones.
var browsers = [...]string{
	"Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.0.0 Safari/537.36",
	"Mozilla/5.0 (iPhone; CPU iPhone OS 18_6 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.6 Mobile/15E148 Safari/604.1",
	"Mozilla/5.0 (Linux; Android 15; Pixel 9) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.0.0 Mobile Safari/537.36",
	"Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.6 Safari/605.1.15",
	"Mozilla/5.0 (X11; Linux x86_64; rv:143.0) Gecko/20100101 Firefox/143.0",
	"Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.0.0 Safari/537.36 Edg/141.0.0.0",
}

const robot = "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)"

// worldLink is a link that a member spreads.
type worldLink struct {
	code, referrer, referrerType, refereeType, channel string
	campaign                                           string // "" for that of the world
	tags                                               []string
	invitations                                        []int64
}

// worldHit is one request for a link.
type worldHit struct {
	at       int64
	scan     bool
	prefetch bool
	content  string // utm_content
}

// worldAction is something a user does after the sign-up.
type worldAction struct {
	event      string
	at         int64
	plan       string
	cents      int64
	order      string // "" for one that is made up
	properties map[string]string
}

// journey is all that one visitor does, in order.
type journey struct {
	link      *worldLink
	userAgent string
	robot     bool
	hits      []worldHit
	address   string // "" for that of the demo
	user      string // "" for a visitor who does not sign up
	actions   []worldAction
	after     []*journey // of others in the same browser
}

type world struct {
	program, run string
	campaign     string
	start, end   int64
	links        []*worldLink
	journeys     []*journey
	reports      []demoAction // what comes of no click
	users        int
}

type member struct {
	id, kind string
	joined   int64
	email    string
}

// newWorld draws a world with so many members at most, of whom a tenth were
// there before it began.
func newWorld(seed uint64, run string, members int, start, end int64) *world {
	w := &world{program: "wedding", run: run, campaign: "demo-" + run, start: start, end: end}
	draw := rand.New(rand.NewPCG(seed, 0))
	queue := make([]member, 0, members)
	for i := range max(2, members/10) {
		queue = append(queue, member{
			id: fmt.Sprintf("%s-m%d", run, i), kind: partyTypes[i%2], joined: start + draw.Int64N((end-start)/3+1),
		})
	}
	for i := 0; i < len(queue); i++ {
		for _, referee := range partyTypes {
			for _, j := range w.spread(draw, run, queue[i], referee) {
				if len(queue) >= members {
					j.user, j.actions = "", nil
				}
				w.journeys = append(w.journeys, j)
				if j.user != "" {
					queue = append(queue, member{id: j.user, kind: referee, joined: j.actions[0].at})
				}
			}
		}
	}
	return w
}

// spread draws the invitations of a member to one party type and the journeys
// that come of them.
func (w *world) spread(draw *rand.Rand, run string, m member, referee string) []*journey {
	f := flows[[2]string{m.kind, referee}]
	var journeys []*journey
	var link *worldLink
	for range poisson(draw, f.invitations) {
		at := m.joined + hourMS + exponential(draw, 5*dayMS)
		if at >= w.end {
			continue
		}
		if link == nil {
			link = &worldLink{
				code: fmt.Sprintf("LOVE-%s-%d", run, len(w.links)), referrer: m.id, referrerType: m.kind, refereeType: referee,
				channel: channels[draw.IntN(len(channels))],
			}
			w.links = append(w.links, link)
		}
		link.invitations = append(link.invitations, at)
		if draw.Float64() < f.click {
			if j := w.journey(draw, run, link, at, f.signup); j != nil {
				journeys = append(journeys, j)
			}
		}
		if draw.Float64() < 0.1 {
			journeys = append(journeys, &journey{link: link, userAgent: robot, robot: true, hits: []worldHit{{at: at + 1}}})
		}
	}
	return journeys
}

// journey draws what an invited visitor does; nil when that lies beyond the
// end.
func (w *world) journey(draw *rand.Rand, run string, link *worldLink, invited int64, signup float64) *journey {
	at := invited + 1 + exponential(draw, 20*hourMS)
	if at >= w.end {
		return nil
	}
	j := &journey{link: link, userAgent: browsers[draw.IntN(len(browsers))]}
	scan := link.channel == "qr"
	if !scan && draw.Float64() < 0.05 {
		j.hits = append(j.hits, worldHit{at: at - 1, prefetch: true})
	}
	j.hits = append(j.hits, worldHit{at: at, scan: scan})
	for draw.Float64() < 0.25 {
		again := j.hits[len(j.hits)-1].at + 1 + exponential(draw, 30*hourMS)
		if again >= w.end {
			break
		}
		j.hits = append(j.hits, worldHit{at: again, scan: scan})
	}
	signedUp := j.hits[len(j.hits)-1].at + 1 + exponential(draw, 2*hourMS)
	if draw.Float64() < signup && signedUp < w.end {
		w.users++
		j.user = fmt.Sprintf("%s-u%d", run, w.users)
		j.actions = w.career(draw, signedUp)
	}
	return j
}

// career draws what a user does from the sign-up on, as far as it lies before
// the end.
func (w *world) career(draw *rand.Rand, at int64) []worldAction {
	actions := []worldAction{{event: "signup", at: at}}
	then := func(probability float64, mean int64, action worldAction) bool {
		if draw.Float64() >= probability {
			return false
		}
		action.at = actions[len(actions)-1].at + 1 + exponential(draw, mean)
		if action.at >= w.end {
			return false
		}
		actions = append(actions, action)
		return true
	}
	plan := plans[draw.IntN(len(plans))]
	purchase := worldAction{event: "purchase", plan: plan, cents: 1000 + draw.Int64N(90_000)}
	if then(0.8, 12*hourMS, worldAction{event: "activate"}) && then(0.5, 3*dayMS, purchase) {
		if !then(0.05, dayMS, worldAction{event: "refund", plan: plan, cents: purchase.cents}) {
			then(0.3, 3*dayMS, worldAction{event: "purchase", plan: plan, cents: 1000 + draw.Int64N(90_000)})
			then(0.6, 5*dayMS, worldAction{event: "retain"})
		}
	}
	return actions
}

// exponential draws a waiting time with the given mean, at most ten times it.
func exponential(draw *rand.Rand, mean int64) int64 {
	return int64(min(draw.ExpFloat64(), 10) * float64(mean))
}

// poisson draws a count with the given mean: the number of exponential waits
// that fit into it.
func poisson(draw *rand.Rand, mean float64) int {
	count := 0
	for sum := draw.ExpFloat64(); sum < mean; sum += draw.ExpFloat64() {
		count++
	}
	return count
}
