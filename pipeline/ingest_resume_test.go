package pipeline

import "testing"

func TestResume(t *testing.T) {
	const here, gone = 7, 8 // sources
	at := func(source uint32, offset, to int64) *progress {
		return &progress{offset, progressMetadata{Version: 1, Source: source, To: to}}
	}
	const none = -1 // no rows in events
	for _, tc := range []struct {
		name      string
		committed *progress
		next      int64
		log       logRange
		want      resumption
		fails     bool
	}{
		{"a new topic", nil, none, logRange{0, 0}, resumption{at: 0}, false},
		{"nothing done yet", nil, none, logRange{0, 50}, resumption{at: 0}, false},
		{"settled", at(here, 30, 0), 30, logRange{0, 50}, resumption{at: 30}, false},
		{"settled, the last rows were repeats", at(here, 30, 0), 28, logRange{0, 50}, resumption{at: 30}, false},
		{"settled at the end", at(here, 50, 0), 50, logRange{0, 50}, resumption{at: 50}, false},
		{"settled and trimmed up to there", at(here, 30, 0), 30, logRange{30, 50}, resumption{at: 30}, false},
		{"planned, not inserted", at(here, 30, 40), 30, logRange{0, 50}, resumption{at: 30, replayTo: 40}, false},
		{"planned, the first insert of all", at(here, 0, 40), none, logRange{0, 50}, resumption{at: 0, replayTo: 40}, false},
		{"planned and inserted", at(here, 30, 40), 40, logRange{0, 50}, resumption{at: 30, replayTo: 40}, false},
		{"planned and inserted in part", at(here, 30, 40), 35, logRange{0, 50}, resumption{at: 30, replayTo: 40}, false},
		{"planned to the very end", at(here, 30, 50), 30, logRange{0, 50}, resumption{at: 30, replayTo: 50}, false},
		{"the group was deleted", nil, 30, logRange{0, 50}, resumption{at: 30}, false},
		{"the group was deleted, all is inserted", nil, 50, logRange{0, 50}, resumption{at: 50}, false},
		{"the group was set back by hand", &progress{offset: 10}, 30, logRange{0, 50}, resumption{at: 30}, false},
		{"the group was set forward by hand", &progress{offset: 40}, 30, logRange{0, 50}, resumption{at: 40}, false},
		{"commits were lost", at(here, 10, 20), 30, logRange{0, 50}, resumption{at: 30}, false},
		{"trimmed beyond", at(here, 30, 0), 30, logRange{35, 50}, resumption{at: 35, lost: 5}, false},
		{"the planned range was trimmed", at(here, 30, 40), 36, logRange{38, 50}, resumption{at: 38, lost: 2}, false},
		{"the planned range was trimmed after its insert", at(here, 30, 40), 40, logRange{38, 50}, resumption{at: 40}, false},
		{"ClickHouse was emptied", at(here, 30, 0), none, logRange{0, 50}, resumption{at: 30}, false},
		{"the topic was created anew", at(gone, 30, 0), none, logRange{0, 5}, resumption{at: 0}, false},
		{"the topic was created anew, with a plan", at(gone, 3, 5), none, logRange{0, 5}, resumption{at: 0}, false},
		{"the log lost its end", at(here, 30, 0), 30, logRange{0, 20}, resumption{}, true},
		{"the log lost its end, of which events has nothing", at(here, 30, 0), 15, logRange{0, 20}, resumption{at: 15}, false},
		{"the log lost its end, of which events has nothing at all", at(here, 30, 0), none, logRange{0, 20}, resumption{}, true},
		{"the log lost its end, no commit", nil, 30, logRange{0, 20}, resumption{}, true},
		{"the log lost part of a plan", at(here, 30, 40), 30, logRange{0, 35}, resumption{}, true},
	} {
		var committed progress
		if tc.committed != nil {
			committed = *tc.committed
		}
		got, err := resume(here, committed, tc.committed != nil, max(tc.next, 0), tc.next != none, tc.log)
		if got != tc.want || (err != nil) != tc.fails {
			t.Errorf("%s: got %+v, %v; want %+v, error: %v", tc.name, got, err, tc.want, tc.fails)
		}
	}
}
