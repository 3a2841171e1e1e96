package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// e2eItem is an action as it will be posted, and what must come of it: an
// entry of the ledger, or a rejection because of a field.
type e2eItem struct {
	fields map[string]any
	action *e2eAction
	field  string
}

// act makes an item of an action; more are fields that the ledger does not
// have by themselves.
func (d *e2eDriver) act(a *e2eAction, more map[string]any) e2eItem {
	fields := map[string]any{"event": a.event}
	set := func(name, value string) {
		if value != "" {
			fields[name] = value
		}
	}
	set("id", a.id)
	set("order_id", a.order)
	set("user_id", a.user)
	if !a.now {
		set("time", rfc3339(a.at))
	}
	if a.micros != 0 {
		fields["value"] = formatMicros(a.micros)
	}
	for name, value := range more {
		fields[name] = value
	}
	return e2eItem{fields: fields, action: a}
}

// on gives an action what its link says.
func (a *e2eAction) on(l *e2eLink) *e2eAction {
	a.link, a.program, a.campaign, a.channel = l, l.program.name, l.campaign, l.channel
	a.referrer, a.referrerType, a.want = l.referrer, l.referrerType, l.wanted
	return a
}

// by gives an action a click. When that is too old it still tells the
// programme, but its link gets no credit.
func (a *e2eAction) by(h *e2eHit) *e2eAction {
	a.click, a.program = h, h.link.program.name
	if h.link.late(h.at, a.at) {
		a.reasons = append(a.reasons, "late")
		return a
	}
	a.touches = []e2eTouch{{link: h.link, hit: h}}
	return a.on(h.link)
}

// byCookie gives an action what the browser's cookie remembers.
func (a *e2eAction) byCookie(j *jar) *e2eAction {
	a.visitor = j.visitor
	for _, touch := range j.touches {
		if !touch.link.late(touch.last, a.at) {
			a.touches = append(a.touches, touch)
		}
	}
	last := j.touches[len(j.touches)-1]
	if last.link.late(last.last, a.at) {
		a.program, a.reasons = last.link.program.name, append(a.reasons, "late")
		return a
	}
	return a.on(last.link)
}

// formatMicros writes a value as people do: without zeros at the end.
func formatMicros(micros int64) string {
	text := fmt.Sprintf("%d.%06d", micros/1_000_000, micros%1_000_000)
	return strings.TrimSuffix(strings.TrimRight(text, "0"), ".")
}

func (d *e2eDriver) name(kind string) string {
	d.serial++
	return fmt.Sprintf("%s%d-%d", kind, d.number, d.serial)
}

// user is one of the worker's, of whom some come again.
func (d *e2eDriver) user() string { return fmt.Sprintf("u%d-%d", d.number, d.random.IntN(60)) }

// after is a time for what follows a click: later in simulated time, or now.
func (d *e2eDriver) after(at int64) int64 {
	if at > simEnd.UnixMilli() {
		return d.moment(wall())
	}
	return d.moment(at + 1 + d.random.Int64N(oneOf[int64](d.random, 600_000, 48*3600_000)))
}

// follow reports what the visitor of a hit does next.
func (d *e2eDriver) follow(j *jar, h *e2eHit) {
	user := d.user()
	if d.random.IntN(6) == 0 {
		user = "" // a party known by its click alone
	}
	signup := &e2eAction{event: "signup", id: d.name("s"), user: user, at: d.after(h.at)}
	item := d.act(signup.by(h), map[string]any{"click_id": h.clickID})
	if user != "" && d.random.IntN(2) == 0 {
		delete(item.fields, "id")
		signup.id = "user:" + user // a person signs up once
	}
	late := d.random.IntN(4) == 0 // the signup is reported last
	if !late {
		d.push(item)
	}
	at := signup.at
	for range d.random.IntN(4) {
		at = d.after(at)
		d.next(h, user, at)
	}
	if late {
		d.push(item)
	}
	if d.random.IntN(5) == 0 {
		d.push(item) // the customer's queue delivers twice
	}
	switch d.random.IntN(8) {
	case 0:
		d.postback(h)
	case 1, 2:
		d.pixel(j, h)
	}
}

