package main

import (
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/maxmind/mmdbwriter"
	"github.com/maxmind/mmdbwriter/mmdbtype"
)

// What the end-to-end test sets up: programmes, links, keys, browsers and
// places, each with what it should be known as in the reports.

// The simulated time: six weeks in which Europe changes to summer time. They
// are long past, so that nothing depends on today.
var (
	simStart = time.Date(2025, 3, 8, 0, 0, 0, 0, time.UTC)
	simEnd   = time.Date(2025, 4, 21, 0, 0, 0, 0, time.UTC)
	// simOver is later than anything simulated and earlier than now.
	simOver = simEnd.AddDate(0, 2, 0)
)

// e2eProgram is a programme with its settings.
type e2eProgram struct {
	name, currency         string
	types                  []string
	fold, trust            bool // trust takes pixels for as good as the customer's own word
	cookieDays, windowDays int
	uniqueHours            int
}

var e2ePrograms = []e2eProgram{
	{"general", "EUR", nil, false, false, 90, 30, 24},
	{"wedding", "EUR", []string{"supplier", "couple"}, true, false, 90, 30, 24},
	{"insurance", "USD", []string{"agent", "lead"}, false, true, 90, 10, 1},
	{"contest", "CHF", nil, false, false, 5, 3, 0},
}

func programNamed(name string) *e2eProgram {
	i := slices.IndexFunc(e2ePrograms, func(p e2eProgram) bool { return p.name == name })
	return &e2ePrograms[i]
}

// e2eLink is a link as the ledger knows it.
type e2eLink struct {
	code, domain, url              string
	program                        *e2eProgram
	campaign, channel              string
	referrer, referrerType, wanted string // wanted is the referee type
	status                         int
	inactive                       bool
	starts, expires                int64 // ms, 0 for none
	expiredURL                     string
	dropQuery                      bool
	clickParam                     string
	utm                            map[string]string
}

// late reports whether a click on the link is too old to be credited with
// something that happened at a time.
func (l *e2eLink) late(click, at int64) bool {
	return click+int64(l.program.windowDays)*24*3600_000 < at
}

func (l *e2eLink) key() string {
	if l.domain != "" {
		return l.domain + "/" + l.code
	}
	return l.code
}

// body is the link as it is posted; defaults are left out.
func (l *e2eLink) body() map[string]any {
	b := map[string]any{"code": l.code, "url": l.url, "program": l.program.name, "campaign": l.campaign, "channel": l.channel, "referee_type": l.wanted}
	if l.domain != "" {
		b["domain"] = l.domain
	}
	if l.referrer != "" {
		b["referrer"] = map[string]string{"id": l.referrer, "type": l.referrerType}
	}
	if l.status != 302 {
		b["status"] = l.status
	}
	if l.inactive {
		b["active"] = false
	}
	if l.starts != 0 {
		b["starts_at"] = rfc3339(l.starts)
	}
	if l.expires != 0 {
		b["expires_at"] = rfc3339(l.expires)
	}
	if l.expiredURL != "" {
		b["expired_url"] = l.expiredURL
	}
	if l.dropQuery {
		b["forward_query"] = false
	}
	if l.clickParam != "wm_click" {
		b["click_param"] = l.clickParam
	}
	if l.utm != nil {
		b["utm"] = l.utm
	}
	return b
}

func rfc3339(ms int64) string { return time.UnixMilli(ms).UTC().Format("2006-01-02T15:04:05.000Z") }

// oneOf picks from a list.
func oneOf[T any](r *rand.Rand, list ...T) T { return list[r.IntN(len(list))] }

