package main

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
)

// importedNames counts the events of an import by name. Without a word about
// them, a file whose clicks are called "touch" would be imported as actions of
// that name, which nothing counts.
type importedNames struct {
	counts map[string]int64
	staged bool // one at least is a stage of the funnel
}

const (
	importedNamesMax   = 1000 // names that are told apart; the others are not counted
	importedNamesShown = 12
)

func (n *importedNames) add(event, stage string) {
	if n.counts == nil {
		n.counts = map[string]int64{}
	}
	n.staged = n.staged || stage != ""
	if _, known := n.counts[event]; known || len(n.counts) < importedNamesMax {
		n.counts[strings.Clone(event)]++
	}
}

// print says what the events were, most frequent first, and what to do where
// none of them counts as anything.
func (n *importedNames) print(w io.Writer) {
	if len(n.counts) == 0 {
		return
	}
	names := slices.SortedFunc(maps.Keys(n.counts), func(a, b string) int {
		return cmp.Or(cmp.Compare(n.counts[b], n.counts[a]), strings.Compare(a, b))
	})
	var list []string
	for _, name := range names[:min(len(names), importedNamesShown)] {
		list = append(list, fmt.Sprintf("%d %s", n.counts[name], name))
	}
	if more := len(names) - importedNamesShown; more > 0 {
		list = append(list, fmt.Sprintf("%d more names", more))
	}
	fmt.Fprintln(w, "sent: "+strings.Join(list, ", "))
	if !n.staged {
		fmt.Fprintf(w, "none of these is a click or a stage of the funnel, so that no report counts them; say what they are, for example with --event-map %s=click, and import again\n", names[0])
	}
}
