package tracker

import (
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"waymark/tracker/wire"
)

// linksBench applies records with rising offsets.
type linksBench struct {
	failer
	*Links
	log [][2][]byte // key and value by offset
}

// failer is what *testing.T and *rapid.T have in common.
type failer interface {
	Helper()
	Fatal(args ...any)
	Fatalf(format string, args ...any)
}

func newLinksBench(t testing.TB) *linksBench {
	l := NewLinks(LinksOptions{CacheBytes: 1 << 20})
	t.Cleanup(l.Close)
	return &linksBench{failer: t, Links: l}
}

func (b *linksBench) apply(links ...*wire.Link) {
	b.Helper()
	for i := range links {
		value, err := links[i].MarshalVT()
		if err != nil {
			b.Fatal(err)
		}
		b.log = append(b.log, [2][]byte{[]byte(links[i].Domain + "/" + links[i].Code), value})
		b.replay(b.Links, len(b.log)-1)
	}
}

// replay applies the log to l from an offset on.
func (b *linksBench) replay(l *Links, from int) {
	b.Helper()
	for offset := from; offset < len(b.log); offset++ {
		if err := l.Apply(b.log[offset][0], b.log[offset][1], int64(offset)); err != nil {
			b.Fatal(err)
		}
	}
}

func (b *linksBench) program(p Program) {
	b.Helper()
	if err := b.ApplyProgram(p); err != nil {
		b.Fatal(err)
	}
}

// resolved is the number of the link that answers, 0 for none.
func resolved(l *Links, host, code string) LinkNumber {
	p := l.Resolve([]byte(host), []byte(code))
	if p == nil {
		return 0
	}
	return LinkNumber(p.Link.Number)
}

func (b *linksBench) wantResolved(host, code string, want LinkNumber) {
	b.Helper()
	for range 3 { // from the store, then perhaps from the cache
		if got := resolved(b.Links, host, code); got != want {
			b.Fatalf("Resolve(%q, %q) is link %d, want %d", host, code, got, want)
		}
		b.cache.Wait()
	}
}

func foldingProgram(name string) Program {
	p := NewProgram(name)
	p.CaseInsensitive = true
	return p
}

func TestLinkWireGolden(t *testing.T) {
	l := &wire.Link{Number: 300, Code: "hé", Domain: "go.ex", Url: "https://a.ex/", Program: "general", Deleted: true}
	// Tag (field << 3 | type), length, value, after the Protobuf encoding guide.
	want := "08" + "ac02" + // 300 = 0b10_0101100
		"12" + "03" + "68c3a9" +
		"1a" + "05" + "676f2e6578" +
		"22" + "0d" + "68747470733a2f2f612e65782f" +
		"2a" + "07" + "67656e6572616c" +
		"c801" + "01" // field 25
	got, err := l.MarshalVT()
	if err != nil || hex.EncodeToString(got) != want {
		t.Fatalf("encoded %x, %v, want %s", got, err, want)
	}
	if domain, code := recordKey(got); string(domain) != "go.ex" || string(code) != "hé" || recordNumber(got) != 300 {
		t.Fatalf("recordKey gives %q %q, recordNumber %d", domain, code, recordNumber(got))
	}
}

func TestResolveByHost(t *testing.T) {
	b := newLinksBench(t)
	b.apply(
		&wire.Link{Number: 1, Code: "a", Url: "https://all.ex"},
		&wire.Link{Number: 2, Code: "a", Domain: "go.ex", Url: "https://go.ex"},
		&wire.Link{Number: 3, Code: "only", Domain: "go.ex", Url: "https://only.ex"},
		&wire.Link{Number: 4, Code: "x/y", Url: "https://slash.ex"},
	)
	for _, c := range []struct {
		host, code string
		want       LinkNumber
	}{
		{"go.ex", "a", 2}, {"GO.ex:8080", "a", 2}, {"go.ex.", "a", 2}, {"go.ex.:443", "a", 2},
		{"other.ex", "a", 1}, {"", "a", 1}, {"[::1]:80", "a", 1}, {"::1", "a", 1}, {"go.ex/", "a", 1},
		{"go.ex", "only", 3}, {"other.ex", "only", 0}, {"", "only", 0}, {"", "go.ex/only", 0},
		{"go.ex", "x/y", 4}, {"x", "y", 0}, {"go.ex", "A", 0}, {"go.ex", "", 0},
		{strings.Repeat("h", 300), "a", 1}, {"go.ex", strings.Repeat("c", 256), 0},
	} {
		b.wantResolved(c.host, c.code, c.want)
	}
}

