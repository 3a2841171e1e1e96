package tracker

import (
	"math/rand/v2"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// Computed with another implementation of AES, HKDF and base64url.
var goldenClickIDs = []struct {
	current string
	click   Click
	id      string
}{
	{"0", Click{Identity{TimeMS: 1795000000123}, 1}, "MxCmwdCdrRt2gH8ZL-E8ZQ"},
	{"3", Click{Identity{TimeMS: 1795000000123, Node: 65535, Sequence: 16383}, 4294967295}, "XcgdOFinLu0SiU55qqpKJz"},
}

var goldenNow = time.UnixMilli(1795000000123)

func TestClickIDGolden(t *testing.T) {
	for _, golden := range goldenClickIDs {
		ids := NewClickIDs(goldenRing(t, golden.current))
		if got := string(ids.Append([]byte("wm_click="), golden.click)); got != "wm_click="+golden.id {
			t.Errorf("Append = %s, want wm_click=%s", got, golden.id)
		}
		// A ring with another current key still reads it.
		for _, current := range []string{"0", "3"} {
			got, err := NewClickIDs(goldenRing(t, current)).parse([]byte(golden.id), goldenNow)
			if err != nil || got != golden.click {
				t.Errorf("parse(%s) with current key %s = %v, %v, want %v", golden.id, current, got, err, golden.click)
			}
		}
	}
}

func TestClickIDRoundTrip(t *testing.T) {
	ids := NewClickIDs(goldenRing(t, "3"))
	rapid.Check(t, func(t *rapid.T) {
		click := Click{
			Identity: Identity{
				TimeMS:   rapid.Uint64Range(hitTimeMinMS, 1795000000123).Draw(t, "time"),
				Node:     rapid.Uint16().Draw(t, "node"),
				Sequence: rapid.Uint16Range(0, 16383).Draw(t, "sequence"),
			},
			Link: LinkNumber(rapid.Uint32Min(1).Draw(t, "link")),
		}
		id := ids.Append(nil, click)
		if len(id) != ClickIDLength {
			t.Fatalf("%q has %d characters", id, len(id))
		}
		if got, err := ids.parse(id, goldenNow); err != nil || got != click {
			t.Fatalf("parse(%q) = %v, %v, want %v", id, got, err, click)
		}
	})
}

func TestClickIDRefuses(t *testing.T) {
	ids := NewClickIDs(goldenRing(t, "0"))
	good := goldenClickIDs[0].id
	for name, id := range map[string]string{
		"empty":       "",
		"short":       good[:21],
		"long":        good + "A",
		"padding":     good[:20] + "==",
		"newline":     good[:21] + "\n",
		"plus":        "+" + good[1:],
		"changed":     "N" + good[1:],
		"other key":   good[:21] + "T", // the same two bits, key 3
		"no such key": good[:21] + "S",
		"no link":     string(ids.Append(nil, Click{Identity{TimeMS: 1795000000123}, 0})),
		"too early":   string(ids.Append(nil, Click{Identity{TimeMS: hitTimeMinMS - 1}, 1})),
		"too late":    string(ids.Append(nil, Click{Identity{TimeMS: 1795000000123 + 300_001}, 1})),
	} {
		if click, err := ids.parse([]byte(id), goldenNow); err == nil {
			t.Errorf("%s: %q was read as %v", name, id, click)
		}
	}
	if _, err := ids.parse(ids.Append(nil, Click{Identity{TimeMS: 1795000000123 + 300_000}, 1}), goldenNow); err != nil {
		t.Errorf("five minutes ahead: %v", err)
	}
}

// TestClickIDForgeries tries random ids, of which one in 16 million passes the
// zeros, and one in five of those has a time that makes sense.
func TestClickIDForgeries(t *testing.T) {
	ids := NewClickIDs(goldenRing(t, "0"))
	random := rand.New(rand.NewPCG(1, 2))
	passed := 0
	var id [ClickIDLength]byte
	for range 200_000 {
		for i := range id {
			id[i] = base64URL[random.IntN(64)]
		}
		if _, err := ids.parse(id[:], goldenNow); err == nil {
			passed++
		}
	}
	if passed > 0 {
		t.Errorf("%d of 200,000 random ids passed", passed)
	}
}

func FuzzClickID(f *testing.F) {
	for _, golden := range goldenClickIDs {
		f.Add([]byte(golden.id))
	}
	f.Fuzz(func(t *testing.T, id []byte) {
		click, err := NewClickIDs(goldenRing(t, "0")).parse(id, goldenNow)
		if err != nil {
			return
		}
		for _, current := range []string{"0", "3"} {
			if string(NewClickIDs(goldenRing(t, current)).Append(nil, click)) == string(id) {
				return
			}
		}
		t.Errorf("%q was read as %v, which is written otherwise", id, click)
	})
}
