package main

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
)

// The ledger is what the end-to-end test knows of its own requests: it writes
// down, when a request is answered, what must come of it.

// e2eHit is a hit on a known link.
type e2eHit struct {
	link    *e2eLink
	event   string
	at      int64 // ms; of hits that were not simulated, a little early
	now     bool  // it was not simulated
	reasons []string
	visitor int // number within the test, 0 for none
	visit   e2eVisit
	clickID string
}

// e2eVisit is how and from where somebody came.
type e2eVisit struct {
	agent        e2eAgent
	place        e2ePlace
	language     string
	referrerHost string
	utm          [5]string // source, medium, campaign, term, content
}

var utmNames = [5]string{"source", "medium", "campaign", "term", "content"}

func (h *e2eHit) has(reason string) bool { return slices.Contains(h.reasons, reason) }

// counts reports whether the hit is one of `hits`.
func (h *e2eHit) counts(hits string) bool {
	if hits == "gross" {
		return !h.has("head")
	}
	for _, reason := range []string{"bot", "prefetch", "head", "preview", "datacenter", "inactive", "early", "expired"} {
		if h.has(reason) {
			return false
		}
	}
	return hits == "valid" || !h.has("repeat")
}

// e2eAction is an action that was accepted and is no repeat.
type e2eAction struct {
	event, id, order, user       string
	at                           int64
	now                          bool   // at is when it was sent: it named no time
	program                      string // "" where it named only a user
	link                         *e2eLink
	campaign, channel            string
	referrer, referrerType, want string
	click                        *e2eHit
	visitor                      int
	micros                       int64 // value in millionths
	touches                      []e2eTouch
	reasons                      []string
	visit                        e2eVisit // of the pixel
}

func (a *e2eAction) stage() string {
	return map[string]string{"invite": "invited", "signup": "signed_up", "activate": "activated", "purchase": "converted", "retain": "retained"}[a.event]
}

// unverified reports whether the action's only witness is the visitor.
func (a *e2eAction) unverified() bool { return slices.Contains(a.reasons, "unverified") }

// party is who is counted. Clicks are told apart by their place in memory.
func (a *e2eAction) party() string {
	switch {
	case a.user != "":
		return a.user
	case a.visitor != 0:
		return fmt.Sprintf("visitor %d", a.visitor)
	case a.click != nil:
		return fmt.Sprintf("click %p", a.click)
	}
	return fmt.Sprintf("action %p", a)
}

// e2eTouch is what a visitor's cookie remembers of a link.
type e2eTouch struct {
	link          *e2eLink
	last, counted int64
	hit           *e2eHit // of a touch that is known by a click id alone
}

// String is the touch as the table has it.
func (t e2eTouch) String() string {
	at := t.last
	if t.hit != nil {
		at = t.hit.at
	}
	if at > simOver.UnixMilli() {
		return "now " + t.link.channel
	}
	return fmt.Sprint(at, " ", t.link.channel)
}

// jar is a browser.
type jar struct {
	cookie  string // as the server set it
	visitor int
	expires int64 // ms
	touches []e2eTouch
	at      int64 // simulated time; 0 for a browser of today
	visit   e2eVisit
}

// known reports whether the server recognises the browser at a time.
func (j *jar) known(at int64) bool { return j.visitor != 0 && at < j.expires }

// click notes a click, and reports whether it is a repeat: within the window
// of the last one on the link that was counted.
func (j *jar) click(l *e2eLink, at int64) (repeat bool) {
	touch := e2eTouch{link: l, last: at, counted: at}
	for i := len(j.touches) - 1; i >= 0; i-- {
		since := at - j.touches[i].counted
		if since < 0 {
			since = -since
		}
		if j.touches[i].link == l && since < int64(l.program.uniqueHours)*3600_000 {
			touch.counted, repeat = j.touches[i].counted, true
			j.touches = slices.Delete(j.touches, i, i+1)
			break
		}
	}
	j.touches = append(j.touches, touch)
	if len(j.touches) > 32 {
		j.touches = j.touches[1:]
	}
	return repeat
}

// state is why a link leads nowhere at a time, or "".
func (l *e2eLink) state(at int64) string {
	switch {
	case l.inactive:
		return "inactive"
	case at < l.starts:
		return "early"
	case l.expires != 0 && at >= l.expires:
		return "expired"
	}
	return ""
}

// location is where a visit with a query leads, up to the click id and after
// it.
func (l *e2eLink) location(query string) (before, after string) {
	target, fragment, _ := strings.Cut(l.url, "#")
	if fragment != "" {
		after = "#" + fragment
	}
	base, own, _ := strings.Cut(target, "?")
	var params []string
	if own != "" {
		params = strings.Split(own, "&")
	}
	for _, name := range utmNames {
		if value := l.utm[name]; value != "" {
			params = append(params, "utm_"+name+"="+strings.ReplaceAll(url.QueryEscape(value), "+", "%20"))
		}
	}
	if query != "" && !l.dropQuery {
		var visit []string
		for _, param := range strings.Split(query, "&") {
			name, _, _ := strings.Cut(param, "=")
			if param != "" && param != "qr=1" && (l.clickParam == "" || name != l.clickParam) {
				visit = append(visit, param)
				params = slices.DeleteFunc(params, func(other string) bool { return strings.HasPrefix(other+"=", name+"=") })
			}
		}
		params = append(params, visit...)
	}
	if l.clickParam != "" {
		params = append(params, l.clickParam+"=")
	}
	if len(params) > 0 {
		base += "?" + strings.Join(params, "&")
	}
	return base, after
}

// books are what one worker has done.
type books struct {
	hits    []*e2eHit
	actions []*e2eAction
	kept    map[string][]string // event and identity → programmes
	sent    int                 // requests
}

// keep notes an accepted action unless it is a repeat of one that is kept. An
// action without a programme is a repeat of one in any.
func (l *books) keep(a *e2eAction) {
	key := a.event + " id " + a.id
	if a.order != "" {
		key = a.event + " order " + a.order
	}
	if a.unverified() {
		key = "unverified " + key // and cannot pass for what the customer reports
	}
	for _, program := range l.kept[key] {
		if program == a.program || program == "" || a.program == "" {
			return
		}
	}
	l.kept[key] = append(l.kept[key], a.program)
	l.actions = append(l.actions, a)
}
