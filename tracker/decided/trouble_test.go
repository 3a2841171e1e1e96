package decided

import (
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestTrouble(t *testing.T) {
	var log strings.Builder
	plain := slog.NewTextHandler(&log, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey {
			return slog.Attr{}
		}
		return a
	}})
	failing := trouble{logger: slog.New(plain), failed: "failed", over: "over"}
	var waits []string
	for _, text := range []string{"", "refused", "refused", "refused", "reset", "reset", "", "", "refused", ""} {
		var err error
		if text != "" {
			err = errors.New(text)
		}
		failing.note(err)
		waits = append(waits, fmt.Sprint(failing.wait(2*time.Second, 15*time.Second)))
	}
	if want := []string{"0s", "2s", "4s", "8s", "15s", "15s", "0s", "0s", "2s", "0s"}; !slices.Equal(waits, want) {
		t.Errorf("it waits %v, want %v", waits, want)
	}
	want := "level=WARN msg=failed error=refused\nlevel=WARN msg=failed error=reset\nlevel=INFO msg=over attempts=5\n" +
		"level=WARN msg=failed error=refused\nlevel=INFO msg=over attempts=1\n"
	if log.String() != want {
		t.Errorf("the log is\n%swant\n%s", log.String(), want)
	}
}
