package engine

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/ClickHouse/ch-go/compress"
	"github.com/go-faster/city"
)

// packed is what ch-go, another implementation of the frames, makes of the data.
func packed(t testing.TB, method compress.Method, data []byte) []byte {
	t.Helper()
	w := compress.NewWriter(compress.LevelZero, method)
	if err := w.Compress(data); err != nil {
		t.Fatal(err)
	}
	return bytes.Clone(w.Data)
}

func TestFramesOfAnotherImplementation(t *testing.T) {
	data := bytes.Repeat([]byte("waymark "), 5000)
	for _, method := range []compress.Method{compress.None, compress.LZ4, compress.LZ4HC, compress.ZSTD} {
		stream := append(packed(t, method, data), packed(t, method, []byte("end"))...)
		got, err := io.ReadAll(&frameReader{src: bytes.NewReader(stream)})
		if want := string(data) + "end"; err != nil || string(got) != want {
			t.Errorf("%v: %d bytes, %v; want %d", method, len(got), err, len(want))
		}
	}
}

func TestFrameWriter(t *testing.T) {
	data := bytes.Repeat([]byte("0123456789abcdef"), 200_000) // three frames
	for _, method := range []string{"LZ4", "zstd", "NONE", ""} {
		var stream bytes.Buffer
		if n, err := newFrameWriter(&stream, method).Write(data); n != len(data) || err != nil {
			t.Fatal(n, err)
		}
		got := make([]byte, len(data))
		if _, err := io.ReadFull(compress.NewReader(&stream), got); err != nil || !bytes.Equal(got, data) || stream.Len() > 0 {
			t.Errorf("%q: %v, %d bytes left", method, err, stream.Len())
		}
	}
}

// frameOf makes a frame by hand, right or wrong in its sizes, with a checksum that fits.
func frameOf(method byte, packedSize, size uint32, data []byte) []byte {
	body := append([]byte{method}, binary.LittleEndian.AppendUint32(nil, packedSize+frameMetaBytes)...)
	body = append(binary.LittleEndian.AppendUint32(body, size), data...)
	hash := city.CH128(body)
	frame := binary.LittleEndian.AppendUint64(nil, hash.Low)
	return append(binary.LittleEndian.AppendUint64(frame, hash.High), body...)
}

func TestDamagedFrames(t *testing.T) {
	good := packed(t, compress.LZ4, bytes.Repeat([]byte("waymark "), 100))
	flipped := bytes.Clone(good)
	flipped[len(flipped)-1] ^= 1
	cases := []struct {
		name   string
		stream []byte
		code   int // 0: io.ErrUnexpectedEOF
	}{
		{"cut inside the header", good[:20], 0},
		{"cut behind the header", good[:25], 0},
		{"cut inside the data", good[:len(good)-1], 0},
		{"second frame cut", append(bytes.Clone(good), good[:25]...), 0},
		{"flipped bit", flipped, 40},
		{"packed size below the header's", frameOf(methodLZ4, 1<<32-1, 1, nil), 271},
		{"packed size out of bounds", frameOf(methodLZ4, 1<<31, 1, nil), 271},
		{"size out of bounds", frameOf(methodZSTD, 1, 1<<31, []byte{0}), 271},
		{"more than LZ4 can hold", frameOf(methodLZ4, 1, 1<<20, []byte{0}), 271},
		{"size does not fit", frameOf(methodNone, 3, 4, []byte("abc")), 271},
		{"unknown method", frameOf(0x99, 1, 1, []byte{0}), 89},
	}
	for _, c := range cases {
		_, err := io.ReadAll(&frameReader{src: bytes.NewReader(c.stream)})
		var e *Exception
		switch {
		case c.code == 0 && !errors.Is(err, io.ErrUnexpectedEOF):
			t.Errorf("%s: %v, want an unexpected end", c.name, err)
		case c.code != 0 && (!errors.As(err, &e) || e.Code != c.code):
			t.Errorf("%s: %v, want code %d", c.name, err, c.code)
		}
	}
}

func TestContentEncodings(t *testing.T) {
	text := strings.Repeat("waymark ", 1000)
	for _, name := range []string{"br", "lz4", "gzip", "deflate", "zstd"} {
		var body bytes.Buffer
		chosen, w := encode(&body, "snappy, "+name+";q=0.5, identity")
		if chosen != name {
			t.Fatalf("chose %q for %q", chosen, name)
		}
		io.WriteString(w, text)
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		short := body.Bytes()[:body.Len()/2]
		r, err := decode(&body, name)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(r); err != nil || string(got) != text {
			t.Errorf("%s: %d bytes, %v", name, len(got), err)
		}
		if r, err = decode(bytes.NewReader(short), name); err == nil {
			_, err = io.ReadAll(r)
		}
		if err == nil {
			t.Errorf("%s: half a body was taken for a whole one", name)
		}
	}
	if name, w := encode(io.Discard, "gzip;q=0, snappy"); name != "" || w != nil {
		t.Errorf("chose %q where nothing is accepted", name)
	}
	if _, err := decode(strings.NewReader(""), "compress"); err == nil {
		t.Error("an unknown encoding was accepted")
	}
}

func FuzzFrameReader(f *testing.F) {
	for _, method := range []compress.Method{compress.None, compress.LZ4, compress.ZSTD} {
		f.Add(packed(f, method, []byte("waymark waymark waymark")))
	}
	f.Fuzz(func(t *testing.T, stream []byte) {
		// Random bytes never have the right checksum, so the sizes and data are also given one.
		for _, src := range [][]byte{stream, seal(stream)} {
			r := &frameReader{src: bytes.NewReader(src)}
			if _, err := io.Copy(io.Discard, io.LimitReader(r, 1<<20)); err != nil {
				continue
			}
			if len(src) > 0 && len(src) < frameHashBytes+frameMetaBytes {
				t.Fatalf("%d bytes were taken for whole frames", len(src))
			}
		}
	})
}

// seal puts the right checksum before a frame's body.
func seal(body []byte) []byte {
	if len(body) < frameMetaBytes {
		return body
	}
	return frameOf(body[0], uint32(len(body)-frameMetaBytes), binary.LittleEndian.Uint32(body[5:]), body[frameMetaBytes:])
}
