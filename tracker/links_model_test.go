package tracker

import (
	"cmp"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	"waymark/tracker/wire"
)

// linksModel is what Links should know, in the plainest way.
type linksModel struct {
	byNumber map[uint32]*wire.Link // as last written
	folding  map[string]bool
}

// live are the links that resolve, by number.
func (m *linksModel) live() []*wire.Link {
	var all []*wire.Link
	for _, l := range m.byNumber {
		if !l.Deleted {
			all = append(all, l)
		}
	}
	slices.SortFunc(all, func(a, b *wire.Link) int { return cmp.Compare(a.Number, b.Number) })
	return all
}

func (m *linksModel) resolve(host, code string) uint32 {
	for _, matches := range []func(*wire.Link) bool{
		func(l *wire.Link) bool { return l.Code == code },
		func(l *wire.Link) bool { return m.folding[l.Program] && strings.EqualFold(l.Code, code) },
	} {
		for _, domain := range []string{host, ""} {
			for _, l := range m.live() {
				if l.Domain == domain && matches(l) {
					return l.Number
				}
			}
		}
	}
	return 0
}

var (
	modelDomain  = rapid.SampledFrom([]string{"", "", "go.ex", "a.ex"})
	modelCode    = rapid.SampledFrom([]string{"a", "A", "b", "B", "ab", "aB", "AB", "ς", "Σ", "σ", "x/a", "go.ex/a"})
	modelProgram = rapid.SampledFrom([]string{"general", "wedding", "contest"})
)

// TestLinksModel writes as the admin does (one live link per key, rising
// numbers) and asks everything after every step.
func TestLinksModel(t *testing.T) {
	folder := t.TempDir()
	rapid.Check(t, func(t *rapid.T) {
		l := NewLinks(LinksOptions{CacheBytes: 1 << 20})
		defer l.Close()
		b := &linksBench{failer: t, Links: l}
		m := &linksModel{byNumber: map[uint32]*wire.Link{}, folding: map[string]bool{}}
		last := rapid.SampledFrom([]uint32{0, 1<<16 - 1}).Draw(t, "numbers after")
		write := func(link *wire.Link) {
			m.byNumber[link.Number] = link
			b.apply(link)
		}
		pick := func(t *rapid.T) *wire.Link {
			if len(m.live()) == 0 {
				t.Skip("no link")
			}
			return proto.Clone(rapid.SampledFrom(m.live()).Draw(t, "link")).(*wire.Link)
		}
		t.Repeat(map[string]func(*rapid.T){
			"create": func(t *rapid.T) {
				link := &wire.Link{Code: modelCode.Draw(t, "code"), Domain: modelDomain.Draw(t, "domain"), Program: modelProgram.Draw(t, "program")}
				if slices.ContainsFunc(m.live(), func(o *wire.Link) bool { return o.Code == link.Code && o.Domain == link.Domain }) {
					t.Skip("taken")
				}
				last++
				link.Number = last
				write(link)
			},
			"change": func(t *rapid.T) {
				link := pick(t)
				link.Url = fmt.Sprint("https://ex/", len(b.log))
				link.Program = modelProgram.Draw(t, "program")
				write(link)
			},
			"delete": func(t *rapid.T) {
				link := pick(t)
				link.Deleted = true
				write(link)
			},
			"program": func(t *rapid.T) {
				p := NewProgram(modelProgram.Draw(t, "program"))
				p.CaseInsensitive = rapid.Bool().Draw(t, "any case")
				m.folding[p.Name] = p.CaseInsensitive
				b.program(p)
			},
			"read anew": func(t *rapid.T) {
				fresh, err := l.Fresh()
				if err != nil {
					t.Fatal(err)
				}
				b.replay(fresh, 0)
				if err := l.Swap(fresh); err != nil {
					t.Fatal(err)
				}
			},
			"restart": func(t *rapid.T) {
				path := filepath.Join(folder, "snapshot")
				if err := l.WriteSnapshot(path, [16]byte{7}); err != nil {
					t.Fatal(err)
				}
				if topic, err := l.LoadSnapshot(path); err != nil || topic != [16]byte{7} {
					t.Fatal(topic, err)
				}
			},
			"": func(t *rapid.T) { m.compare(t, l, len(b.log)) },
		})
	})
}

func (m *linksModel) compare(t *rapid.T, l *Links, offset int) {
	for _, host := range []string{"", "go.ex", "a.ex", "b.ex"} {
		for _, code := range []string{"a", "A", "b", "B", "ab", "Ab", "aB", "AB", "ς", "Σ", "σ", "x/a", "X/a", "go.ex/a", "none"} {
			for range 2 {
				p := l.Resolve([]byte(host), []byte(code))
				want := m.resolve(host, code)
				if p == nil && want != 0 || p != nil && !proto.Equal(p.Link, m.byNumber[want]) {
					t.Fatalf("Resolve(%q, %q) is %v, want link %d", host, code, p, want)
				}
			}
		}
	}
	var live []uint32
	for _, link := range m.live() {
		live = append(live, link.Number)
		if got, ok := l.Get(link.Domain, link.Code); !ok || got.URL != link.Url || uint32(got.Number) != link.Number {
			t.Fatalf("Get(%q, %q) is %v, %v", link.Domain, link.Code, got, ok)
		}
	}
	last := uint32(0)
	for n, link := range m.byNumber {
		last = max(last, n)
		if p := l.ByNumber(LinkNumber(n)); p == nil || !proto.Equal(p.Link, link) {
			t.Fatalf("ByNumber(%d) is %v", n, p)
		}
	}
	var listed []uint32
	for after := LinkNumber(0); ; {
		page, next := l.List(after, 3, nil)
		for _, link := range page {
			listed = append(listed, uint32(link.Number))
		}
		if next == 0 {
			break
		}
		after = next
	}
	if !slices.Equal(listed, live) || l.Len() != len(live) {
		t.Fatalf("List is %v, Len %d, want %v", listed, l.Len(), live)
	}
	if l.Offset() != int64(offset) || uint32(l.MaxNumber()) != last {
		t.Fatalf("Offset %d, MaxNumber %d, want %d and %d", l.Offset(), l.MaxNumber(), offset, last)
	}
}