// next reports one thing that a user does, by click id, user id or code.
func (d *e2eDriver) next(h *e2eHit, user string, at int64) {
	more := map[string]any{}
	var named *e2eLink
	switch {
	case user == "" || d.random.IntN(3) == 0:
		more["click_id"] = h.clickID
		if d.random.IntN(6) == 0 { // the code goes before the click
			named = oneOf(d.random, d.plainLinks()...)
			more["code"] = named.code
		}
	case d.random.IntN(4) == 0:
		more["program"] = h.link.program.name
	}
	channel := oneOf(d.random, "", "", "", "", "phone")
	if channel != "" {
		more["channel"] = channel
	}
	credited := func(a *e2eAction) *e2eAction {
		if more["click_id"] != nil {
			a.by(h)
		} else if more["program"] != nil {
			a.program = h.link.program.name
		}
		if named != nil {
			a.on(named).reasons = nil
		}
		a.channel = cmp.Or(channel, a.channel)
		return a
	}
	a := credited(&e2eAction{event: oneOf(d.random, "activate", "purchase", "purchase", "purchase", "retain", "churn", "quote_requested"), user: user, at: at, id: d.name("a")})
	if a.event != "purchase" {
		d.push(d.act(a, more))
		return
	}
	a.micros = d.random.Int64N(900_000_000) + 1
	if d.random.IntN(2) == 0 {
		a.id, a.order = "", d.name("o")
	}
	more["plan"], more["properties"] = "scale", map[string]any{"seats": 3, "annual": true}
	if a.program != "" {
		more["currency"] = strings.ToLower(programNamed(a.program).currency)
	}
	d.push(d.act(a, more))
	switch d.random.IntN(6) {
	case 0:
		d.again(a, more)
	case 1:
		refund := credited(&e2eAction{event: "refund", id: d.name("r"), user: user, order: a.order, micros: a.micros, at: d.after(at)})
		d.push(d.act(refund, more))
	case 2:
		d.elsewhere(a)
	}
}

// again reports an action once more under the same identity, and with another
// value, which must not count.
func (d *e2eDriver) again(a *e2eAction, more map[string]any) {
	repeat := *a
	repeat.at, repeat.micros = d.after(a.at), a.micros+1
	if repeat.order != "" {
		repeat.id = d.name("x") // where there is an order, that is the identity
	}
	if d.random.IntN(2) == 0 && repeat.user != "" { // the repeat lacks its programme
		bare := &e2eAction{event: a.event, id: repeat.id, order: a.order, user: a.user, at: repeat.at, micros: repeat.micros}
		d.push(d.act(bare, nil))
		return
	}
	d.push(d.act(&repeat, more))
}

// elsewhere reports another order of the same number in another programme.
func (d *e2eDriver) elsewhere(a *e2eAction) {
	if a.program == "" || a.order == "" || a.user == "" {
		return
	}
	other := oneOf(d.random, "general", "insurance")
	b := &e2eAction{event: "purchase", order: a.order, user: a.user, at: d.after(a.at), micros: 5_000_000, program: other}
	d.push(d.act(b, map[string]any{"program": other}))
}

// plainLinks are those that a code alone names.
func (d *e2eDriver) plainLinks() []*e2eLink {
	return slices.DeleteFunc(slices.Clone(d.links), func(l *e2eLink) bool { return l.domain != "" })
}

// stray reports what fits no journey.
func (d *e2eDriver) stray(j *jar) {
	at := d.moment(simStart.UnixMilli() + d.random.Int64N(40*24*3600_000))
	l := oneOf(d.random, d.plainLinks()...)
	switch d.random.IntN(7) {
	case 0: // of somebody who never signed up
		d.push(d.act(&e2eAction{event: "purchase", id: d.name("n"), user: d.name("nobody"), at: at, micros: 5_000_000}, nil))
	case 1: // credited by name, without a link
		a := &e2eAction{event: "signup", id: d.name("s"), user: d.user(), at: at, program: "wedding", referrer: someUser(d.random), referrerType: "couple"}
		d.push(d.act(a, map[string]any{"program": "wedding", "referrer": map[string]any{"id": a.referrer, "type": a.referrerType}}))
	case 2: // by code alone
		d.push(d.act((&e2eAction{event: "signup", id: d.name("s"), user: d.user(), at: at}).on(l), map[string]any{"code": l.code}))
	case 3: // without a time
		d.push(d.act((&e2eAction{event: "quote_requested", id: d.name("q"), at: wall(), now: true}).on(l), map[string]any{"code": l.code}))
	case 4: // a signup without anything
		program := oneOf(d.random, "general", "wedding", "insurance")
		a := &e2eAction{event: "signup", id: d.name("s"), user: d.user(), at: at, program: program, channel: "fair"}
		d.push(d.act(a, map[string]any{"program": program, "channel": "fair"}))
	case 5:
		d.bad(at, l)
	case 6:
		d.bound(at)
	}
}

