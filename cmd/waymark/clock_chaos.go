//go:build chaos

package main

import (
	"log/slog"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

// A build with the tag chaos, for fault tests, gives hits and actions a time of
// day that is wrong by as many milliseconds as the file named by
// WAYMARK_CHAOS_CLOCK_FILE says, and follows it while it runs.
func init() {
	path := os.Getenv("WAYMARK_CHAOS_CLOCK_FILE")
	if path == "" {
		return
	}
	slog.Warn("the clock is wrong on purpose", "file", path)
	var offset atomic.Int64 // ms
	read := func() {
		content, err := os.ReadFile(path)
		if err != nil {
			return // none yet
		}
		if ms, err := strconv.ParseInt(strings.TrimSpace(string(content)), 10, 64); err == nil {
			offset.Store(ms)
		}
	}
	read()
	go func() {
		for range time.Tick(10 * time.Millisecond) {
			read()
		}
	}()
	timeOfDay = func() time.Time { return time.Now().Add(time.Duration(offset.Load()) * time.Millisecond) }
}
