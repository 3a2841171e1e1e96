package pipeline

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"testing"

	"github.com/klauspost/compress/snappy"
	"github.com/twmb/franz-go/pkg/kgo"
)

// What is compressed must be read by the client's own decompressor, and by one
// that takes the frames apart as snappy-java documents them.
func TestSlicedSnappy(t *testing.T) {
	random := rand.NewChaCha8([32]byte{7})
	noise := make([]byte, 3*snappyBlock+5)
	random.Read(noise)
	text := bytes.Repeat([]byte("click scan https://shop.example/landing "), 20_000)
	for name, src := range map[string][]byte{
		"a byte": {1}, "a block": text[:snappyBlock], "a block and a byte": text[:snappyBlock+1],
		"what compresses well": text, "what does not compress": noise,
	} {
		t.Run(name, func(t *testing.T) {
			got, codec := slicedSnappy{}.Compress(new(bytes.Buffer), src)
			if codec != kgo.CodecSnappy {
				t.Fatalf("codec %d", codec)
			}
			read, err := kgo.DefaultDecompressor().Decompress(got, codec)
			if err != nil || !bytes.Equal(read, src) {
				t.Errorf("the client reads %d of %d bytes: %v", len(read), len(src), err)
			}
			if read = unframe(t, got); !bytes.Equal(read, src) {
				t.Errorf("%d of %d bytes in frames", len(read), len(src))
			}
		})
	}
}

func unframe(t *testing.T, framed []byte) (all []byte) {
	t.Helper()
	if want := []byte{0x82, 'S', 'N', 'A', 'P', 'P', 'Y', 0, 0, 0, 0, 1, 0, 0, 0, 1}; !bytes.HasPrefix(framed, want) {
		t.Fatalf("begins with % x, want % x", framed[:min(16, len(framed))], want)
	}
	for framed = framed[16:]; len(framed) > 0; {
		n := int(binary.BigEndian.Uint32(framed))
		block, err := snappy.Decode(nil, framed[4:4+n])
		if err != nil || len(block) > snappyBlock {
			t.Fatalf("a block of %d bytes: %v", len(block), err)
		}
		all, framed = append(all, block...), framed[4+n:]
	}
	return all
}