func TestResolveInAnyCase(t *testing.T) {
	b := newLinksBench(t)
	b.apply(
		&wire.Link{Number: 1, Code: "LOVE-7G", Program: "wedding"},
		&wire.Link{Number: 2, Code: "love-7g", Program: "general"},
		&wire.Link{Number: 3, Code: "Straße", Program: "wedding"},
		&wire.Link{Number: 4, Code: "ΣΑΣ", Program: "wedding", Domain: "go.ex"},
	)
	b.wantResolved("", "Love-7g", 0)
	b.program(foldingProgram("wedding"))
	b.apply(&wire.Link{Number: 5, Code: "\u212aelvin", Program: "wedding"})
	b.wantResolved("", "Love-7g", 1)
	b.wantResolved("", "love-7g", 2) // exact wins
	b.wantResolved("", "STRAßE", 3)
	b.wantResolved("", "STRASSE", 0) // simple folding only
	b.wantResolved("go.ex", "σας", 4)
	b.wantResolved("", "σας", 0)
	b.wantResolved("", "kelvin", 5)

	b.apply(&wire.Link{Number: 1, Code: "LOVE-7G", Program: "wedding", Deleted: true})
	b.wantResolved("", "Love-7g", 0)
	b.apply(&wire.Link{Number: 6, Code: "LOVE-7g", Program: "wedding"})
	b.wantResolved("", "Love-7g", 6)
	b.program(NewProgram("wedding"))
	b.wantResolved("", "Love-7g", 0)
	b.wantResolved("", "LOVE-7g", 6)
}

func TestOccupant(t *testing.T) {
	b := newLinksBench(t)
	b.program(foldingProgram("wedding"))
	b.apply(&wire.Link{Number: 1, Code: "Love", Program: "wedding"}, &wire.Link{Number: 2, Code: "gone", Deleted: true})
	for _, c := range []struct {
		link  Link
		taken bool
	}{
		{Link{Code: "Love", Program: "general"}, true},
		{Link{Code: "LOVE", Program: "wedding"}, true},
		{Link{Code: "LOVE", Program: "general"}, false},
		{Link{Code: "Love", Program: "wedding", Domain: "go.ex"}, false},
		{Link{Code: "gone", Program: "general"}, false},
	} {
		if _, taken := b.Occupant(&c.link); taken != c.taken {
			t.Errorf("Occupant(%q of %s) reports %v, want %v", c.link.Key(), c.link.Program, taken, c.taken)
		}
	}
}

func TestChangedAndDeletedLinks(t *testing.T) {
	b := newLinksBench(t)
	b.apply(&wire.Link{Number: 1, Code: "a", Url: "https://one.ex"})
	b.wantResolved("", "a", 1)
	b.apply(&wire.Link{Number: 1, Code: "a", Url: "https://two.ex"})
	if url := b.Resolve(nil, []byte("a")).Link.Url; url != "https://two.ex" {
		t.Fatalf("the link still leads to %s", url)
	}
	b.apply(&wire.Link{Number: 1, Code: "a", Url: "https://two.ex", Deleted: true})
	b.wantResolved("", "a", 0)
	if p := b.ByNumber(1); p == nil || p.Link.Url != "https://two.ex" || !p.Link.Deleted {
		t.Fatalf("ByNumber of a deleted link is %+v", p)
	}
	if _, ok := b.Get("", "a"); ok || b.Len() != 0 || b.MaxNumber() != 1 {
		t.Fatalf("Get finds a deleted link: %v, Len %d, MaxNumber %d", ok, b.Len(), b.MaxNumber())
	}
	b.apply(&wire.Link{Number: 2, Code: "a", Url: "https://three.ex"})
	b.wantResolved("", "a", 2)
	if p := b.ByNumber(3); p != nil {
		t.Fatalf("ByNumber of a number never seen is %+v", p)
	}
}

// Compaction keeps the last record of a key, so that a node may never see that
// a link was deleted before its code was used again.
func TestCodeOfAYoungerLink(t *testing.T) {
	b := newLinksBench(t)
	b.apply(&wire.Link{Number: 1, Code: "a"})
	b.wantResolved("", "a", 1)
	b.apply(&wire.Link{Number: 2, Code: "a"})
	b.wantResolved("", "a", 2)
	if all, _ := b.List(0, 10, nil); len(all) != 1 || all[0].Number != 2 || b.Len() != 1 {
		t.Fatalf("List is %v, Len %d", all, b.Len())
	}
	if b.ByNumber(1) == nil {
		t.Fatal("the older link is gone")
	}
	// A record of the older one, replayed, does not bring it back.
	b.apply(&wire.Link{Number: 1, Code: "a", Url: "https://old.ex"})
	b.wantResolved("", "a", 2)
	if all, _ := b.List(0, 10, nil); len(all) != 1 || all[0].Number != 2 || b.Len() != 1 {
		t.Fatalf("after the replay List is %v, Len %d", all, b.Len())
	}
	b.apply(&wire.Link{Number: 1, Code: "a", Deleted: true})
	b.wantResolved("", "a", 2)
}

