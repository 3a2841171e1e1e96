package engine

import (
	"compress/gzip"
	"compress/zlib"
	"encoding/binary"
	"fmt"
	"io"
	"strings"

	"github.com/ClickHouse/ch-go/compress"
	"github.com/andybalholm/brotli"
	"github.com/go-faster/city"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
)

// ClickHouse's own compression (compress=1, decompress=1) is a sequence of frames:
//
//	 0       16       17             21               25
//	+--------+--------+--------------+----------------+--------- - -
//	| city   | method | size of this | size of the    | data
//	| hash   |        | and what     | data when      |
//	| 128    |        | follows      | unpacked       |
//	+--------+--------+--------------+----------------+--------- - -
//
// little-endian; the hash covers everything after itself.
const (
	frameHashBytes = 16
	frameMetaBytes = 9
	frameBytesMax  = 128 << 20 // packed or unpacked; ClickHouse's own writers stay near 1 MiB

	methodNone = 0x02
	methodLZ4  = 0x82
	methodZSTD = 0x90
)

// frameReader unpacks frames. ch-go's reader is not used because it takes a frame whose data is missing for the end of the
// stream, which would make half an upload a whole one.
type frameReader struct {
	src    io.Reader
	packed []byte
	data   []byte // unpacked and not yet read
	zstd   *zstd.Decoder
}

func (r *frameReader) Read(p []byte) (int, error) {
	for len(r.data) == 0 {
		if err := r.frame(); err != nil {
			return 0, err
		}
	}
	n := copy(p, r.data)
	r.data = r.data[n:]
	return n, nil
}

// frame unpacks the next one; io.EOF only between two frames.
func (r *frameReader) frame() error {
	var head [frameHashBytes + frameMetaBytes]byte
	if _, err := io.ReadFull(r.src, head[:]); err == io.EOF {
		return io.EOF
	} else if err != nil {
		return fmt.Errorf("read a compressed frame: %w", err)
	}
	packed := int64(binary.LittleEndian.Uint32(head[frameHashBytes+1:])) - frameMetaBytes
	unpacked := int64(binary.LittleEndian.Uint32(head[frameHashBytes+5:]))
	if packed < 0 || packed > frameBytesMax || unpacked > frameBytesMax {
		return exceptionf(codeCannotDecompress, "CANNOT_DECOMPRESS", "Compressed frame of %d and %d bytes is out of bounds", packed, unpacked)
	}
	// The buffer grows with what really arrives, so that a header alone costs no memory.
	r.packed = append(r.packed[:0], head[frameHashBytes:]...)
	var err error
	if r.packed, err = appendN(r.packed, r.src, int(packed)); err != nil {
		return fmt.Errorf("read a compressed frame: %w", err)
	}
	hash := city.CH128(r.packed)
	if hash.Low != binary.LittleEndian.Uint64(head[:]) || hash.High != binary.LittleEndian.Uint64(head[8:]) {
		return exceptionf(40, "CHECKSUM_DOESNT_MATCH", "Checksum of a compressed frame doesn't match: corrupted data")
	}
	return r.unpack(head[frameHashBytes], r.packed[frameMetaBytes:], int(unpacked))
}

func (r *frameReader) unpack(method byte, packed []byte, size int) (err error) {
	switch method {
	case methodNone:
		r.data = packed
	case methodLZ4:
		if size > 255*len(packed)+64 { // more than LZ4 can hold: not worth the memory
			return exceptionf(codeCannotDecompress, "CANNOT_DECOMPRESS", "LZ4 frame of %d bytes cannot hold %d", len(packed), size)
		}
		var n int
		r.data = make([]byte, size)
		if n, err = lz4.UncompressBlock(packed, r.data); err == nil {
			r.data = r.data[:n]
		}
	case methodZSTD:
		if r.zstd == nil {
			r.zstd, err = zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(frameBytesMax))
		}
		if err == nil {
			r.data, err = r.zstd.DecodeAll(packed, nil)
		}
	default:
		return exceptionf(89, "UNKNOWN_COMPRESSION_METHOD", "Unknown compression method 0x%02x", method)
	}
	if err != nil || len(r.data) != size {
		r.data = nil
		return exceptionf(codeCannotDecompress, "CANNOT_DECOMPRESS", "Cannot unpack a compressed frame of %d bytes to %d", len(packed), size)
	}
	return nil
}

