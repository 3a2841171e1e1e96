package clickhouse

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/ClickHouse/ch-go/proto"
	client "github.com/ClickHouse/clickhouse-go/v2/lib/column"

	"waymark/tracker"
)

// values collects one column of a block as ClickHouse's Native format has it:
//
//	numbers, times      their bytes, little endian
//	String              length as uvarint, text
//	LowCardinality      see words
//	Array, Map          end offset of each row, 8 bytes; then keys, values
//
// The client's columns take that as if a server had sent it. Appending to them
// instead costs three times as much, most of it for a map keyed by interfaces
// in every LowCardinality column and for reflection on empty lists.
type values struct {
	plain []byte
	words words
	items []values // of lists: elements, or keys and values
	count uint64   // of lists: elements so far
	err   error    // the first one
}

// reserve makes room for so many rows of a type. Growing by and by would copy
// each value once or twice more.
func (v *values) reserve(kind string, rows int) {
	switch kind {
	case keyword:
		v.words.numbers = slices.Grow(v.words.numbers, rows)
	case "UInt16":
		v.plain = slices.Grow(v.plain, 2*rows)
	case "UInt32":
		v.plain = slices.Grow(v.plain, 4*rows)
	case text:
		v.plain = slices.Grow(v.plain, 12*rows) // the usual code or id
	default:
		v.plain = slices.Grow(v.plain, 8*rows)
	}
}

func (v *values) uint16(n uint16) { v.plain = binary.LittleEndian.AppendUint16(v.plain, n) }
func (v *values) uint32(n uint32) { v.plain = binary.LittleEndian.AppendUint32(v.plain, n) }
func (v *values) uint64(n uint64) { v.plain = binary.LittleEndian.AppendUint64(v.plain, n) }

func (v *values) text(s string) { v.plain = appendText(v.plain, s) }

func appendText(dst []byte, s string) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(s))), s...)
}

// list ends a row of a list that has n elements more.
func (v *values) list(n int) {
	v.count += uint64(n)
	v.uint64(v.count)
}

// encode appends the column.
func (v *values) encode(dst []byte) []byte {
	dst = v.words.encode(append(dst, v.plain...))
	for i := range v.items {
		dst = v.items[i].encode(dst)
	}
	return dst
}

// reset forgets everything but the memory.
func (v *values) reset() {
	v.plain, v.count, v.err = v.plain[:0], 0, nil
	v.words.reset()
	for i := range v.items {
		v.items[i].reset()
	}
}

// words is a LowCardinality(String): the different texts, numbered from 0, and
// the number of each row. Texts that are looked up are borrowed until reset.
type words struct {
	numbers  []uint32 // by row
	numberOf map[string]uint32
	texts    []byte // encoded, in the order of their numbers
	last     string // of the row before, often that of the next one, too
	lastIs   uint32
}

func (w *words) add(s string) {
	if s != w.last {
		w.last, w.lastIs = s, w.number(s)
	}
	w.numbers = append(w.numbers, w.lastIs)
}

// number gives 0 to the empty text, as ClickHouse does.
func (w *words) number(s string) uint32 {
	if s == "" {
		return 0
	}
	if n, ok := w.numberOf[s]; ok {
		return n
	}
	if w.numberOf == nil {
		w.numberOf = make(map[string]uint32)
	}
	n := uint32(len(w.numberOf) + 1)
	w.numberOf[s] = n
	w.texts = appendText(w.texts, s)
	return n
}

const (
	wordsHaveTexts = 1 << 9  // the texts stand here and not in a dictionary of the stream
	wordsAreNew    = 1 << 10 // and replace those of the block before
)

// encode appends flags and the width of numbers (its logarithm), then texts and
// numbers, each after their count. Without a row there is nothing.
func (w *words) encode(dst []byte) []byte {
	if len(w.numbers) == 0 {
		return dst
	}
	count, width := len(w.numberOf)+1, uint64(2)
	switch {
	case count <= 1<<8:
		width = 0
	case count <= 1<<16:
		width = 1
	}
	dst = binary.LittleEndian.AppendUint64(dst, wordsHaveTexts|wordsAreNew|width)
	dst = binary.LittleEndian.AppendUint64(dst, uint64(count))
	dst = append(appendText(dst, ""), w.texts...)
	dst = binary.LittleEndian.AppendUint64(dst, uint64(len(w.numbers)))
	for _, n := range w.numbers {
		switch width {
		case 0:
			dst = append(dst, byte(n))
		case 1:
			dst = binary.LittleEndian.AppendUint16(dst, uint16(n))
		default:
			dst = binary.LittleEndian.AppendUint32(dst, n)
		}
	}
	return dst
}

func (w *words) reset() {
	w.numbers, w.texts, w.last, w.lastIs = w.numbers[:0], w.texts[:0], "", 0
	clear(w.numberOf)
}

// nativeBlock is a block on its way, kept for the next one: 100,000 rows would
// otherwise leave 50 MB of garbage.
type nativeBlock struct {
	table   *rawTable
	columns []values // as those of the table
	encoded []byte
	source  bytes.Reader
	reader  *proto.Reader // of source
}

// free gives n back without the text that it points to.
func (n *nativeBlock) free() {
	for i := range n.columns {
		n.columns[i].reset()
	}
	n.table.blocks.Put(n)
}

// nativeStride is how many rows are taken at a time: their events stay in the
// cache of the core while one column after the other takes its part.
const nativeStride = 256

// fill takes the rows of a block.
func (n *nativeBlock) fill(block *tracker.Block) {
	for i, c := range n.table.columns {
		n.columns[i].reserve(c.kind, len(block.Rows))
	}
	for from := 0; from < len(block.Rows); from += nativeStride {
		rows := block.Rows[from:min(from+nativeStride, len(block.Rows))]
		for i := range n.table.columns {
			n.table.columns[i].add(&n.columns[i], block, rows)
		}
	}
}

// handOver puts the values into the client's columns, which copy them.
func (n *nativeBlock) handOver(columns []client.Interface, rows int) error {
	for i, c := range n.table.columns {
		if err := n.columns[i].err; err != nil {
			return fmt.Errorf("fill column %s: %w", c.name, err)
		}
		n.encoded = n.columns[i].encode(n.encoded[:0])
		n.source.Reset(n.encoded)
		if err := columns[i].Decode(n.reader, rows); err != nil {
			return fmt.Errorf("fill column %s: %w", c.name, err)
		}
		if n.source.Len() != 0 || columns[i].Rows() != rows {
			return fmt.Errorf("BUG: column %s took %d of %d rows and left %d bytes", c.name, columns[i].Rows(), rows, n.source.Len())
		}
	}
	return nil
}
