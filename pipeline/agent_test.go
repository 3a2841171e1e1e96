package pipeline

import (
	"encoding/json"
	"regexp"
	"strings"
	"testing"

	"waymark/tracker"
)

func testAgents(t testing.TB) *agents {
	t.Helper()
	a, err := newAgents()
	if err != nil {
		t.Fatal(err)
	}
	return a
}

type listedCrawler struct {
	Pattern   string   `json:"pattern"`
	Instances []string `json:"instances"`
	Tags      []string `json:"tags"`
}

func listedCrawlers(t testing.TB) []listedCrawler {
	t.Helper()
	var list []listedCrawler
	if err := json.Unmarshal(crawlerList, &list); err != nil {
		t.Fatal(err)
	}
	return list
}

// Every user agent that the list gives as an example is a robot.
func TestAgentsListedInstancesAreBots(t *testing.T) {
	a := testAgents(t)
	instances := 0
	for _, listed := range listedCrawlers(t) {
		for _, instance := range listed.Instances {
			instances++
			if parsed := a.parse(instance); parsed.reasons&tracker.Bot == 0 || parsed.device != "bot" {
				t.Errorf("%q (pattern %q) gives %+v, want a bot", instance, listed.Pattern, parsed)
			}
		}
	}
	if instances < 2000 {
		t.Errorf("the list has %d instances, want more than 2,000", instances)
	}
}

// The index finds what trying every pattern of the list finds.
func TestCrawlersMatchesLikeEveryPattern(t *testing.T) {
	index, err := newCrawlers(crawlerList)
	if err != nil {
		t.Fatal(err)
	}
	if len(index.always) > 5 {
		t.Errorf("%d patterns are tried on every user agent, want a handful", len(index.always))
	}
	type plain struct {
		pattern *regexp.Regexp
		reasons tracker.Reasons
	}
	var patterns []plain
	var subjects []string
	for i, listed := range listedCrawlers(t) {
		reasons := tracker.Bot
		if strings.Contains(strings.Join(listed.Tags, ","), "social-preview") {
			reasons |= tracker.Preview
		}
		patterns = append(patterns, plain{regexp.MustCompile(listed.Pattern), reasons})
		if i%10 == 0 && len(listed.Instances) > 0 {
			subject := listed.Instances[0]
			subjects = append(subjects, subject, strings.ToLower(subject), subject[len(subject)/3:], "x"+subject)
		}
	}
	for _, browser := range browsers {
		subjects = append(subjects, browser.agent)
	}
	for _, subject := range subjects {
		var want tracker.Reasons
		for _, p := range patterns {
			if want|p.reasons != want && p.pattern.MatchString(subject) {
				want |= p.reasons
			}
		}
		if got := index.match(subject); got != want {
			t.Errorf("%q gives %q, want %q", subject, got, want)
		}
	}
}

