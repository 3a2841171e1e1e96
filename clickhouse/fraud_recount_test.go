package clickhouse

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"
)

// suspect is a referral as the recount sees it.
type suspect struct {
	program, referrer, referee string
	verified                   bool
	began                      fact   // its signup, else its first action
	click, converted           uint64 // ms, 0 for none
	visitors                   map[uint64]bool
	address                    [2]uint64 // day, hash
	network                    uint32
	datacenter                 bool
}

// account is what betrays a user.
type account struct {
	email, name string
	visitors    map[uint64]bool
}

// plainText is a text without case and doubled spaces.
func plainText(s string) string { return strings.ToLower(strings.Join(strings.Fields(s), " ")) }

// parts of an e-mail address: what counts of the local part, and the domain.
func (a *account) parts() (local, domain string) {
	local, domain, _ = strings.Cut(a.email, "@")
	local, _, _ = strings.Cut(local, "+")
	return strings.ReplaceAll(local, ".", ""), domain
}

func (a *account) mailbox() string {
	local, domain := a.parts()
	if local == "info" {
		return local + "@" + domain
	}
	return local
}

// distance is that of Levenshtein by its recursion, with a table.
func distance(a, b []rune, seen map[[2]int]int) int {
	key := [2]int{len(a), len(b)}
	if known, ok := seen[key]; ok {
		return known
	}
	var d int
	switch {
	case len(a) == 0:
		d = len(b)
	case len(b) == 0:
		d = len(a)
	case a[0] == b[0]:
		d = distance(a[1:], b[1:], seen)
	default:
		d = 1 + min(distance(a[1:], b, seen), distance(a, b[1:], seen), distance(a[1:], b[1:], seen))
	}
	seen[key] = d
	return d
}

func alike(a, b string) float64 {
	if a == "" || b == "" {
		return 0
	}
	x, y := []rune(a), []rune(b)
	return 1 - float64(distance(x, y, map[[2]int]int{}))/float64(max(len(x), len(y)))
}

// suspects groups the actions of the recount by who referred whom, and the
// verified ones by user.
func (r *recount) suspects() (all []*suspect, accounts map[partyKey]*account) {
	byPair, accounts := map[[3]string]*suspect{}, map[partyKey]*account{}
	for _, verified := range []bool{true, false} {
		for _, f := range r.facts {
			if f.Stage == "clicked" || f.Stage == "invited" || f.Event.Event == "refund" || unverified(f.Event) == verified {
				continue
			}
			if f.UserId != "" && verified {
				key := partyKey{f.program, f.party}
				if accounts[key] == nil {
					accounts[key] = &account{visitors: map[uint64]bool{}}
				}
				accounts[key].meet(f)
			}
			if f.referrer == "" {
				continue
			}
			key := [3]string{f.program, f.referrer, f.party}
			s := byPair[key]
			if s != nil && s.verified != verified {
				continue // what is verified speaks alone
			}
			if s == nil {
				s = &suspect{program: f.program, referrer: f.referrer, referee: f.party, verified: verified, began: f, visitors: map[uint64]bool{}}
				byPair[key] = s
				all = append(all, s)
			}
			s.meet(f)
		}
	}
	return all, accounts
}

func visitorOf(f fact) uint64 {
	if f.VisitorId != 0 || f.visit == f.Event {
		return f.VisitorId
	}
	return f.visit.VisitorId
}

// meet adds an action; they come in the order of time.
func (a *account) meet(f fact) {
	if email := plainText(f.Properties["email"]); a.email == "" {
		a.email = email
	}
	if name := plainText(f.Properties["name"]); a.name == "" {
		a.name = name
	}
	if v := visitorOf(f); v != 0 {
		a.visitors[v] = true
	}
}

func (s *suspect) meet(f fact) {
	if s.began.Stage != "signed_up" && f.Stage == "signed_up" {
		s.began = f
	}
	if f.click.time != 0 && f.click.time <= f.TimeMs && (s.click == 0 || f.click.time < s.click) {
		s.click = f.click.time
	}
	if f.Stage == "converted" && s.converted == 0 {
		s.converted = f.TimeMs
	}
	if v := visitorOf(f); v != 0 {
		s.visitors[v] = true
	}
	if s.address[1] == 0 && f.visit.AddressHash != 0 {
		s.address = [2]uint64{f.visit.TimeMs / 86_400_000, f.visit.AddressHash}
	}
	if s.network == 0 {
		s.network = f.visit.Network
	}
	s.datacenter = s.datacenter || f.visit.Reasons&16 != 0
}