// The record of a retired link has a key of its own, so that compaction keeps
// it. In whatever order it comes, the number resolves and the code does not.
func TestRetiredLink(t *testing.T) {
	retired := &wire.Link{Number: 1, Code: "a", Domain: "go.ex", Url: "https://one.ex", Deleted: true}
	young := &wire.Link{Number: 2, Code: "a", Domain: "go.ex", Url: "https://two.ex"}
	if key := RetiredKey(1); key != "#1" {
		t.Fatalf("RetiredKey(1) is %q", key)
	}
	for _, first := range []*wire.Link{retired, young} {
		b := newLinksBench(t)
		b.apply(&wire.Link{Number: 9, Code: "z"})
		records := [][2]any{{"#1", retired}, {"go.ex/a", young}}
		if first == young {
			slices.Reverse(records)
		}
		for i, r := range records {
			value, _ := r[1].(*wire.Link).MarshalVT()
			if err := b.Apply([]byte(r[0].(string)), value, int64(1+i)); err != nil {
				t.Fatal(err)
			}
		}
		b.wantResolved("go.ex", "a", 2)
		if p := b.ByNumber(1); p == nil || p.Link.Url != "https://one.ex" || !p.Link.Deleted || b.Len() != 2 {
			t.Errorf("the retired link is %+v, Len %d", p, b.Len())
		}
	}
	b := newLinksBench(t)
	for key, w := range map[string]*wire.Link{"#2": retired, "#1 ": retired, "#01": retired, "#02": young} {
		value, _ := w.MarshalVT()
		var unusable *RecordError
		if err := b.Apply([]byte(key), value, b.Offset()); !errors.As(err, &unusable) {
			t.Errorf("key %q of link %d: %v", key, w.Number, err)
		}
	}
}

func TestRetired(t *testing.T) {
	b := newLinksBench(t)
	b.apply(&wire.Link{Number: 1, Code: "a"}, &wire.Link{Number: 2, Code: "gone", Domain: "go.ex", Deleted: true})
	if w := b.Retired("", "a"); w != nil {
		t.Errorf("a link that resolves is retired: %v", w)
	}
	if w := b.Retired("", "gone"); w != nil {
		t.Errorf("a code that was never used had %v", w)
	}
	if w := b.Retired("go.ex", "gone"); w == nil || w.Number != 2 || !w.Deleted {
		t.Errorf("the deleted link is %v", w)
	}
}

func TestApplyIgnoresWhatWasApplied(t *testing.T) {
	b := newLinksBench(t)
	b.apply(&wire.Link{Number: 1, Code: "a", Url: "https://one.ex"}, &wire.Link{Number: 1, Code: "a", Url: "https://two.ex"})
	if err := b.Apply(b.log[0][0], b.log[0][1], 0); err != nil {
		t.Fatal(err)
	}
	if b.Offset() != 2 || b.Resolve(nil, []byte("a")).Link.Url != "https://two.ex" {
		t.Fatalf("Offset %d, link %v", b.Offset(), b.Resolve(nil, []byte("a")).Link)
	}
}

