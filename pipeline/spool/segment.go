package spool

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// A segment file holds a stretch of the stream, byte for byte, so that a position is found by subtraction. Its header,
// little-endian:
//
//	0         8     12     14      16           32      40
//	┌─────────┬─────┬──────┬───────┬────────────┬───────┬─────────
//	│ magic   │ crc │ node │ flags │ identity   │ base  │ frames …
//	└─────────┴─────┴──────┴───────┴────────────┴───────┴─────────
//	           u32   u16    u16                  u64
//
// crc is CRC-32C over bytes 12 to 40. flags: 1 when node is known. base is the position of the first frame, and is also the
// file's name, so that the frames of a segment with a damaged header can still be read.
const (
	segmentMagic       = "wmsegm\x00\x01"
	segmentHeaderBytes = 40
	segmentBytesMin    = segmentHeaderBytes + FrameBytesMax
	segmentSuffix      = ".segment"
	corruptSuffix      = ".corrupt"
)

// source says whose frames these are.
type source struct {
	identity Identity
	node     Node
}

// file is what segments need of *os.File; tests put a failing disk in its place.
type file interface {
	io.ReaderAt
	io.WriterAt
	io.Closer
	Truncate(size int64) error
	Sync() error
}

// segment is one file of the stream. base and path never change; segments.mu guards the rest.
type segment struct {
	path string
	base Position
	end  Position // what is durable, or was there at Open
	source
	fileBytes int64
	damaged   bool
	f         file // opened when first read or written
}

func putSegmentHeader(dst []byte, src source, base Position) {
	copy(dst, segmentMagic)
	binary.LittleEndian.PutUint16(dst[12:], src.node.Number)
	if src.node.Known {
		dst[14] = 1
	}
	copy(dst[16:32], src.identity[:])
	binary.LittleEndian.PutUint64(dst[32:], uint64(base))
	binary.LittleEndian.PutUint32(dst[8:], crc32.Checksum(dst[12:segmentHeaderBytes], castagnoli))
}

func parseSegmentHeader(header []byte, base Position) (source, error) {
	if len(header) < segmentHeaderBytes || string(header[:8]) != segmentMagic {
		return source{}, errors.New("not a segment of this version")
	}
	header = header[:segmentHeaderBytes]
	if binary.LittleEndian.Uint32(header[8:]) != crc32.Checksum(header[12:], castagnoli) {
		return source{}, errors.New("header checksum does not match")
	}
	if got := Position(binary.LittleEndian.Uint64(header[32:])); got != base {
		return source{}, fmt.Errorf("header is of position %d, name of %d", got, base)
	}
	return source{
		identity: Identity(header[16:32]),
		node:     Node{Number: binary.LittleEndian.Uint16(header[12:]), Known: header[14]&1 != 0},
	}, nil
}

func segmentPath(dir string, base Position) string {
	return filepath.Join(dir, fmt.Sprintf("%020d%s", base, segmentSuffix))
}

// segmentBase is the inverse of segmentPath for a name without directory.
func segmentBase(name string) (Position, bool) {
	digits, ok := strings.CutSuffix(name, segmentSuffix)
	if !ok || len(digits) != 20 {
		return 0, false
	}
	base, err := strconv.ParseUint(digits, 10, 64)
	return Position(base), err == nil
}

// statSegment describes the segment file at path. A damaged header costs nothing when the frames are those of fallback: their
// checksums decide.
func statSegment(path string, base Position, fallback source) (*segment, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("open segment: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("stat segment: %w", err)
	}
	g := &segment{path: path, base: base, fileBytes: info.Size(), source: fallback}
	g.end = base + Position(max(0, info.Size()-segmentHeaderBytes))
	var header [segmentHeaderBytes]byte
	n, err := f.ReadAt(header[:], 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("read segment header of %s: %w", path, err)
	}
	src, err := parseSegmentHeader(header[:n], base)
	if err != nil {
		g.damaged = true
		return g, &CorruptError{File: path, Err: err}
	}
	g.source = src
	return g, nil
}

// offset is where position p lies in the file.
func (g *segment) offset(p Position) int64 { return segmentHeaderBytes + int64(p-g.base) }