func (s *suspect) day() uint64 { return s.began.TimeMs / 86_400_000 }

// since are the seconds from the click to a time, if there was one.
func (s *suspect) since(at uint64) (float64, bool) {
	return (float64(at) - float64(s.click)) / 1000, s.click != 0 && at >= s.click
}

// measures are the signals of a referral among those of all.
func (s *suspect) measures(all []*suspect, accounts map[partyKey]*account, clicks map[[2]string]float64) map[string]any {
	own := slices.DeleteFunc(slices.Clone(all), func(o *suspect) bool {
		return o.program != s.program || o.referrer != s.referrer || o.verified != s.verified
	})
	slices.SortFunc(own, func(a, b *suspect) int { return cmp.Compare(a.began.TimeMs, b.began.TimeMs) })
	count := func(is func(o *suspect) bool) float64 {
		n := 0.
		for _, o := range own {
			if is(o) {
				n++
			}
		}
		return n
	}
	none := &account{}
	me, by := cmp.Or(accounts[partyKey{s.program, s.referee}], none), cmp.Or(accounts[partyKey{s.program, s.referrer}], none)
	m := map[string]any{
		"velocity":   count(func(o *suspect) bool { return o.day() == s.day() }),
		"regularity": regularity(own, s),
		"datacenter": map[bool]float64{true: 1}[s.datacenter],
		"flooding":   flooding(own, clicks[[2]string{s.program, s.referrer}]),
		"injection":  injection(all, s),
		"speed":      nil,
		"address":    nil,
		"similarity": nil,
	}
	if s.address[1] != 0 {
		m["address"] = count(func(o *suspect) bool { return o.address == s.address })
	}
	m["shared_network"] = nil
	if s.network != 0 {
		m["shared_network"] = count(func(o *suspect) bool { return o.day() == s.day() && o.network == s.network })
	}
	if seconds, ok := s.since(s.converted); ok && s.converted != 0 {
		m["speed"] = seconds / 60
	}
	if me.mailbox() != "" || me.name != "" {
		best := max(alike(me.mailbox(), by.mailbox()), alike(me.name, by.name))
		for _, o := range own {
			if other := accounts[partyKey{o.program, o.referee}]; o != s && other != nil {
				best = max(best, alike(me.mailbox(), other.mailbox()), alike(me.name, other.name))
			}
		}
		m["similarity"] = best
	}
	m["self_referral"], m["shared_device"] = s.same(me, by), s.devices(me, accounts)
	return m
}

// same is 1 where the referee is the referrer.
func (s *suspect) same(me, by *account) float64 {
	for v := range s.visitors {
		if by.visitors[v] {
			return 1
		}
	}
	a, at := me.parts()
	b, of := by.parts()
	if s.referee == s.referrer || me.email != "" && a == b && at == of {
		return 1
	}
	return 0
}

// devices is how many accounts the busiest of the referee's visitors has.
func (s *suspect) devices(me *account, accounts map[partyKey]*account) any {
	most := 0.
	for v := range me.visitors {
		n := 0.
		for key, a := range accounts {
			if key.program == s.program && a.visitors[v] {
				n++
			}
		}
		most = max(most, n)
	}
	if most == 0 {
		return nil
	}
	return most
}

// regularity by the textbook: mean, then the mean of squared differences.
func regularity(own []*suspect, s *suspect) any {
	best, known := 0., false
	for _, daily := range []bool{false, true} {
		var gaps []float64
		for i := 1; i < len(own); i++ {
			if !daily || own[i].day() == s.day() && own[i-1].day() == s.day() {
				gaps = append(gaps, float64(own[i].began.TimeMs-own[i-1].began.TimeMs))
			}
		}
		if len(gaps) < 5 {
			continue
		}
		known = true
		mean, variance := 0., 0.
		for _, g := range gaps {
			mean += g / float64(len(gaps))
		}
		for _, g := range gaps {
			variance += (g - mean) * (g - mean) / float64(len(gaps))
		}
		if mean > 0 {
			best = max(best, 1-math.Sqrt(variance)/mean)
		}
	}
	if !known {
		return nil
	}
	return best
}