func TestApplyCorruptRecords(t *testing.T) {
	encode := func(l *wire.Link) []byte {
		value, _ := l.MarshalVT()
		return value
	}
	good := encode(&wire.Link{Number: 9, Code: "b"})
	cases := map[string]struct {
		key   string
		value []byte
	}{
		"tombstone":       {"/b", nil},
		"no protobuf":     {"/b", []byte("hello")},
		"cut short":       {"/b", good[:len(good)-1]},
		"no number":       {"/b", encode(&wire.Link{Code: "b"})},
		"no code":         {"/", encode(&wire.Link{Number: 9})},
		"long code":       {"/" + strings.Repeat("b", 256), encode(&wire.Link{Number: 9, Code: strings.Repeat("b", 256)})},
		"long domain":     {strings.Repeat("b", 254) + "/b", encode(&wire.Link{Number: 9, Code: "b", Domain: strings.Repeat("b", 254)})},
		"another key":     {"/c", good},
		"no key":          {"", good},
		"key of a domain": {"b", good},
		"too long":        {"/b", encode(&wire.Link{Number: 9, Code: "b", Url: strings.Repeat("u", 1<<16)})},
		"number of /a":    {"/b", encode(&wire.Link{Number: 1, Code: "b"})},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			registry := prometheus.NewRegistry()
			l := NewLinks(LinksOptions{Registerer: registry})
			defer l.Close()
			if err := l.Apply([]byte("/a"), encode(&wire.Link{Number: 1, Code: "a"}), 4); err != nil {
				t.Fatal(err)
			}
			err := l.Apply([]byte(c.key), c.value, 5)
			var bad *RecordError
			if !errors.As(err, &bad) || bad.Offset != 5 || bad.Key != c.key {
				t.Fatalf("Apply gives %v", err)
			}
			if l.Offset() != 6 || l.Len() != 1 || resolved(l, "", "a") != 1 || resolved(l, "", "b") != 0 {
				t.Fatalf("Offset %d, Len %d", l.Offset(), l.Len())
			}
			if n := gathered(t, registry)["waymark_links_corrupt_records_total"]; n != 1 {
				t.Fatalf("%v corrupt records counted", n)
			}
		})
	}
}

// Records of another producer may have their fields in any order and fields of
// a later version.
func TestApplyRecordOutOfOrder(t *testing.T) {
	l := newLinksBench(t)
	value := []byte{
		0x22, 1, 'u', // url
		0x1a, 1, 'd', // domain
		0x12, 1, 'x', // code, overwritten below
		0xf8, 0x06, 7, // field 111
		0x12, 1, 'c', 0x08, 5, // code, number
	}
	if err := l.Apply([]byte("d/c"), value, 0); err != nil {
		t.Fatal(err)
	}
	l.wantResolved("d", "c", 5)
	record, _ := l.set.Load().store.read(nil, 5)
	if want := []byte{0x08, 5, 0x12, 1, 'c', 0x1a, 1, 'd', 0x22, 1, 'u', 0xf8, 0x06, 7}; !slices.Equal(record, want) {
		t.Fatalf("stored as %x, want %x", record, want)
	}
}

func TestResolveIsCounted(t *testing.T) {
	registry := prometheus.NewRegistry()
	l := NewLinks(LinksOptions{Registerer: registry})
	defer l.Close()
	b := &linksBench{failer: t, Links: l}
	b.apply(&wire.Link{Number: 1, Code: "a"}, &wire.Link{Number: 2, Code: "b"}, &wire.Link{Number: 2, Code: "b", Deleted: true})
	resolved(l, "", "a") // store
	l.cache.Wait()
	for range 5 {
		resolved(l, "", "a") // cache
	}
	resolved(l, "", "b") // deleted, still in the filter
	for i := range 1000 {
		resolved(l, "", fmt.Sprintf("unknown-%d", i))
	}
	got := gathered(t, registry)
	for series, want := range map[string]float64{
		"waymark_resolve_total store": 1, "waymark_resolve_total cache": 5,
		"waymark_resolve_total miss": 1, "waymark_resolve_total filtered": 1000,
		"waymark_links_live_count": 1, "waymark_links_corrupt_records_total": 0,
	} {
		if got[series] != want {
			t.Errorf("%s is %v, want %v", series, got[series], want)
		}
	}
}

// gathered is the value of every series by name and label value.
func gathered(t *testing.T, registry *prometheus.Registry) map[string]float64 {
	t.Helper()
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	values := make(map[string]float64)
	for _, family := range families {
		for _, m := range family.Metric {
			name := family.GetName()
			for _, label := range m.Label {
				name += " " + label.GetValue()
			}
			values[name] = m.GetCounter().GetValue() + m.GetGauge().GetValue()
		}
	}
	return values
}

func TestProgramChangeReachesHotLinks(t *testing.T) {
	b := newLinksBench(t)
	b.apply(&wire.Link{Number: 1, Code: "a", Program: "wedding"})
	b.wantResolved("", "a", 1)
	if days := b.Resolve(nil, []byte("a")).Program.CookieLifetimeDays; days != 90 {
		t.Fatalf("a programme not yet known gives %d days", days)
	}
	p := NewProgram("wedding")
	p.CookieLifetimeDays = 7
	b.program(p)
	if days := b.Resolve(nil, []byte("a")).Program.CookieLifetimeDays; days != 7 {
		t.Fatalf("the programme changed to 7 days, the link has %d", days)
	}
	if all := b.Programs(); len(all) != 2 || all[0].Name != "general" || all[1].Name != "wedding" {
		t.Fatalf("Programs is %v", all)
	}
}

