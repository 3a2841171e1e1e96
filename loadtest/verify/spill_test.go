package verify

import (
	"fmt"
	"os"
	"testing"
)

// TestSpillKeepsKeysTogether: every record comes back once, all of a key in one
// part and in order, also those that were added after a first reading.
func TestSpillKeepsKeysTogether(t *testing.T) {
	s, err := newSpill(t.TempDir(), "test")
	if err != nil {
		t.Fatal(err)
	}
	defer s.close()
	const keys = 20_000
	add := func(side uint8) {
		for i := range keys {
			if err := s.add(side, fmt.Appendf(nil, "key %d", i), fmt.Appendf(nil, "%d of %d", side, i)); err != nil {
				t.Fatal(err)
			}
		}
	}
	read := func(sides uint8) {
		parts, largest, total := 0, 0, 0
		seen, part := map[string]uint8{}, map[string]bool{}
		err := s.each(func(side uint8, key, facts []byte) error {
			k := string(key)
			if seen[k] > 0 && !part[k] {
				return fmt.Errorf("%s is in two parts", k)
			}
			if part[k] = true; seen[k] != side {
				return fmt.Errorf("%s: side %d after %d", k, side, seen[k])
			}
			seen[k]++
			total++
			var wantSide, number int
			if _, err := fmt.Sscanf(string(facts), "%d of %d", &wantSide, &number); err != nil || k != fmt.Sprintf("key %d", number) || wantSide != int(side) {
				return fmt.Errorf("%s has the facts %q", k, facts)
			}
			return nil
		}, func() error {
			parts, largest = parts+1, max(largest, len(part))
			clear(part)
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if total != keys*int(sides) || parts != spillParts || largest > 2*keys/spillParts {
			t.Errorf("%d records in %d parts of up to %d keys", total, parts, largest)
		}
	}
	add(0)
	read(1)
	add(1)
	read(2)
}

func TestFullDisk(t *testing.T) {
	full, err := os.OpenFile("/dev/full", os.O_RDWR, 0)
	if err != nil {
		t.Skip("there is no /dev/full")
	}
	defer full.Close()
	s, err := newSpill(t.TempDir(), "test")
	if err != nil {
		t.Fatal(err)
	}
	defer s.close()
	for i := range s.parts {
		s.parts[i].Reset(full)
	}
	for i := range 1_000_000 {
		if err := s.add(0, fmt.Append(nil, i), nil); err != nil {
			return
		}
	}
	t.Error("nobody noticed that the disk is full")
}
