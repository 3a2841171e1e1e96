package spool

import (
	"encoding/hex"
	"testing"
)

// TestHeadersGolden holds the bytes of both file headers; checksums were computed bit by bit, apart from this package.
func TestHeadersGolden(t *testing.T) {
	var segment [segmentHeaderBytes]byte
	putSegmentHeader(segment[:], source{testIdentity, Node{Number: 513, Known: true}}, 0x12345678)
	const wantSegment = "776d7365676d0001" + // "wmsegm", version
		"69bd58c4" + // checksum of the rest
		"0102" + "0100" + // node, flags
		"000102030405060708090a0b0c0d0e0f" + // identity
		"7856341200000000" // base
	if got := hex.EncodeToString(segment[:]); got != wantSegment {
		t.Errorf("segment header is\n%s, want\n%s", got, wantSegment)
	}
	var ring [40]byte
	putRingHeader(ring[:], testIdentity, 128<<10)
	const wantRing = "776d72696e670001" + // "wmring", version
		"c65a5866" + // checksum of the rest
		"00000000" + // unused
		"000102030405060708090a0b0c0d0e0f" + // identity
		"0000020000000000" // ring bytes
	if got := hex.EncodeToString(ring[:]); got != wantRing {
		t.Errorf("ring header is\n%s, want\n%s", got, wantRing)
	}
}

func TestSegmentName(t *testing.T) {
	if got := segmentPath("d", 4711); got != "d/00000000000000004711.segment" {
		t.Errorf("path %s", got)
	}
	for name, want := range map[string]Position{
		"00000000000000004711.segment":         4711,
		"18446744073709551615.segment":         1<<64 - 1,
		"18446744073709551616.segment":         0,
		"4711.segment":                         0,
		"0000000000000000471x.segment":         0,
		"00000000000000004711.segment.corrupt": 0,
		"state":                                0,
	} {
		if got, ok := segmentBase(name); ok != (want != 0) || ok && got != want {
			t.Errorf("base of %s is %d, %v", name, got, ok)
		}
	}
}

func FuzzSegmentHeader(f *testing.F) {
	var header [segmentHeaderBytes]byte
	putSegmentHeader(header[:], source{testIdentity, Node{Number: 513, Known: true}}, 40)
	f.Add(header[:], uint64(40))
	f.Add(header[:20], uint64(40))
	f.Fuzz(func(t *testing.T, data []byte, base uint64) {
		src, err := parseSegmentHeader(data, Position(base))
		if err != nil {
			return
		}
		var again [segmentHeaderBytes]byte
		putSegmentHeader(again[:], src, Position(base))
		if data[14]&^1 == 0 && data[15] == 0 && string(again[:]) != string(data[:segmentHeaderBytes]) {
			t.Errorf("accepted %x, which reads back as %x", data, again)
		}
	})
}

func FuzzState(f *testing.F) {
	data, err := encodeState(state{Identity: testIdentity, Generation: 3, Ring: "/dev/shm/r", Tail: 1 << 60, Ordinal: 9})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Add(data[:len(data)-2])
	f.Fuzz(func(t *testing.T, data []byte) {
		st, err := decodeState(data)
		if err != nil {
			return
		}
		again, err := encodeState(st)
		if err != nil {
			t.Fatal(err)
		}
		if back, err := decodeState(again); err != nil || back != st {
			t.Errorf("%+v reads back as %+v, %v", st, back, err)
		}
	})
}