// A topic that was made anew may use the numbers of the old one.
func TestSwapReplacesHotLinks(t *testing.T) {
	b := newLinksBench(t)
	b.apply(&wire.Link{Number: 1, Code: "a", Url: "https://old.ex", Program: "wedding"})
	b.wantResolved("", "a", 1)
	fresh, err := b.Fresh()
	if err != nil {
		t.Fatal(err)
	}
	value, _ := (&wire.Link{Number: 1, Code: "a", Url: "https://new.ex", Program: "wedding"}).MarshalVT()
	if err := fresh.Apply([]byte("/a"), value, 0); err != nil {
		t.Fatal(err)
	}
	b.program(foldingProgram("wedding")) // fresh is not told
	b.wantResolved("", "A", 1)
	if err := b.Swap(fresh); err != nil {
		t.Fatal(err)
	}
	for _, code := range []string{"a", "A"} {
		if p := b.Resolve(nil, []byte(code)); p == nil || p.Link.Url != "https://new.ex" {
			t.Errorf("%s is %v", code, p)
		}
	}
}

// Two keys may share a hash; here one is given the entry of the other.
func TestCacheIsAskedForTheKey(t *testing.T) {
	b := newLinksBench(t)
	b.program(foldingProgram("wedding"))
	b.apply(&wire.Link{Number: 1, Code: "a"}, &wire.Link{Number: 2, Code: "b", Program: "wedding"}, &wire.Link{Number: 3, Code: "b", Domain: "go.ex"})
	set := b.set.Load()
	hotOf := func(n LinkNumber) *hotLink {
		return &hotLink{
			generation: set.generation, programs: b.programs.epoch.Load(), version: set.store.entries.get(n).version(),
			Prepared: *b.ByNumber(n),
		}
	}
	exact := b.linkKey(nil, []byte("b"))
	folded := b.foldedKey(&exact)
	onDomain := b.linkKey([]byte("go.ex"), []byte("b"))
	for hash, hot := range map[uint64]*hotLink{exact.hash: hotOf(1), folded.hash: hotOf(1), onDomain.hash: hotOf(2)} {
		if !b.isCurrent(set, hot) {
			t.Fatal("the entry is stale")
		}
		hot.hash = hash
		b.front.put(hot)
		b.cache.Set(hash, hot, 1)
	}
	b.cache.Wait()
	for _, c := range []struct {
		host, code string
		want       LinkNumber
	}{{"", "b", 2}, {"", "B", 2}, {"go.ex", "b", 3}} {
		if got := resolved(b.Links, c.host, c.code); got != c.want {
			t.Errorf("Resolve(%q, %q) is link %d, want %d", c.host, c.code, got, c.want)
		}
	}
}

func TestListIsBounded(t *testing.T) {
	b := newLinksBench(t)
	for n := uint32(1); n <= 7; n++ {
		b.apply(&wire.Link{Number: n * 30_000, Code: fmt.Sprint("c", n), Deleted: n == 3})
	}
	var numbers []LinkNumber
	pages := 0
	for after, more := LinkNumber(0), true; more; pages++ {
		links, next := b.List(after, 2, func(l *wire.Link) bool { return l.Code != "c5" })
		for _, l := range links {
			numbers = append(numbers, l.Number)
		}
		after, more = next, next != 0
	}
	if want := []LinkNumber{30_000, 60_000, 120_000, 180_000, 210_000}; !slices.Equal(numbers, want) {
		t.Fatalf("listed %v, want %v", numbers, want)
	}
	if pages != 3 { // to 60,000, to 160,000, to the end
		t.Fatalf("%d pages", pages)
	}
	if links, next := b.List(210_000, 2, nil); len(links) != 0 || next != 0 {
		t.Fatalf("after the end: %v, next %d", links, next)
	}
	if _, next := b.List(0, 2, func(*wire.Link) bool { return false }); next != listScan {
		t.Fatalf("a page looked at %d numbers", next)
	}
	// A number far away takes no longer.
	b.apply(&wire.Link{Number: 1<<32 - 1, Code: "far"})
	_, next := b.List(220_000, 2, nil)
	if links, next := b.List(next, 2, nil); len(links) != 1 || links[0].Code != "far" || next != 0 {
		t.Fatalf("after the gap: %v, next %d", links, next)
	}
}
