package tracker

import (
	"bytes"
	"encoding/hex"
	"net/netip"
	"strings"
	"testing"
	"unicode/utf8"

	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	"waymark/tracker/wire"
)

func goldenHit() (*Prepared, *hit) {
	program := NewProgram("general")
	p := prepare(&wire.Link{
		Number: 7, Code: "hi", Program: "general", Channel: "qr", Url: "https://x.example/",
		ReferrerId: "ada", ReferrerType: "user", UtmSource: "n",
	}, &program)
	return p, &hit{
		Identity: Identity{TimeMS: 1795000000123, Node: 2, Sequence: 5}, scan: true, reasons: Head | GPC,
		visitorID: 0x0123456789abcdef, address: netip.MustParseAddr("192.0.2.1"), userAgent: []byte("UA"),
		query: []byte("qr=1"), referer: []byte("https://r/"), language: []byte("de"),
	}
}

func TestHitGolden(t *testing.T) {
	p, h := goldenHit()
	// Field by field, as protoc --encode writes them.
	want := strings.Join([]string{
		"0a0767656e6572616c",         // program: general
		"1a027172",                   // channel: qr
		"2007",                       // link: 7
		"2a026869",                   // code: hi
		"3a03616461",                 // referrer_id: ada
		"420475736572",               // referrer_type: user
		"52047363616e",               // event: scan
		"5a07636c69636b6564",         // stage: clicked
		"60fbbcd9f29e34",             // time_ms
		"6805",                       // sequence: 5
		"7002",                       // node: 2
		"800144",                     // reasons: 4 + 64
		"8901efcdab8967452301",       // visitor_id
		"8a03016e",                   // utm_source: n
		"a20604c0000201",             // address
		"aa06025541",                 // user_agent: UA
		"b206047172" + "3d31",        // query: qr=1
		"ba060a68747470733a2f2f722f", // referer: https://r/
		"c206026465",                 // accept_language: de
	}, "")
	if got := hex.EncodeToString(h.appendTo(nil, p)); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

// TestHitDecodes compares with what the generated code makes of the bytes.
func TestHitDecodes(t *testing.T) {
	p, _ := goldenHit()
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.OneOf(rapid.String(), rapid.StringN(0, 2000, 3000)).Filter(utf8.ValidString)
		h := hit{
			Identity: Identity{
				TimeMS: rapid.Uint64Range(0, 1<<42-1).Draw(t, "time"), Node: rapid.Uint16().Draw(t, "node"),
				Sequence: rapid.Uint16Range(0, 16383).Draw(t, "sequence"),
			},
			reasons: Reasons(rapid.Uint32().Draw(t, "reasons")), visitorID: rapid.Uint64().Draw(t, "visitor"),
			userAgent: []byte(text.Draw(t, "agent")), query: []byte(text.Draw(t, "query")),
			referer: []byte(text.Draw(t, "referer")), language: []byte(text.Draw(t, "language")),
		}
		var address [16]byte
		copy(address[:], rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "address"))
		h.address = netip.AddrFrom16(address)
		var got wire.Event
		if err := proto.Unmarshal(h.appendTo(nil, p), &got); err != nil {
			t.Fatal(err)
		}
		want := &wire.Event{
			Program: "general", Channel: "qr", Link: 7, Code: "hi", ReferrerId: "ada", ReferrerType: "user", UtmSource: "n",
			Event: "click", Stage: "clicked", TimeMs: h.TimeMS, Sequence: uint32(h.Sequence), Node: uint32(h.Node),
			Reasons: uint32(h.reasons), VisitorId: h.visitorID, Address: address[:], UserAgent: got.UserAgent,
			Query: got.Query, Referer: got.Referer, AcceptLanguage: got.AcceptLanguage,
		}
		if !proto.Equal(&got, want) {
			t.Fatalf("got  %v\nwant %v", &got, want)
		}
		for _, kept := range []struct {
			got  string
			from []byte
			max  int
		}{{got.UserAgent, h.userAgent, 512}, {got.Query, h.query, 1024}, {got.Referer, h.referer, 512}, {got.AcceptLanguage, h.language, 64}} {
			if !bytes.HasPrefix(kept.from, []byte(kept.got)) || len(kept.got) > kept.max ||
				len(kept.got) < len(kept.from) && len(kept.got) < kept.max-3 {
				t.Fatalf("%q was kept of %q", kept.got, kept.from)
			}
		}
	})
}

func TestHitTexts(t *testing.T) {
	for name, test := range map[string]struct {
		text string
		want string
	}{
		"Latin-1":             {"Caf\xe9 1.0", "Caf? 1.0"},
		"cut rune":            {strings.Repeat("a", 63) + "é", strings.Repeat("a", 63)},
		"rune to the end":     {strings.Repeat("a", 62) + "éa", strings.Repeat("a", 62) + "é"},
		"cut after bad bytes": {strings.Repeat("a", 62) + "\xff\xffa", strings.Repeat("a", 62) + "??"},
		"only continuations":  {strings.Repeat("\x80", 70), strings.Repeat("?", 64)},
		"a true U+FFFD":       {"\ufffd\xf0\x9f", "\ufffd??"},
	} {
		var got wire.Event
		if err := proto.Unmarshal(appendText(nil, fieldUserAgent, []byte(test.text), 64), &got); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if got.UserAgent != test.want {
			t.Errorf("%s: %q, want %q", name, got.UserAgent, test.want)
		}
	}
}

func FuzzHitText(f *testing.F) {
	f.Add([]byte("Mozilla/5.0"), 64)
	f.Add([]byte("é\xff"), 1)
	f.Fuzz(func(t *testing.T, text []byte, bytesMax int) {
		bytesMax = min(max(bytesMax, 1), 2048)
		var got wire.Event
		if err := proto.Unmarshal(appendText(nil, fieldQuery, text, bytesMax), &got); err != nil || len(got.Query) > bytesMax {
			t.Errorf("%q, at most %d bytes: %q, %v", text, bytesMax, got.Query, err)
		}
	})
}
