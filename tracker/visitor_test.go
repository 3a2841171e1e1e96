package tracker

import (
	"slices"
	"testing"
	"time"
)

func TestVisitorClick(t *testing.T) {
	const hour = 3_600_000
	var v Visitor
	click := func(link LinkNumber, ms uint64, repeat bool, want ...Touch) {
		t.Helper()
		if got := v.Click(link, ms, 24*time.Hour); got != repeat {
			t.Errorf("click on %d at %d: repeat %v", link, ms, got)
		}
		if !slices.Equal(v.Touches(), want) {
			t.Errorf("touches %v, want %v", v.Touches(), want)
		}
	}
	a0, b1 := Touch{1, 100 * hour, 100 * hour}, Touch{2, 101 * hour, 101 * hour}
	click(1, 100*hour, false, a0)
	click(2, 101*hour, false, a0, b1)
	a2 := Touch{1, 102 * hour, 100 * hour}
	click(1, 102*hour, true, b1, a2)
	// The window counts from the click that was counted, not from the repeat.
	a3 := Touch{1, 124*hour - 1, 100 * hour}
	click(1, 124*hour-1, true, b1, a3)
	a4 := Touch{1, 124 * hour, 124 * hour}
	click(1, 124*hour, false, b1, a3, a4)
	a5 := Touch{1, 125 * hour, 124 * hour}
	click(1, 125*hour, true, b1, a3, a5)
}

func TestVisitorForgetsTheOldest(t *testing.T) {
	var v Visitor
	for i := range 40 {
		v.Click(LinkNumber(i+1), uint64(1000+i), time.Hour)
	}
	if n := len(v.Touches()); n != 32 {
		t.Fatalf("%d touches, want 32", n)
	}
	if first, last := v.Touches()[0].Link, v.Touches()[31].Link; first != 9 || last != 40 {
		t.Errorf("links %d to %d, want 9 to 40", first, last)
	}
	// A repeat makes room for itself.
	v.Click(9, 2000, time.Hour)
	if n, first := len(v.Touches()), v.Touches()[0].Link; n != 32 || first != 10 {
		t.Errorf("%d touches from link %d on, want 32 from 10 on", n, first)
	}
}

func TestVisitorExtendNeverShortens(t *testing.T) {
	var v Visitor
	v.Extend(1_500, 90*24*time.Hour)
	if want := uint64((1 + 7776000) * 1000); v.ExpiresMS != want {
		t.Errorf("expires %d, want %d", v.ExpiresMS, want)
	}
	v.Extend(2_500, time.Hour)
	if want := uint64((1 + 7776000) * 1000); v.ExpiresMS != want {
		t.Errorf("expires %d, want %d", v.ExpiresMS, want)
	}
}

func TestVisitorNewID(t *testing.T) {
	var a, b Visitor
	a.NewID()
	b.NewID()
	if a.ID == 0 || a.ID == b.ID {
		t.Errorf("ids %x and %x", a.ID, b.ID)
	}
}