// makeLinks makes n links of every kind.
func makeLinks(r *rand.Rand, n int) []*e2eLink {
	var links []*e2eLink
	middle := (simStart.UnixMilli() + simEnd.UnixMilli()) / 2
	for i := range n {
		program := &e2ePrograms[i%len(e2ePrograms)]
		l := &e2eLink{
			code: fmt.Sprintf("%s%d", oneOf(r, "C-", "c/", "Ünï-", "日本/", "a.b~", "x;y="), i), program: program,
			url:      oneOf(r, "https://shop.example/", "https://shop.example/a?b=1&c=2", "http://shop.example/p?b=%C3%A4#top", "https://shop.example:8443/x?empty=&flag"),
			campaign: oneOf(r, "", "spring", "summer"), channel: oneOf(r, "", "email", "qr", "social", "link"),
			status: 302, clickParam: "wm_click",
		}
		types := program.types
		if types == nil {
			types = []string{"user", "partner", ""}
		}
		l.wanted = oneOf(r, types...)
		if r.IntN(5) > 0 {
			l.referrer, l.referrerType = someUser(r), oneOf(r, types...)
		}
		switch i % 23 {
		case 1, 2, 3:
			l.status = []int{0, 301, 307, 308}[i%23]
		case 4:
			l.inactive = true
		case 5:
			l.starts = middle
		case 6:
			l.expires = middle
		case 7:
			l.expires, l.expiredURL = middle, "https://shop.example/over?too=late"
		case 8:
			l.dropQuery = true
		case 9:
			l.clickParam = ""
		case 10:
			l.clickParam = "cid"
		case 11, 12:
			l.domain = "go.example"
		case 13, 14:
			l.utm = map[string]string{"source": "newsletter", "campaign": "früh & spät"}
		case 15:
			l.starts, l.expires = middle-7*24*3600_000, middle+7*24*3600_000
		}
		links = append(links, l)
	}
	return links
}

// someUser is a person that may refer, sign up or both.
func someUser(r *rand.Rand) string { return fmt.Sprintf("u%d-%d", r.IntN(driveWorkers), r.IntN(30)) }

// e2eAgent is a user agent and what it should be known as.
type e2eAgent struct {
	agent, device, browser, os string
	bot, preview               bool
}

var e2eAgents = []e2eAgent{
	{agent: browserAgent, device: "desktop", browser: "Chrome", os: "Windows"},
	{agent: "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.1 Safari/605.1.15", device: "desktop", browser: "Safari", os: "macOS"},
	{agent: "Mozilla/5.0 (iPhone; CPU iPhone OS 18_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.1 Mobile/15E148 Safari/604.1", device: "mobile", browser: "Safari", os: "iOS"},
	{agent: "Mozilla/5.0 (X11; Linux x86_64; rv:132.0) Gecko/20100101 Firefox/132.0", device: "desktop", browser: "Firefox", os: "Linux"},
	{agent: "Mozilla/5.0 (Linux; Android 14; Pixel 8) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/130.0.0.0 Mobile Safari/537.36", device: "mobile", browser: "Chrome", os: "Android"},
	{agent: "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/130.0.0.0 Safari/537.36 Edg/130.0.0.0", device: "desktop", browser: "Edge", os: "Windows"},
}

// Robots that say so, robots that say nothing, and those that draw previews.
var e2eRobots = []e2eAgent{
	{agent: "", device: "bot", bot: true},
	{agent: "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)", device: "bot", bot: true},
	{agent: "Mozilla/5.0 (compatible; bingbot/2.0; +http://www.bing.com/bingbot.htm)", device: "bot", bot: true},
	{agent: "curl/8.5.0", device: "bot", bot: true},
	{agent: "WhatsApp/2.23.20.0", device: "bot", bot: true, preview: true},
	{agent: "facebookexternalhit/1.1 (+http://www.facebook.com/externalhit_uatext.php)", device: "bot", bot: true, preview: true},
	{agent: "Slackbot-LinkExpanding 1.0 (+https://api.slack.com/robots)", device: "bot", bot: true, preview: true},
}

// e2ePlace is an address and what the test's GeoIP databases say of it.
type e2ePlace struct {
	address, country, region, city string
	network                        int
	datacenter                     bool
}

var e2ePlaces = []e2ePlace{
	{address: "81.2.69.7", country: "GB", region: "GB-ENG", city: "London", network: 20712},
	{address: "81.2.69.99", country: "GB", region: "GB-ENG", city: "London", network: 20712},
	{address: "89.160.20.3", country: "SE", region: "SE-E", city: "Linköping", network: 29518},
	{address: "2a02:8012::1", country: "DE", network: 3320},
	{address: "175.16.199.4", country: "CN"},
	{address: "9.9.9.9"}, // in no database
}

var e2eDatacenter = e2ePlace{address: "3.4.5.6", country: "US", network: 16509, datacenter: true}

