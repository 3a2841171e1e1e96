package spool

import (
	"bytes"
	"encoding/hex"
	"hash/crc32"
	"strings"
	"testing"
)

var testIdentity = Identity{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}

// encode is the stream that starts at from with one frame per payload, ordinals from 1.
func encode(id Identity, from Position, payloads ...string) []byte {
	var out []byte
	for i, p := range payloads {
		at := len(out)
		out = append(out, make([]byte, frameBytes(len(p)))...)
		f := Frame{Position: from + Position(at), Ordinal: uint64(i + 1), AppendedMs: 1_700_000_000_000, Payload: []byte(p)}
		putFrame(out[at:], f, crc32.Update(frameSeed(id), castagnoli, []byte(p)))
	}
	return out
}

// TestFrameGolden holds the bytes of a frame. The checksum was computed apart from this package, bit by bit, with the
// polynomial 0x82f63b78, over: identity, "click", and the 28 bytes behind the checksum.
func TestFrameGolden(t *testing.T) {
	got := make([]byte, 40)
	f := Frame{Position: 0x1000, Ordinal: 7, AppendedMs: 1_700_000_000_000, Payload: []byte("click")}
	for i := range got {
		got[i] = 0xff // padding must be cleared
	}
	if n := putFrame(got, f, crc32.Update(frameSeed(testIdentity), castagnoli, f.Payload)); n != 40 {
		t.Fatalf("frame of 5 payload bytes takes %d bytes, want 40", n)
	}
	want := strings.Join([]string{
		"622f2cce",         // checksum
		"05000000",         // length
		"0010000000000000", // position
		"0700000000000000", // ordinal
		"0068e5cf8b010000", // 1,700,000,000,000 = 0x18bcfe56800
		"636c69636b",       // click
		"000000",           // padding
	}, "")
	if hex.EncodeToString(got) != want {
		t.Errorf("frame is\n%x, want\n%s", got, want)
	}
	back, size, ok := parseFrame(got, 0x1000, frameSeed(testIdentity))
	if !ok || size != 40 || back.Ordinal != 7 || back.AppendedMs != 1_700_000_000_000 || string(back.Payload) != "click" {
		t.Errorf("parsed %+v, size %d, ok %v", back, size, ok)
	}
}

func TestFrameRefusesOthers(t *testing.T) {
	data := encode(testIdentity, 64, "payload")
	other := testIdentity
	other[0]++
	if _, _, ok := parseFrame(data, 64, frameSeed(other)); ok {
		t.Error("a frame of another identity was accepted")
	}
	if _, _, ok := parseFrame(data, 72, frameSeed(testIdentity)); ok {
		t.Error("a frame was accepted at a position that is not its own")
	}
	for i := range 32 + len("payload") {
		for bit := range 8 {
			data[i] ^= 1 << bit
			if _, _, ok := parseFrame(data, 64, frameSeed(testIdentity)); ok {
				t.Errorf("a frame with bit %d of byte %d flipped was accepted", bit, i)
			}
			data[i] ^= 1 << bit
		}
	}
}

