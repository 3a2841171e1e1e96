package tracker

import (
	"testing"

	"waymark/tracker/wire"
)

func TestFront(t *testing.T) {
	f := new(front)
	if f.get(0) != nil {
		t.Error("an empty slot has a link")
	}
	one, other := &hotLink{hash: 7<<(64-frontBits) | 1}, &hotLink{hash: 7<<(64-frontBits) | 2} // of one slot
	f.put(one)
	const visits = 16_000
	found := 0
	for range visits {
		switch f.get(one.hash) {
		case one:
			found++
		case nil:
		default:
			t.Fatal("another link")
		}
		if f.get(other.hash) != nil {
			t.Fatal("a link for another hash")
		}
	}
	if passed := visits - found; passed < visits/32 || passed > visits/8 {
		t.Errorf("%d of %d visits went past the front, want a sixteenth", passed, visits)
	}
	f.put(other)
	for range 100 {
		if f.get(one.hash) != nil {
			t.Fatal("a link that was displaced is still there")
		}
	}
}

// What the front has is not answered once the link is another one, or none.
func TestFrontIsCurrent(t *testing.T) {
	b := newLinksBench(t)
	channel := func() string {
		if p := b.Resolve(nil, []byte("a")); p != nil {
			return p.Link.Channel
		}
		return "none"
	}
	for _, change := range []*wire.Link{
		{Number: 1, Code: "a", Channel: "first"}, {Number: 1, Code: "a", Channel: "second"},
		{Number: 1, Code: "a", Deleted: true}, {Number: 2, Code: "a", Channel: "third"},
	} {
		b.apply(change)
		want := change.Channel
		if change.Deleted {
			want = "none"
		}
		for range 100 {
			if got := channel(); got != want {
				t.Fatalf("channel %s, want %s", got, want)
			}
			b.cache.Wait()
		}
		k := b.linkKey(nil, []byte("a"))
		if hot := b.front.slot(k.hash).Load(); !change.Deleted && (hot == nil || hot.Link.Channel != want) {
			t.Error("the front has not learned of a hot link")
		}
	}
}