// geoFiles writes the databases of the places.
func geoFiles(t *testing.T) (city, network string) {
	cities, networks := map[string]mmdbtype.Map{}, map[string]mmdbtype.Map{}
	for _, p := range append(e2ePlaces, e2eDatacenter) {
		prefix := p.address + "/32"
		if strings.Contains(p.address, ":") {
			prefix = p.address + "/128"
		}
		if p.country != "" {
			record := mmdbtype.Map{"country": mmdbtype.Map{"iso_code": mmdbtype.String(p.country)}}
			if p.region != "" {
				record["subdivisions"] = mmdbtype.Slice{mmdbtype.Map{"iso_code": mmdbtype.String(strings.TrimPrefix(p.region, p.country+"-"))}}
			}
			if p.city != "" {
				record["city"] = mmdbtype.Map{"names": mmdbtype.Map{"en": mmdbtype.String(p.city)}}
			}
			cities[prefix] = record
		}
		if p.network != 0 {
			networks[prefix] = mmdbtype.Map{"autonomous_system_number": mmdbtype.Uint32(p.network)}
		}
	}
	return geoDatabase(t, "GeoLite2-City", cities), geoDatabase(t, "GeoLite2-ASN", networks)
}

func geoDatabase(t *testing.T, kind string, records map[string]mmdbtype.Map) string {
	t.Helper()
	tree, err := mmdbwriter.New(mmdbwriter.Options{DatabaseType: kind, RecordSize: 24})
	if err != nil {
		t.Fatal(err)
	}
	for prefix, record := range records {
		_, network, err := net.ParseCIDR(prefix)
		if err != nil {
			t.Fatal(err)
		}
		if err := tree.Insert(network, record); err != nil {
			t.Fatal(err)
		}
	}
	file, err := os.Create(filepath.Join(t.TempDir(), kind+".mmdb"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if _, err := tree.WriteTo(file); err != nil {
		t.Fatal(err)
	}
	return file.Name()
}

// e2eKeys are the secrets of the keys that the test makes.
type e2eKeys struct{ event, wedding, read string }

// setUp makes programmes, links and keys through the admin API.
func setUp(s *server, links []*e2eLink) (keys e2eKeys) {
	s.t.Helper()
	for _, p := range e2ePrograms[1:] {
		s.mustCall(http.StatusOK, "PUT", s.admin, "/v1/programs/"+p.name, map[string]any{
			"currency": p.currency, "party_types": append([]string{}, p.types...), "case_insensitive": p.fold, "trust_pixel": p.trust,
			"cookie_lifetime_days": p.cookieDays, "attribution_window_days": p.windowDays, "unique_window_hours": p.uniqueHours,
		}, nil)
	}
	for _, l := range links[:5] {
		s.createLink(l.body())
	}
	batch := make([]map[string]any, 0, len(links))
	for _, l := range links { // the first five exist already
		batch = append(batch, l.body())
	}
	batch[7] = map[string]any{"code": "bad", "url": "javascript:alert(1)"}
	var answer struct {
		Created int
		Failed  []struct {
			Index int
			Field string
		}
	}
	s.mustCall(http.StatusMultiStatus, "POST", s.admin, "/v1/links", batch, &answer)
	if answer.Created != len(links)-6 || len(answer.Failed) != 6 || answer.Failed[0].Field != "code" || answer.Failed[5].Field != "url" || answer.Failed[5].Index != 7 {
		s.t.Fatalf("a batch of %d links, of which 5 exist and the eighth is bad: %+v", len(batch), answer)
	}
	s.createLink(links[7].body())
	// A link changes its campaign before anybody follows it.
	links[0].campaign = "changed"
	s.mustCall(http.StatusOK, "PATCH", s.admin, "/v1/links/"+url.PathEscape(links[0].code), map[string]any{"campaign": "changed"}, nil)
	for _, k := range []struct {
		into *string
		role map[string]any
	}{
		{&keys.event, map[string]any{"role": "event"}},
		{&keys.wedding, map[string]any{"role": "event", "program": "wedding"}},
		{&keys.read, map[string]any{"role": "read", "program": "insurance"}},
	} {
		var made struct{ Secret string }
		s.mustCall(http.StatusCreated, "POST", s.admin, "/v1/keys", k.role, &made)
		*k.into = made.Secret
	}
	// Keys travel by a topic as links do; the answer does not wait for them.
	eventually(s.t, "the edge to know the keys", func() error {
		for _, key := range []string{keys.event, keys.wedding} {
			status, _, err := callAs(key, "POST", s.public, "/v1/events", []any{})
			if err != nil || status != http.StatusAccepted {
				return fmt.Errorf("an empty batch is answered %d, %v", status, err)
			}
		}
		return nil
	})
	return keys
}