// TestScanDamage: named corruptions of the stream a b c d e (frames of 40 bytes each, from position 1000) and what survives.
func TestScanDamage(t *testing.T) {
	const from = 1000
	whole := encode(testIdentity, from, "a", "b", "c", "d", "e")
	nested := encode(testIdentity, from, "a", string(encode(testIdentity, from+40+32, "forged")), "c")
	tests := []struct {
		name    string
		data    []byte
		corrupt func([]byte) []byte
		final   bool
		want    string
		damage  []span
		end     Position
	}{
		{"untouched", whole, func(b []byte) []byte { return b }, true, "abcde", nil, 1200},
		{"payload flipped", whole, flip(40 + 32), true, "acde", []span{{1040, 1080}}, 1200},
		{"checksum flipped", whole, flip(80), true, "abde", []span{{1080, 1120}}, 1200},
		{"length too short", whole, put(44, 0), true, "acde", []span{{1040, 1080}}, 1200},
		{"length reaches into the next", whole, put(44, 41), true, "acde", []span{{1040, 1080}}, 1200},
		{"length impossible", whole, put(44, 0xff), true, "acde", []span{{1040, 1080}}, 1200},
		{"position flipped", whole, flip(48), true, "acde", []span{{1040, 1080}}, 1200},
		{"ordinal flipped", whole, flip(56), true, "acde", []span{{1040, 1080}}, 1200},
		{"first frame", whole, flip(32), true, "bcde", []span{{1000, 1040}}, 1200},
		{"last frame", whole, flip(160 + 32), true, "abcd", []span{{1160, 1200}}, 1200},
		{"two apart", whole, both(flip(32), flip(120+32)), true, "bce", []span{{1000, 1040}, {1120, 1160}}, 1200},
		{"two in a row", whole, both(flip(40), flip(80)), true, "ade", []span{{1040, 1120}}, 1200},
		{"hole of zeros", whole, zero(44, 130), true, "ae", []span{{1040, 1160}}, 1200},
		{"hole from the start", whole, zero(0, 81), true, "de", []span{{1000, 1120}}, 1200},
		{"all zeros", whole, zero(0, 200), true, "", []span{{1000, 1200}}, 1200},
		{"cut in a payload, end", whole, cut(193), true, "abcd", []span{{1160, 1193}}, 1193},
		{"cut in a payload, more to come", whole, cut(192), false, "abcd", nil, 1160},
		{"cut in a header, end", whole, cut(170), true, "abcd", []span{{1160, 1170}}, 1170},
		{"cut in a header, more to come", whole, cut(170), false, "abcd", nil, 1160},
		{"cut between frames", whole, cut(160), true, "abcd", nil, 1160},
		{"damaged and cut", whole, both(flip(32), cut(50)), false, "", []span{{1000, 1024}}, 1024},
		{"empty", nil, func(b []byte) []byte { return b }, true, "", nil, 1000},
		{"frame inside a payload is not one", nested, func(b []byte) []byte { return b }, true, "a<forged>c", nil, 1152},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			data := test.corrupt(bytes.Clone(test.data))
			frames, damage, end := scan(data, from, frameSeed(testIdentity), test.final, nil, nil)
			var got strings.Builder
			for _, f := range frames {
				if len(f.Payload) > 1 {
					got.WriteString("<forged>")
					continue
				}
				got.Write(f.Payload)
			}
			if got.String() != test.want || end != test.end {
				t.Errorf("survivors %q end %d, want %q end %d", got.String(), end, test.want, test.end)
			}
			if len(damage) != len(test.damage) {
				t.Fatalf("damage %v, want %v", damage, test.damage)
			}
			for i := range damage {
				if damage[i] != test.damage[i] {
					t.Errorf("damage %v, want %v", damage, test.damage)
				}
			}
		})
	}
}

func flip(at int) func([]byte) []byte {
	return func(b []byte) []byte { b[at] ^= 0x20; return b }
}

func put(at int, value byte) func([]byte) []byte {
	return func(b []byte) []byte { b[at], b[at+2] = value, value; return b }
}

func zero(from, to int) func([]byte) []byte {
	return func(b []byte) []byte { clear(b[from:to]); return b }
}

func cut(at int) func([]byte) []byte {
	return func(b []byte) []byte { return b[:at] }
}

func both(f, g func([]byte) []byte) func([]byte) []byte {
	return func(b []byte) []byte { return g(f(b)) }
}

// FuzzScan: whatever the bytes, scan ends, moves on when it must, reports every byte once as frame, damage or left over, and
// finds a frame that stands undamaged behind them.
func FuzzScan(f *testing.F) {
	whole := encode(testIdentity, 0, "a", "bb", strings.Repeat("c", 100))
	f.Add(whole, true)
	f.Add(whole[:50], false)
	f.Add(flip(44)(bytes.Clone(whole)), true)
	f.Add(make([]byte, 70), false)
	f.Fuzz(func(t *testing.T, data []byte, final bool) {
		if len(data) > FrameBytesMax {
			data = data[:FrameBytesMax]
		}
		checkScan(t, data, final)
		pad := (frameAlign - len(data)%frameAlign) % frameAlign
		behind := Position(len(data) + pad)
		data = append(append(bytes.Clone(data), make([]byte, pad)...), encode(testIdentity, behind, "behind")...)
		frames := checkScan(t, data, true)
		if len(frames) == 0 || string(frames[len(frames)-1].Payload) != "behind" {
			t.Error("the undamaged frame behind was not found")
		}
	})
}

func checkScan(t *testing.T, data []byte, final bool) []Frame {
	frames, damage, end := scan(data, 0, frameSeed(testIdentity), final, nil, nil)
	if int(end) > len(data) || final && int(end) != len(data) {
		t.Fatalf("stopped at %d of %d, final %v", end, len(data), final)
	}
	if len(data) >= FrameBytesMax && end == 0 {
		t.Fatal("no progress")
	}
	covered := Position(0)
	for _, f := range frames {
		covered += Position(frameBytes(len(f.Payload)))
	}
	for _, d := range damage {
		if d.to <= d.from {
			t.Fatalf("empty damage %v", d)
		}
		covered += d.to - d.from
	}
	if covered != end {
		t.Fatalf("frames and damage cover %d bytes of %d", covered, end)
	}
	return frames
}
