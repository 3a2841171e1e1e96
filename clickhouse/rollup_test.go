package clickhouse

import (
	"testing"
	"time"
)

// Every zone comes to an end, over all the time that a report may cover.
func TestWholeHours(t *testing.T) {
	from, to := time.Unix(0, 0), time.Date(2200, 1, 1, 0, 0, 0, 0, time.UTC)
	for name, want := range map[string]bool{"UTC": true, "Europe/Berlin": true, "America/New_York": true, "Asia/Kathmandu": false, "Australia/Lord_Howe": false} {
		zone, err := time.LoadLocation(name)
		if err != nil {
			t.Fatal(err)
		}
		if got := wholeHours(zone, from, to); got != want {
			t.Errorf("%s: %v, want %v", name, got, want)
		}
	}
}
