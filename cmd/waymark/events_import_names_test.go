package main

import (
	"strings"
	"testing"
)

// TestImportedNames: the summary names what was sent, and says so where
// nothing of it will ever be counted.
func TestImportedNames(t *testing.T) {
	print := func(events ...[2]string) string {
		var names importedNames
		for _, e := range events {
			names.add(e[0], e[1])
		}
		var text strings.Builder
		names.print(&text)
		return text.String()
	}
	if got := print(); got != "" {
		t.Errorf("nothing sent: %q", got)
	}
	if got, want := print([2]string{"click", "clicked"}, [2]string{"ping", ""}, [2]string{"ping", ""}), "sent: 2 ping, 1 click\n"; got != want {
		t.Errorf("with a click: %q, expected %q", got, want)
	}
	got := print([2]string{"touch", ""}, [2]string{"touch", ""}, [2]string{"conversion", ""})
	if !strings.HasPrefix(got, "sent: 2 touch, 1 conversion\n") || !strings.Contains(got, "--event-map touch=click") {
		t.Errorf("with nothing that counts: %q", got)
	}
}
