package main

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"
)

var (
	inParts = []topology{parts}
	inUp    = []topology{up}
	inBoth  = []topology{parts, up}
)

// kinds is the table of all faults, which `chaos --list` prints.
var kinds = slices.Concat(processKinds, edgeKinds, spoolKinds, brokerKinds, clickhouseKinds, adminKinds, linkKinds)

// selectKinds are those that are named, all without names.
func selectKinds(names []string) ([]*kind, error) {
	if len(names) == 0 {
		return kinds, nil
	}
	var selected []*kind
	for _, name := range names {
		i := slices.IndexFunc(kinds, func(k *kind) bool { return k.name == name })
		if i < 0 {
			return nil, fmt.Errorf("there is no fault %q; --list prints those there are", name)
		}
		k := *kinds[i]
		k.named = true
		selected = append(selected, &k)
	}
	return selected, nil
}

func (k *kind) where() string {
	var names []string
	for _, t := range k.on {
		names = append(names, t.String())
	}
	return strings.Join(names, ", ")
}

// between draws a time.
func between(random *rand.Rand, from, to time.Duration) time.Duration {
	return from + time.Duration(random.Int64N(int64(to-from)))
}

func pick[T any](random *rand.Rand, of []T) T { return of[random.IntN(len(of))] }

func rounded(d time.Duration) time.Duration { return d.Round(time.Millisecond) }
