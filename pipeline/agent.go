package pipeline

import (
	"strings"

	"github.com/mileusna/useragent"

	"waymark/tracker"
)

// agent is what a user agent string tells.
type agent struct {
	device  string // desktop, mobile, tablet, tv, other, bot
	browser string // "" where it is not one of knownBrowsers
	os      string
	reasons tracker.Reasons // Bot, Preview
}

// agents parses user agent strings. Its results are cached, so that an event
// costs one map look-up. It is not safe for concurrent use.
type agents struct {
	crawlers *crawlers
	cache    cache[string, agent]
}

// agentsCachedMax bounds the cache: strings have at most 512 bytes, so it
// holds no more than 16 MiB. A full generation is dropped, which costs
// re-parsing, some 5 µs a string.
const agentsCachedMax = 16_384

func newAgents() (*agents, error) {
	list, err := newCrawlers(crawlerList)
	if err != nil {
		return nil, err
	}
	return &agents{crawlers: list, cache: newCache[string, agent](agentsCachedMax)}, nil
}

// parse describes a user agent. It does not keep s.
func (a *agents) parse(s string) agent {
	if known, ok := a.cache.get(s); ok {
		return known
	}
	parsed := a.parseUncached(s)
	a.cache.put(strings.Clone(s), parsed)
	return parsed
}

func (a *agents) parseUncached(s string) agent {
	if strings.TrimSpace(s) == "" {
		return agent{device: "bot", reasons: tracker.Bot}
	}
	ua := useragent.Parse(s)
	described := agent{browser: browserName(&ua), os: osName(&ua), reasons: a.crawlers.match(s)}
	if described.reasons == 0 && ua.Bot {
		// Robots the list does not know yet: the library takes those that
		// name a page about themselves, as robots do and browsers never.
		described.reasons = tracker.Bot
	}
	described.device = deviceOf(&ua, described.reasons)
	return described
}

// tvMarks are found in the user agents of television sets and their boxes,
// which would else pass for phones or desktops.
var tvMarks = [...]string{
	"SMART-TV", "SmartTV", "Smart-TV", "AppleTV", "Apple TV", "GoogleTV", "Android TV", "BRAVIA", "Roku/", "Web0S", "webOS.TV",
	"HbbTV", "CrKey", "AFTT", "AFTM", "AFTS", "AFTB", "AFTN", "AFTK", "NetCast", "VIDAA", "PhilipsTV",
}

func deviceOf(ua *useragent.UserAgent, reasons tracker.Reasons) string {
	if reasons != 0 {
		return "bot"
	}
	for _, mark := range tvMarks {
		if strings.Contains(ua.String, mark) {
			return "tv"
		}
	}
	switch {
	case ua.Tablet, ua.OS == useragent.Android && !strings.Contains(ua.String, "Mobile") && ua.Name == useragent.Chrome:
		// Chrome on Android tablets says Android, but neither Tablet nor Mobile.
		return "tablet"
	case ua.Mobile:
		return "mobile"
	case ua.Desktop:
		return "desktop"
	}
	return "other"
}

// knownBrowsers are the names that reach ClickHouse. The library takes an
// unknown product for a browser, so without this the visitor could write any
// text into a column of few values.
var knownBrowsers = map[string]bool{
	useragent.Opera: true, useragent.OperaMini: true, useragent.OperaTouch: true, useragent.Chrome: true,
	useragent.HeadlessChrome: true, useragent.Firefox: true, useragent.InternetExplorer: true, useragent.Safari: true,
	useragent.Edge: true, useragent.Vivaldi: true, useragent.NetFront: true, useragent.SamsungBrowser: true,
	useragent.FacebookApp: true, useragent.InstagramApp: true, useragent.TiktokApp: true, useragent.BlackBerry: true,
	"Android browser": true, "Huawei Browser": true, "Miui Browser": true, "YaBrowser": true, "UCBrowser": true,
	"DuckDuckGo": true, "Brave": true, "coc_coc_browser": true, "Whale": true, "Electron": true,
}

// appMarks name browsers that the library takes for the engine below, in-app
// browsers above all.
var appMarks = [...]struct{ mark, browser string }{
	{"FBAN/", useragent.FacebookApp}, {"FB_IAB/", useragent.FacebookApp}, {"Instagram ", useragent.InstagramApp},
	{"MicroMessenger/", "WeChat"}, {" Line/", "Line"}, {"Snapchat/", "Snapchat"}, {"Snapchat ", "Snapchat"},
	{"[Pinterest/", "Pinterest App"}, {"LinkedInApp", "LinkedIn App"}, {"Twitter for", "X App"}, {"GSA/", "Google App"},
	{"DuckDuckGo/", "DuckDuckGo"}, {" Ddg/", "DuckDuckGo"}, {"Trident/7.0", useragent.InternetExplorer}, {" Silk/", "Silk"},
}

func browserName(ua *useragent.UserAgent) string {
	for _, app := range appMarks {
		if strings.Contains(ua.String, app.mark) {
			return app.browser
		}
	}
	switch {
	case ua.Name == useragent.MobileSafari:
		return useragent.Safari
	case knownBrowsers[ua.Name]:
		return ua.Name
	}
	return ""
}

// osName is the library's, which is one of few or empty.
func osName(ua *useragent.UserAgent) string {
	if ua.OS == useragent.CrOS {
		return useragent.ChromeOS
	}
	return ua.OS
}