// browsers are user agents as browsers send them, with what they are.
var browsers = []struct{ agent, device, browser, os string }{
	{"Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.0.0 Safari/537.36", "desktop", "Chrome", "Windows"},
	{"Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36 Edg/140.0.0.0", "desktop", "Edge", "Windows"},
	{"Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:143.0) Gecko/20100101 Firefox/143.0", "desktop", "Firefox", "Windows"},
	{"Mozilla/5.0 (Windows NT 6.1; WOW64; Trident/7.0; rv:11.0) like Gecko", "desktop", "Internet Explorer", "Windows"},
	{"Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/139.0.0.0 Safari/537.36 OPR/122.0.0.0", "desktop", "Opera", "Windows"},
	{"Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/138.0.0.0 YaBrowser/25.8.0.0 Safari/537.36", "desktop", "YaBrowser", "Windows"},
	{"Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.6 Safari/605.1.15", "desktop", "Safari", "macOS"},
	{"Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.0.0 Safari/537.36", "desktop", "Chrome", "macOS"},
	{"Mozilla/5.0 (Macintosh; Intel Mac OS X 10.15; rv:142.0) Gecko/20100101 Firefox/142.0", "desktop", "Firefox", "macOS"},
	{"Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36", "desktop", "Chrome", "Linux"},
	{"Mozilla/5.0 (X11; Ubuntu; Linux x86_64; rv:143.0) Gecko/20100101 Firefox/143.0", "desktop", "Firefox", "Linux"},
	{"Mozilla/5.0 (X11; CrOS x86_64 14541.0.0) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/139.0.0.0 Safari/537.36", "desktop", "Chrome", "ChromeOS"},
	{"Mozilla/5.0 (iPhone; CPU iPhone OS 18_6 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.6 Mobile/15E148 Safari/604.1", "mobile", "Safari", "iOS"},
	{"Mozilla/5.0 (iPhone; CPU iPhone OS 18_6 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) CriOS/141.0.7390.41 Mobile/15E148 Safari/604.1", "mobile", "Chrome", "iOS"},
	{"Mozilla/5.0 (iPhone; CPU iPhone OS 18_6 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) FxiOS/143.0 Mobile/15E148 Safari/605.1.15", "mobile", "Firefox", "iOS"},
	{"Mozilla/5.0 (iPad; CPU OS 17_7 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.7 Mobile/15E148 Safari/604.1", "tablet", "Safari", "iOS"},
	{"Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.0.0 Mobile Safari/537.36", "mobile", "Chrome", "Android"},
	{"Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.0.0 Safari/537.36", "tablet", "Chrome", "Android"},
	{"Mozilla/5.0 (Android 15; Mobile; rv:143.0) Gecko/143.0 Firefox/143.0", "mobile", "Firefox", "Android"},
	{"Mozilla/5.0 (Android 14; Tablet; rv:142.0) Gecko/142.0 Firefox/142.0", "tablet", "Firefox", "Android"},
	{"Mozilla/5.0 (Linux; Android 14; SAMSUNG SM-S918B) AppleWebKit/537.36 (KHTML, like Gecko) SamsungBrowser/28.0 Chrome/130.0.0.0 Mobile Safari/537.36", "mobile", "Samsung Browser", "Android"},
	{"Mozilla/5.0 (Linux; Android 9; CUBOT X19) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120.0.0.0 Mobile Safari/537.36", "mobile", "Chrome", "Android"},
	{"Mozilla/5.0 (Linux; Android 13; CUBOT_NOTE_50) AppleWebKit/537.36 (KHTML, like Gecko) Version/4.0 Chrome/124.0.0.0 Mobile Safari/537.36", "mobile", "Chrome", "Android"},
	{"Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/139.0.0.0 Mobile Safari/537.36 OPR/91.0.0.0", "mobile", "Opera", "Android"},
	{"Mozilla/5.0 (Linux; Android 14; SM-A546B Build/UP1A.231005.007; wv) AppleWebKit/537.36 (KHTML, like Gecko) Version/4.0 Chrome/128.0.6613.146 Mobile Safari/537.36 [FB_IAB/FB4A;FBAV/480.0.0.54.88;]", "mobile", "Facebook App", "Android"},
	{"Mozilla/5.0 (iPhone; CPU iPhone OS 17_6_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/21G93 [FBAN/FBIOS;FBAV/479.0.0.46.108;FBBV/630000000;FBDV/iPhone14,5;FBMD/iPhone;FBSN/iOS;FBSV/17.6.1;FBSS/3;FBID/phone;FBLC/en_US;FBOP/5]", "mobile", "Facebook App", "iOS"},
	{"Mozilla/5.0 (iPhone; CPU iPhone OS 17_5_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/21F90 Instagram 340.0.3.27.98 (iPhone14,5; iOS 17_5_1; en_US; en; scale=3.00; 1170x2532; 617046513)", "mobile", "Instagram App", "iOS"},
	{"Mozilla/5.0 (Linux; Android 13; SM-G991B Build/TP1A.220624.014; wv) AppleWebKit/537.36 (KHTML, like Gecko) Version/4.0 Chrome/127.0.6533.103 Mobile Safari/537.36 Instagram 345.0.0.0.11 Android (33/13; 480dpi; 1080x2176; samsung; SM-G991B; o1s; exynos2100; en_GB; 630000000)", "mobile", "Instagram App", "Android"},
	{"Mozilla/5.0 (iPhone; CPU iPhone OS 17_6 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148 MicroMessenger/8.0.50(0x1800322b) NetType/WIFI Language/en", "mobile", "WeChat", "iOS"},
	{"Mozilla/5.0 (iPhone; CPU iPhone OS 17_6 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148 Safari Line/14.12.0", "mobile", "Line", "iOS"},
	{"Mozilla/5.0 (iPhone; CPU iPhone OS 17_6 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148 [LinkedInApp]/9.29.8962", "mobile", "LinkedIn App", "iOS"},
	{"Mozilla/5.0 (iPhone; CPU iPhone OS 17_6 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/21G80 Twitter for iPhone/10.50", "mobile", "X App", "iOS"},
	{"Mozilla/5.0 (iPhone; CPU iPhone OS 17_6 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148 [Pinterest/iOS]", "mobile", "Pinterest App", "iOS"},
	{"Mozilla/5.0 (iPhone; CPU iPhone OS 17_6 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) GSA/330.0.665236494 Mobile/15E148 Safari/604.1", "mobile", "Google App", "iOS"},
	{"Mozilla/5.0 (iPhone; CPU iPhone OS 17_6 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.6 Mobile/15E148 DuckDuckGo/7 Safari/605.1.15", "mobile", "DuckDuckGo", "iOS"},
	{"Mozilla/5.0 (SMART-TV; Linux; Tizen 7.0) AppleWebKit/537.36 (KHTML, like Gecko) 94.0.4606.31/7.0 TV Safari/537.36", "tv", "", "Linux"},
	{"Mozilla/5.0 (Web0S; Linux/SmartTV) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/94.0.4606.128 Safari/537.36 WebAppManager", "tv", "Chrome", "Linux"},
	{"Mozilla/5.0 (Linux; Android 9; AFTMM Build/PS7242) AppleWebKit/537.36 (KHTML, like Gecko) Silk/120.4.1 like Chrome/120.0.6099.230 Safari/537.36", "tv", "Silk", "Android"},
	{"Opera/9.80 (Android; Opera Mini/36.2.2254/119.132; U; id) Presto/2.12.423 Version/12.16", "mobile", "Opera Mini", "Android"},
	{"Mozilla/5.0 (PlayStation; PlayStation 5/6.50) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/15.4 Safari/605.1.15", "other", "Safari", ""},
}

