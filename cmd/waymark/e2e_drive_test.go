package main

import (
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

const (
	driveWorkers  = 16 // browsers at once
	driveRequests = 20_500
)

// driver is one worker: browsers of its own, users of its own and a ledger of
// its own, so that what it expects depends on no other worker.
type e2eDriver struct {
	books
	s       *server
	keys    e2eKeys
	number  int
	random  *rand.Rand
	links   []*e2eLink
	jars    []*jar
	used    map[int64]bool // milliseconds, so that "first" has one meaning
	serial  int
	pending []e2eItem // actions that wait for their batch
	failed  error
}

// failf ends the worker.
func (d *e2eDriver) failf(format string, args ...any) {
	if d.failed == nil {
		d.failed = fmt.Errorf("worker %d: "+format, append([]any{d.number}, args...)...)
	}
}

// drive sends requests until there are enough.
func (d *e2eDriver) drive() {
	for range 25 {
		d.jars = append(d.jars, d.newJar())
	}
	for d.sent < driveRequests/driveWorkers && d.failed == nil {
		j := d.jars[d.random.IntN(len(d.jars))]
		if !d.pass(j) {
			d.jars[slices.Index(d.jars, j)] = d.newJar()
			continue
		}
		link := oneOf(d.random, d.links...)
		if d.random.IntN(8) == 0 && len(j.touches) > 0 {
			link = oneOf(d.random, j.touches...).link
		}
		hit := d.visitLink(j, link)
		if hit != nil && d.random.IntN(6) == 0 {
			d.follow(j, hit)
		}
		switch d.random.IntN(40) {
		case 0:
			d.nonsense()
		case 1:
			d.stray(j)
		case 2, 3:
			d.invite(j)
		}
	}
	d.flush()
}

// newJar is a browser that has not been here, in simulated time or, one in
// fifteen, today.
func (d *e2eDriver) newJar() *jar {
	j := &jar{visit: e2eVisit{agent: oneOf(d.random, e2eAgents...), place: oneOf(d.random, e2ePlaces...), language: oneOf(d.random, "", "de-AT", "en", "pt-BR")}}
	if d.random.IntN(15) > 0 {
		j.at = simStart.UnixMilli() + d.random.Int64N(20*24*3600_000)
	}
	return j
}

// pass lets a browser's time pass, and reports whether the period goes on.
func (d *e2eDriver) pass(j *jar) bool {
	if j.at == 0 {
		return true
	}
	j.at = d.moment(j.at + d.random.Int64N(oneOf[int64](d.random, 60_000, 3600_000, 48*3600_000)))
	return j.at < simEnd.UnixMilli()
}

// moment is a millisecond at or after one that nothing else happens in.
func (d *e2eDriver) moment(ms int64) int64 {
	ms = ms/driveWorkers*driveWorkers + int64(d.number)
	for d.used[ms] {
		ms += driveWorkers
	}
	d.used[ms] = true
	return ms
}

// wall is now, well away from the end of a quarter of an hour, in which time
// zones and reports may draw lines: the server reads its clock a little later.
func wall() int64 {
	const quarter, margin = 15 * 60_000, 5_000
	for {
		now := time.Now().UnixMilli()
		left := quarter - now%quarter
		if left > margin {
			return now
		}
		time.Sleep(time.Duration(left) * time.Millisecond)
	}
}

// request sends a request to the public listener. path and query go out as
// they are.
func (d *e2eDriver) request(method, path, query, body string, header http.Header) (*http.Response, string) {
	d.sent++
	request := &http.Request{
		Method: method, URL: &url.URL{Scheme: "http", Host: d.s.public, Opaque: path, RawQuery: query}, Header: header, Host: header.Get("Host"),
	}
	if body != "" {
		request.Body, request.ContentLength = io.NopCloser(strings.NewReader(body)), int64(len(body))
	}
	answer, err := httpClient.Do(request)
	if err != nil {
		d.failf("%s %s?%s: %v", method, path, query, err)
		return nil, ""
	}
	defer answer.Body.Close()
	content, err := io.ReadAll(answer.Body)
	if err != nil {
		d.failf("%s %s?%s: %v", method, path, query, err)
		return nil, ""
	}
	return answer, string(content)
}

// visitLink sends one hit, checks the answer and notes what must come of it.
// It returns nil unless the answer brought a click id.
func (d *e2eDriver) visitLink(j *jar, link *e2eLink) *e2eHit {
	h := &e2eHit{link: link, event: "click", at: j.at, visit: j.visit}
	header, method := http.Header{}, "GET"
	anonymous := false // the browser brings no cookie
	switch d.random.IntN(24) {
	case 0, 1:
		h.visit.agent = oneOf(d.random, e2eRobots...)
	case 2:
		method, h.reasons = "HEAD", append(h.reasons, "head")
	case 3:
		name := oneOf(d.random, "Sec-Purpose", "Purpose", "X-Moz")
		header.Set(name, map[string]string{"Sec-Purpose": "prefetch;prerender", "Purpose": "prefetch", "X-Moz": "prefetch"}[name])
		h.reasons = append(h.reasons, "prefetch")
	case 4:
		header.Set(oneOf(d.random, "DNT", "Sec-GPC"), "1")
		h.reasons = append(h.reasons, "gpc")
	case 5:
		h.visit.place, h.visit.agent = e2eDatacenter, e2eAgents[0]
	case 6, 7, 8:
		anonymous = true
	}
	query := d.describe(h, header)
	d.timed(h, header)
	if j.cookie != "" && !anonymous {
		header.Set("Cookie", "other=1; "+j.cookie)
	}
	if anonymous {
		j = &jar{}
	}
	cookie := d.expectVisitor(j, h)
	answer, _ := d.request(method, "/"+d.pathOf(link), query, "", header)
	if answer == nil {
		return nil
	}
	d.hits = append(d.hits, h)
	d.checkRedirect(h, answer, query, cookie)
	if set := answer.Header.Get("Set-Cookie"); set != "" {
		j.cookie, _, _ = strings.Cut(set, ";")
	}
	if h.clickID == "" {
		return nil
	}
	return h
}

// describe writes into a request how and from where the visitor of a hit
// comes, and notes what that makes of it. It returns the query.
func (d *e2eDriver) describe(h *e2eHit, header http.Header) string {
	v, params := &h.visit, []string(nil)
	if d.random.IntN(5) == 0 {
		params, h.event = append(params, "qr=1"), "scan"
	}
	for i, name := range utmNames {
		v.utm[i] = h.link.utm[name]
	}
	if d.random.IntN(5) == 0 {
		params = append(params, "utm_source=ads", "x=1%202", "b=9", "wm_click=forged", "cid=forged")
		v.utm[0] = "ads"
	}
	if d.random.IntN(4) == 0 {
		v.referrerHost = oneOf(d.random, "news.example", "t.example")
		header.Set("Referer", "https://"+v.referrerHost+"/page?secret=1")
	}
	for reason, is := range map[string]bool{"bot": v.agent.bot, "preview": v.agent.preview, "datacenter": v.place.datacenter} {
		if is {
			h.reasons = append(h.reasons, reason)
		}
	}
	header["User-Agent"] = []string{v.agent.agent}
	if v.language != "" {
		header.Set("Accept-Language", v.language+",fr;q=0.5")
	}
	header.Set("X-Forwarded-For", "1.2.3.4, "+v.place.address)
	if h.link.domain != "" {
		header.Set("Host", h.link.domain)
	}
	return strings.Join(params, "&")
}

// timed gives a request its time: the simulated one, or now. Without the admin
// key the header counts for nothing.
func (d *e2eDriver) timed(h *e2eHit, header http.Header) {
	if h.at == 0 {
		h.at, h.now = wall(), true
		if d.random.IntN(2) == 0 {
			header.Set("X-Waymark-Time", rfc3339(simStart.UnixMilli()))
			header.Set("Authorization", "Bearer "+oneOf(d.random, d.keys.event, d.keys.read, "wrong"))
		}
		return
	}
	header.Set("X-Waymark-Time", rfc3339(h.at))
	header.Set("Authorization", "Bearer "+d.s.key)
	h.reasons = append(h.reasons, "simulated")
}

// pathOf spells a link's code in one of the ways that reach it.
func (d *e2eDriver) pathOf(l *e2eLink) string {
	code := l.code
	if l.program.fold && d.random.IntN(2) == 0 {
		code = strings.ToLower(code)
	}
	if d.random.IntN(2) == 0 {
		return url.PathEscape(code)
	}
	return (&url.URL{Path: code}).EscapedPath()
}

// visitors numbers those of a worker; they never meet those of another.
func (d *e2eDriver) newVisitor() int {
	d.serial++
	return d.number*1_000_000 + d.serial
}

// expectVisitor says whom the server takes the hit for, and whether it sets a
// cookie.
func (d *e2eDriver) expectVisitor(j *jar, h *e2eHit) (cookie bool) {
	gpc := h.has("gpc")
	if state := h.link.state(h.at); state != "" {
		h.reasons = append(h.reasons, state)
		if !gpc && j.known(h.at) {
			h.visitor = j.visitor
		}
		return false
	}
	if gpc {
		return false
	}
	if !j.known(h.at) {
		j.visitor, j.expires, j.touches = d.newVisitor(), 0, nil
	}
	if !h.has("head") && !h.has("prefetch") && j.click(h.link, h.at) {
		h.reasons = append(h.reasons, "repeat")
	}
	h.visitor = j.visitor
	j.expires = max(j.expires, h.at/1000*1000+int64(h.link.program.cookieDays)*24*3600_000)
	return true
}

// checkRedirect compares an answer with what the link says, and takes the
// click id from it.
func (d *e2eDriver) checkRedirect(h *e2eHit, answer *http.Response, query string, cookie bool) {
	status, location := h.link.status, answer.Header.Get("Location")
	before, after := h.link.location(query)
	switch h.link.state(h.at) {
	case "inactive", "early":
		status, before, after = http.StatusNotFound, "", ""
	case "expired":
		if status, before, after = http.StatusGone, h.link.expiredURL, ""; before != "" {
			status = http.StatusFound
		}
	default:
		if h.link.clickParam != "" && len(location) == len(before)+22+len(after) {
			h.clickID = location[len(before) : len(before)+22]
		} else if h.link.clickParam != "" {
			d.failf("link %s: location %q has no click id after %q", h.link.key(), location, before)
		}
	}
	if want := before + h.clickID + after; answer.StatusCode != status || location != want {
		d.failf("link %s with query %q: %d to %q, expected %d to %q", h.link.key(), query, answer.StatusCode, location, status, want)
	}
	if got := answer.Header.Get("Set-Cookie") != ""; got != cookie {
		d.failf("link %s, reasons %v: Set-Cookie is %q, expected one: %v", h.link.key(), h.reasons, answer.Header.Get("Set-Cookie"), cookie)
	}
	if got := answer.Header.Get("Cache-Control"); got != "private, no-store" {
		d.failf("link %s: Cache-Control is %q", h.link.key(), got)
	}
}

// nonsense sends what leads nowhere and leaves no trace in ClickHouse.
func (d *e2eDriver) nonsense() {
	header := http.Header{"User-Agent": {browserAgent}}
	known := url.PathEscape(d.links[0].code)
	cases := []struct {
		method, path, query string
		status              int
	}{
		{"GET", "/nobody-made-this", "", 404}, {"HEAD", "/nobody/made/that", "a=b", 404}, {"GET", "/%zz", "", 400}, {"GET", "/%ff%fe", "", 400},
		{"GET", "/a%00b", "", 400}, {"GET", "/a%0d%0aSet-Cookie:x", "", 400}, {"POST", "/" + known, "", 405}, {"DELETE", "/" + known, "", 405},
		{"GET", "/v1/events", "", 405}, {"GET", "/v1/nothing", "", 404}, {"GET", "/favicon.ico", "", 204}, {"GET", "/", "", 404},
		{"GET", "/Healthz", "", 404}, {"GET", "/" + known + "/", "", 404}, {"GET", "/" + url.PathEscape(d.otherCase()), "", 404},
	}
	c := oneOf(d.random, cases...)
	if answer, _ := d.request(c.method, c.path, c.query, "", header); answer != nil && (answer.StatusCode != c.status || answer.Header.Get("Location") != "" || answer.Header.Get("Set-Cookie") != "") {
		d.failf("%s %s: %d to %q, expected %d", c.method, c.path, answer.StatusCode, answer.Header, c.status)
	}
}

// otherCase is a code in lower case whose programme wants it as it is.
func (d *e2eDriver) otherCase() string {
	i := slices.IndexFunc(d.links, func(l *e2eLink) bool { return !l.program.fold && strings.ToLower(l.code) != l.code })
	return strings.ToLower(d.links[i].code)
}

// mergeBooks is everything that all workers have done.
func mergeBooks(drivers []*e2eDriver) *books {
	all := &books{kept: map[string][]string{}}
	for _, d := range drivers {
		all.hits, all.actions = append(all.hits, d.hits...), append(all.actions, d.actions...)
		all.sent += d.sent
		maps.Copy(all.kept, d.kept)
	}
	return all
}