// appendN appends exactly n bytes of src, a piece at a time.
func appendN(dst []byte, src io.Reader, n int) ([]byte, error) {
	for n > 0 {
		piece := min(n, 1<<20)
		at := len(dst)
		dst = append(dst, make([]byte, piece)...)
		if _, err := io.ReadFull(src, dst[at:]); err == io.EOF {
			return dst, io.ErrUnexpectedEOF
		} else if err != nil {
			return dst, err
		}
		n -= piece
	}
	return dst, nil
}

// frameWriter packs what is written into frames of at most 1 MiB, none of which waits for the next.
type frameWriter struct {
	dst    io.Writer
	packer *compress.Writer
}

func newFrameWriter(dst io.Writer, method string) *frameWriter {
	m := compress.LZ4
	switch strings.ToUpper(method) {
	case "ZSTD":
		m = compress.ZSTD
	case "NONE":
		m = compress.None
	}
	return &frameWriter{dst: dst, packer: compress.NewWriter(compress.LevelZero, m)}
}

func (w *frameWriter) Write(p []byte) (int, error) {
	written := 0
	for len(p) > 0 {
		n := min(len(p), 1<<20)
		if err := w.packer.Compress(p[:n]); err != nil {
			return written, fmt.Errorf("compress the answer: %w", err)
		}
		if _, err := w.dst.Write(w.packer.Data); err != nil {
			return written, err
		}
		p, written = p[n:], written+n
	}
	return written, nil
}

// decode undoes the Content-Encoding of a request.
func decode(body io.Reader, encoding string) (io.Reader, error) {
	switch strings.ToLower(strings.TrimSpace(encoding)) {
	case "", "identity":
		return body, nil
	case "gzip", "x-gzip":
		return gzip.NewReader(body)
	case "deflate":
		return zlib.NewReader(body)
	case "br":
		return brotli.NewReader(body), nil
	case "zstd":
		r, err := zstd.NewReader(body, zstd.WithDecoderConcurrency(1))
		if err != nil {
			return nil, err
		}
		return r.IOReadCloser(), nil
	case "lz4":
		return lz4.NewReader(body), nil
	}
	return nil, exceptionf(codeNotImplemented, "NOT_IMPLEMENTED", "Content-Encoding %s is not supported: use gzip, deflate, br, zstd or lz4", encoding)
}

// encode gives the first encoding of ClickHouse's order that the client accepts, and its writer; "" and nil for none.
func encode(dst io.Writer, accept string) (string, io.WriteCloser) {
	accepted := make(map[string]bool)
	for _, part := range strings.Split(accept, ",") {
		name, quality, _ := strings.Cut(part, ";")
		accepted[strings.ToLower(strings.TrimSpace(name))] = strings.ReplaceAll(quality, " ", "") != "q=0"
	}
	switch {
	case accepted["br"]:
		return "br", brotli.NewWriterLevel(dst, brotli.BestSpeed)
	case accepted["lz4"]:
		return "lz4", lz4.NewWriter(dst)
	case accepted["gzip"]:
		w, _ := gzip.NewWriterLevel(dst, gzip.BestSpeed) // fails for an unknown level only
		return "gzip", w
	case accepted["deflate"]:
		w, _ := zlib.NewWriterLevel(dst, zlib.BestSpeed)
		return "deflate", w
	case accepted["zstd"]:
		w, _ := zstd.NewWriter(dst, zstd.WithEncoderConcurrency(1), zstd.WithEncoderLevel(zstd.SpeedFastest))
		return "zstd", w
	}
	return "", nil
}
