//go:build !race

package tracker

import (
	"fmt"
	"strings"
	"testing"

	"waymark/tracker/wire"
)

func TestResolveAllocatesNothing(t *testing.T) {
	b := newLinksBench(t)
	b.program(foldingProgram("wedding"))
	long := strings.Repeat("long-", 49)
	b.apply(
		wire1("hot"),
		&wire.Link{Number: 2, Code: "hot", Domain: "go.ex"},
		&wire.Link{Number: 3, Code: "Any-" + long, Program: "wedding"},
		&wire.Link{Number: 4, Code: "gone"}, &wire.Link{Number: 4, Code: "gone", Deleted: true},
	)
	for _, c := range []struct {
		name, host, code string
		want             LinkNumber
	}{
		{"hot", "", "hot", 1},
		{"hot on a domain", "GO.ex:8080", "hot", 2},
		{"hot in any case", "other.ex", "any-" + strings.ToUpper(long), 3},
		{"unknown", "go.ex", "unknown", 0},
		{"unknown and long", "go.ex", "un" + long, 0},
		{"deleted", "", "gone", 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			host, code := []byte(c.host), []byte(c.code)
			b.wantResolved(c.host, c.code, c.want)
			if n := testing.AllocsPerRun(1000, func() { b.Resolve(host, code) }); n != 0 {
				t.Errorf("%v allocations", n)
			}
		})
	}
}

// wire1 is link number 1.
func wire1(code string) *wire.Link {
	return &wire.Link{Number: 1, Code: code, Url: "https://ex/" + code}
}

// TestApplyAllocates keeps the reading of millions of records from making
// garbage of each.
func TestApplyAllocates(t *testing.T) {
	b := newLinksBench(t)
	offset := int64(0)
	key := make([]byte, 0, 64)
	link := &wire.Link{Url: "https://shop.example/landing", Program: "wedding"}
	value := make([]byte, 0, 256)
	n := testing.AllocsPerRun(3000, func() {
		offset++
		link.Number, link.Code = uint32(offset), fmt.Sprint("code-", offset)
		key = append(append(key[:0], '/'), link.Code...)
		value = value[:link.SizeVT()]
		link.MarshalToSizedBufferVT(value)
		if err := b.Apply(key, value, offset); err != nil {
			t.Fatal(err)
		}
	})
	if n > 3 { // two of them for the code above
		t.Errorf("%v allocations", n)
	}
}