// middle is the upper of the two in the middle.
func middle(values []float64) float64 {
	slices.Sort(values)
	return values[len(values)/2]
}

func flooding(own []*suspect, clicks float64) any {
	var lags []float64
	for _, o := range own {
		if lag, ok := o.since(o.began.TimeMs); ok {
			lags = append(lags, lag)
		}
	}
	switch {
	case len(lags) < 5:
		return nil
	case middle(lags) < 86_400:
		return 0.
	}
	return clicks / float64(len(own))
}

func injection(all []*suspect, s *suspect) any {
	mine, ok := s.since(s.converted)
	if !ok || s.converted == 0 {
		return nil
	}
	byReferrer := map[string][]float64{}
	for _, o := range all {
		if seconds, ok := o.since(o.converted); ok && o.converted != 0 && o.program == s.program && o.verified == s.verified {
			byReferrer[o.referrer] = append(byReferrer[o.referrer], seconds)
		}
	}
	var medians []float64
	for _, seconds := range byReferrer {
		medians = append(medians, middle(seconds))
	}
	if len(medians) >= 5 && mine*10 > middle(medians) {
		return nil
	}
	return mine
}

// crowded is a world in which people share devices, addresses and names.
func crowded(seed uint64, hits int) *world {
	w := newWorld(seed, hits)
	given, family := []string{"Anna", "Anne", "Hanna", "Jörg", "Jürgen", "info"}, []string{"Berg", "Berger", "Bergmann", "Stein", "Steiner"}
	for _, e := range w.events {
		if e.ReferrerId != "" && e.UserId != e.ReferrerId {
			e.ReferrerId = "u" + e.ReferrerId[len(e.ReferrerId)-1:]
		}
		if e.Stage == "converted" && e.ClickTimeMs != 0 && w.random.IntN(3) == 0 {
			for e.TimeMs = e.ClickTimeMs + uint64(1+w.random.IntN(60_000)); w.used[e.TimeMs]; e.TimeMs++ {
			}
			w.used[e.TimeMs] = true
		}
		if e.Stage == "clicked" {
			e.AddressHash, e.VisitorId = uint64(w.random.IntN(9)), uint64(w.random.IntN(90))
			if w.random.IntN(4) == 0 {
				e.Network, e.VisitorId = 0, 0
			}
			continue
		}
		if e.Stage != "invited" && w.random.IntN(2) == 0 {
			a, b := pick(w, given), pick(w, family)
			e.Properties = map[string]string{"name": a + "  " + b}
			if w.random.IntN(2) == 0 {
				e.Properties["email"] = fmt.Sprintf("%s.%s+%d@%s.example", a, b, w.random.IntN(3), pick(w, []string{"a", "b"}))
				if a == "info" {
					e.Properties["email"] = "info@" + b + ".example"
				}
			}
		}
	}
	return w
}

func TestFraudAgainstRecount(t *testing.T) {
	w := crowded(11, 4000)
	db := openTestDB(t)
	insertAll(t, db, w.blocks(3))
	r := w.recount()
	all, accounts := r.suspects()
	clicks := map[[2]string]float64{}
	for _, e := range w.events {
		if e.Stage == "clicked" && e.Reasons&4 == 0 {
			clicks[[2]string{e.Program, e.ReferrerId}]++
		}
	}
	var want want
	seen, triggered := map[string]int{}, map[string]int{}
	for _, s := range all {
		for signal, value := range s.measures(all, accounts, clicks) {
			want = append(want, []any{s.program, s.referrer, s.referee, time.UnixMilli(int64(s.began.TimeMs)).UTC(), signal, value})
			if value != nil {
				seen[signal]++
			}
		}
	}
	compareSets(t, "the signals", view(t, db, "SELECT program, referrer, referee, referred_at, signal, value FROM waymark.fraud_signals"), want)
	for _, row := range view(t, db, "SELECT signal FROM waymark.fraud_signals WHERE triggered").Rows {
		triggered[row[0].(string)]++
	}
	if len(seen) != 11 || len(triggered) < 6 || seen["injection"] == seen["speed"] {
		t.Errorf("measured %v, triggered %v", seen, triggered)
	}
}
