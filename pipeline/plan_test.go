package pipeline

import (
	"strings"
	"testing"
)

func TestProgressMetadata(t *testing.T) {
	p := plan{source: 2774516983, from: 80000, to: 81310}
	for _, tc := range []struct {
		name     string
		progress progress
		offset   int64
		metadata string
	}{
		{"planned", p.planned(), 80000, `{"v":1,"source":2774516983,"to":81310}`},
		{"settled", p.settled(), 81310, `{"v":1,"source":2774516983}`},
	} {
		if got := tc.progress.metadata(); got != tc.metadata || tc.progress.offset != tc.offset {
			t.Errorf("%s: offset %d, metadata %s; want %d, %s", tc.name, tc.progress.offset, got, tc.offset, tc.metadata)
		}
		if back, err := parseProgress(tc.offset, tc.metadata); err != nil || back != tc.progress {
			t.Errorf("%s: read back as %+v, %v", tc.name, back, err)
		}
	}
	if got, want := p.token(3), "2774516983-3-80000-81310"; got != want {
		t.Errorf("token %s, want %s", got, want)
	}
}

func TestParseProgressOfOthers(t *testing.T) {
	if p, err := parseProgress(7, ""); err != nil || p != (progress{offset: 7}) {
		t.Errorf("an offset set by a tool gives %+v, %v", p, err)
	}
	for _, metadata := range []string{
		"x", "{}", "kgo-member-1234", `{"v":2,"source":1}`, `{"v":1}`, `{"v":1,"source":1,"to":7}`, `{"v":1,"source":1,"to":-1}`,
		`{"v":1,"source":99999999999}`,
	} {
		p, err := parseProgress(7, metadata)
		if err == nil || !strings.Contains(err.Error(), "offset 7") {
			t.Errorf("%s: error %v, want one that names the offset", metadata, err)
		}
		if p != (progress{offset: 7}) {
			t.Errorf("%s: %+v, want the offset alone", metadata, p)
		}
	}
}

func FuzzParseProgress(f *testing.F) {
	p := plan{source: 2774516983, from: 80000, to: 81310}
	f.Add(int64(80000), p.planned().metadata())
	f.Add(int64(81310), p.settled().metadata())
	f.Add(int64(0), "")
	f.Fuzz(func(t *testing.T, offset int64, metadata string) {
		p, err := parseProgress(offset, metadata)
		if p.offset != offset {
			t.Errorf("offset %d became %d", offset, p.offset)
		}
		if err != nil || metadata == "" {
			if p.Source != 0 || p.To != 0 {
				t.Errorf("%q gives %+v and %v", metadata, p, err)
			}
			return
		}
		if p.To != 0 && p.To <= offset {
			t.Errorf("%q at %d gives a plan that ends at %d", metadata, offset, p.To)
		}
		if back, err := parseProgress(offset, p.metadata()); err != nil || back != p {
			t.Errorf("%q gives %+v, written and read again %+v, %v", metadata, p, back, err)
		}
	})
}