// bad puts items into the batch that must be rejected by their field.
func (d *e2eDriver) bad(at int64, l *e2eLink) {
	for _, c := range []struct {
		field string
		more  map[string]any
	}{
		{"click_id", map[string]any{"click_id": "AAAAAAAAAAAAAAAAAAAAAA"}},
		{"code", map[string]any{"code": "nobody-made-this"}},
		{"event", map[string]any{"event": "click"}},
		{"value", map[string]any{"value": "1,50"}},
		{"currency", map[string]any{"code": l.code, "value": "1", "currency": "JPY"}},
		{"program", map[string]any{"program": "nowhere"}},
		{"surname", map[string]any{"surname": "x"}},
		{"time", map[string]any{"time": "2999-01-01T00:00:00Z"}},
		{"click_id", map[string]any{"user_id": ""}},
	} {
		fields := map[string]any{"event": "purchase", "id": d.name("bad"), "user_id": d.user(), "time": rfc3339(at)}
		for name, value := range c.more {
			fields[name] = value
		}
		d.pending = append(d.pending, e2eItem{fields: fields, field: c.field})
	}
}

// bound reports with a key that is good for one programme.
func (d *e2eDriver) bound(at int64) {
	d.flush()
	user := d.user()
	good := &e2eAction{event: "signup", id: d.name("s"), user: user, at: at, program: "wedding"}
	foreign := e2eItem{fields: map[string]any{"event": "purchase", "id": d.name("f"), "user_id": user, "program": "general"}, field: "program"}
	d.post([]e2eItem{d.act(good, nil), foreign}, d.keys.wedding, true)
	for key, status := range map[string]int{"": 401, "wrong": 401, d.keys.read: 403} {
		header := http.Header{"User-Agent": {""}, "Authorization": {"Bearer " + key}}
		if answer, body := d.request("POST", "/v1/events", "", `{"event":"signup","user_id":"x"}`, header); answer != nil && answer.StatusCode != status {
			d.failf("POST /v1/events with the key %q: %d %s, expected %d", key, answer.StatusCode, body, status)
		}
	}
}

// invite reports an invitation: by code, by a user, or both.
func (d *e2eDriver) invite(j *jar) {
	at := d.moment(simStart.UnixMilli() + d.random.Int64N(35*24*3600_000))
	l := oneOf(d.random, d.plainLinks()...)
	a := &e2eAction{event: "invite", id: d.name("i"), at: at}
	switch d.random.IntN(4) {
	case 0: // by a user, without a link
		a.user, a.program = d.user(), "general"
		d.push(d.act(a, map[string]any{"program": "general"}))
	case 1:
		a.user = d.user()
		fallthrough
	default:
		d.push(d.act(a.on(l), map[string]any{"code": l.code}))
	}
}

// push adds an item to the batch, and sends the batch when it is full.
func (d *e2eDriver) push(item e2eItem) {
	d.pending = append(d.pending, item)
	if len(d.pending) >= d.random.IntN(12) {
		d.flush()
	}
}

// flush sends the batch as one object, an array or lines.
func (d *e2eDriver) flush() {
	if len(d.pending) == 0 {
		return
	}
	items := d.pending
	d.pending = nil
	if d.random.IntN(3) == 0 {
		for _, item := range items {
			d.post([]e2eItem{item}, d.keys.event, false)
		}
		return
	}
	d.post(items, oneOf(d.random, d.keys.event, d.s.key), true)
}

// post sends items and checks what the answer says of each.
func (d *e2eDriver) post(items []e2eItem, key string, many bool) {
	encoded := make([]string, len(items))
	type rejection struct {
		Index int
		Field string
	}
	var rejected []rejection
	for i, item := range items {
		line, err := json.Marshal(item.fields)
		if err != nil {
			panic(err)
		}
		encoded[i] = string(line)
		if item.action == nil {
			rejected = append(rejected, rejection{i, item.field})
		}
	}
	body := strings.Join(encoded, "\n")
	if many && d.random.IntN(2) == 0 {
		body = "[" + strings.Join(encoded, ",") + "]"
	}
	header := http.Header{"User-Agent": {""}, "Authorization": {"Bearer " + key}, "Content-Type": {oneOf(d.random, "application/json", "text/plain", "application/x-www-form-urlencoded")}}
	answer, content := d.request("POST", "/v1/events", "", body, header)
	if answer == nil {
		return
	}
	var got struct {
		Accepted int
		Rejected []rejection
	}
	err := json.Unmarshal([]byte(content), &got)
	if answer.StatusCode != http.StatusAccepted || err != nil || got.Accepted != len(items)-len(rejected) || !slices.Equal(got.Rejected, rejected) {
		d.failf("POST /v1/events %s: %d %s, expected the rejections %v", body, answer.StatusCode, content, rejected)
		return
	}
	for _, item := range items {
		if item.action != nil {
			d.keep(item.action)
		}
	}
}