func TestAgentsBrowsers(t *testing.T) {
	a := testAgents(t)
	for _, want := range browsers {
		got := a.parse(want.agent)
		if got.reasons != 0 {
			t.Errorf("%q is marked %v", want.agent, got.reasons)
		}
		if got.device != want.device || got.browser != want.browser || got.os != want.os {
			t.Errorf("%q\n got %q %q %q\nwant %q %q %q", want.agent, got.device, got.browser, got.os, want.device, want.browser, want.os)
		}
	}
}

func TestAgentsReasons(t *testing.T) {
	a := testAgents(t)
	for _, tc := range []struct {
		agent string
		want  tracker.Reasons
	}{
		{"", tracker.Bot},
		{"  ", tracker.Bot},
		{"curl/8.14.1", tracker.Bot},
		{"Wget/1.25.0", tracker.Bot},
		{"python-requests/2.32.4", tracker.Bot},
		{"Go-http-client/2.0", tracker.Bot},
		{"Mozilla/5.0 (compatible; bingbot/2.0; +http://www.bing.com/bingbot.htm)", tracker.Bot},
		{"WhatsApp/2.23.20.0 A", tracker.Bot | tracker.Preview},
		{"facebookexternalhit/1.1 (+http://www.facebook.com/externalhit_uatext.php)", tracker.Bot | tracker.Preview},
		{"TelegramBot (like TwitterBot)", tracker.Bot | tracker.Preview},
		{"Slackbot-LinkExpanding 1.0 (+https://api.slack.com/robots)", tracker.Bot | tracker.Preview},
		{"Mozilla/5.0 (compatible; Discordbot/2.0; +https://discordapp.com)", tracker.Bot | tracker.Preview},
		{"NobodyKnowsMe/1.0 (+https://example.com/about-our-robot)", tracker.Bot},
	} {
		if got := a.parse(tc.agent).reasons; got != tc.want {
			t.Errorf("%q is marked %q, want %q", tc.agent, got, tc.want)
		}
	}
}

// A visitor can't write text of its own into the columns of few values.
func TestAgentsNamesAreBounded(t *testing.T) {
	a := testAgents(t)
	for _, s := range []string{"Evil-1a2b3c/7.0", "Mozilla/5.0 (X11; Linux x86_64) Chrome/1.0 Safari/1.0 Evil-1a2b3c/7.0", "just some words", strings.Repeat("x", 512)} {
		if got := a.parse(s); strings.Contains(got.browser+got.os, "vil") || len(got.browser+got.os) > 32 {
			t.Errorf("%q gives %+v", s, got)
		}
	}
}

func FuzzAgents(f *testing.F) {
	for _, browser := range browsers {
		f.Add(browser.agent)
	}
	f.Add("curl/8.14.1 ((((/;;;)")
	a := testAgents(f)
	f.Fuzz(func(t *testing.T, s string) {
		first := a.parse(s)
		if again := a.parse(s); again != first {
			t.Errorf("%q gives %+v, then %+v", s, first, again)
		}
		if (first.device == "bot") != (first.reasons&tracker.Bot != 0) {
			t.Errorf("%q gives %+v", s, first)
		}
	})
}
