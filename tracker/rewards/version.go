package rewards

import (
	"cmp"
	"slices"
	"time"
)

// history is the versions of a programme in the order in which they hold.
type history []Version

func newHistory(versions []Version) history {
	h := slices.Clone(versions)
	slices.SortFunc(h, func(a, b Version) int { return cmp.Or(a.Since.Compare(b.Since), cmp.Compare(a.Number, b.Number)) })
	return h
}

// at is the version that holds for what happened at a time: the last that
// began by then, and before the first has begun, the first.
func (h history) at(t time.Time) *Version {
	next, _ := slices.BinarySearchFunc(h, t, func(v Version, t time.Time) int {
		if v.Since.After(t) {
			return 1
		}
		return -1
	})
	if next > 0 {
		return &h[next-1]
	}
	// Of those that begin first at the same time, the last that was written.
	first := 0
	for first+1 < len(h) && h[first+1].Since.Equal(h[0].Since) {
		first++
	}
	return &h[first]
}