// postback reports a purchase as an affiliate network does. Without an id of
// its own, it counts once a click.
func (d *e2eDriver) postback(h *e2eHit) {
	d.flush()
	a := (&e2eAction{event: "purchase", id: "click:" + h.clickID, at: d.after(h.at), micros: 12_500_000}).by(h)
	query := url.Values{"event": {"purchase"}, "click_id": {h.clickID}, "time": {rfc3339(a.at)}, "value": {"12.50"}, "key": {d.keys.event}, "sub_id": {"ignored"}}
	if d.random.IntN(2) == 0 {
		a.id, a.order = "", d.name("o")
		query.Set("order_id", a.order)
	}
	for range 1 + d.random.IntN(2) {
		answer, body := d.request("GET", "/v1/postback", query.Encode(), "", http.Header{"User-Agent": {"network"}})
		if answer == nil {
			return
		}
		if answer.StatusCode != http.StatusOK || body != "ok" {
			d.failf("postback %v: %d %s", query, answer.StatusCode, body)
		}
		d.keep(a)
	}
	query.Set("click_id", "forged")
	if answer, body := d.request("GET", "/v1/postback", query.Encode(), "", http.Header{}); answer != nil && (answer.StatusCode != http.StatusBadRequest || !strings.Contains(body, "click_id")) {
		d.failf("a forged postback: %d %s", answer.StatusCode, body)
	}
}

// pixel reports from the page: by cookie or by the click id that the page
// kept. It may name any user and any value, since nobody checks.
func (d *e2eDriver) pixel(j *jar, h *e2eHit) {
	d.flush()
	header := http.Header{"User-Agent": {j.visit.agent.agent}, "X-Forwarded-For": {j.visit.place.address}}
	a := &e2eAction{event: "pageview", at: h.at + 1, now: h.now, visit: e2eVisit{agent: j.visit.agent, place: j.visit.place}}
	query := url.Values{"cachebuster": {"1"}}
	if !h.now {
		a.at = d.moment(a.at + d.random.Int64N(oneOf[int64](d.random, 1, 1, 20*24*3600_000)))
		header.Set("X-Waymark-Time", rfc3339(a.at))
		header.Set("Authorization", "Bearer "+d.s.key)
		a.reasons = append(a.reasons, "simulated")
		a.event = oneOf(d.random, "pageview", "purchase", "signup")
		if a.event == "purchase" {
			a.micros = 99_000_000
			query.Set("value", "99.00")
		}
		if d.random.IntN(3) == 0 {
			a.user = d.user()
			query.Set("user_id", a.user)
		}
	}
	if d.random.IntN(2) == 0 && j.known(a.at) && len(j.touches) > 0 {
		header.Set("Cookie", j.cookie)
		a.byCookie(j)
		a.id = d.name("p")
		query.Set("id", a.id)
	} else {
		a.by(h)
		a.id = "click:" + h.clickID
		if a.event == "signup" && a.user != "" {
			a.id = "user:" + a.user
		}
		query.Set("click_id", h.clickID)
	}
	if !programNamed(a.program).trust {
		a.reasons = append(a.reasons, "unverified")
	}
	query.Set("event", a.event)
	answer, body := d.request("GET", "/v1/pixel.gif", query.Encode(), "", header)
	if answer == nil {
		return
	}
	if answer.StatusCode != http.StatusOK || !strings.HasPrefix(body, "GIF89a") || answer.Header.Get("X-Waymark-Error") != "" {
		d.failf("pixel %v: %d %v", query, answer.StatusCode, answer.Header)
	}
	d.keep(a)
	answer, body = d.request("GET", "/v1/pixel.gif", "event=purchase&click_id=forged", "", http.Header{})
	if answer != nil && (answer.StatusCode != http.StatusOK || !strings.HasPrefix(body, "GIF89a") || answer.Header.Get("X-Waymark-Error") == "") {
		d.failf("a forged pixel: %d %v", answer.StatusCode, answer.Header)
	}
}
