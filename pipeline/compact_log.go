package pipeline

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// The log of a partition, as kfake keeps it: segment files BASE.dat of Kafka
// record batches one after the other, BASE being the offset of the first
// record, and beside each an index file BASE.idx with an entry for each batch:
//
//	0         1          2            6                    14      15
//	┌─────────┬──────────┬────────────┬────────────────────┬───────┐
//	│ version │ checksum │ epoch      │ latest time so far │ flags │  little endian
//	└─────────┴──────────┴────────────┴────────────────────┴───────┘
//
// version is 1, the checksum is the low byte of the CRC-32C of what follows
// it, and the embedded broker's epoch and flags are always 0.
const (
	batchHeaderBytes = 61
	batchBytesMax    = 1 << 30
	segmentBytesMax  = 64 << 20

	attributesCompression   = 0x07
	attributesTransactional = 0x30 // of a transaction, or one of its markers
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// logError is a log that can't be compacted.
type logError struct {
	Path   string
	Offset int64 // in the file, in bytes
	Detail string
}

func (e *logError) Error() string {
	return fmt.Sprintf("read log %s at byte %d: %s", e.Path, e.Offset, e.Detail)
}

func sortByBase(paths []string, bases map[string]int64) {
	slices.SortFunc(paths, func(a, b string) int { return cmp.Compare(bases[a], bases[b]) })
}

// eachRecord calls visit with every record of a log, in order. A last batch
// that was not written to its end is no part of the log, as for the broker.
// Anything else that is wrong is a *logError.
func eachRecord(segments []string, visit func(*kgo.Record) error) error {
	for i, path := range segments {
		if err := eachRecordOf(path, i == len(segments)-1, visit); err != nil {
			return err
		}
	}
	return nil
}

func eachRecordOf(path string, last bool, visit func(*kgo.Record) error) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	in := bufio.NewReaderSize(f, 1<<20)
	for at := int64(0); ; {
		raw, detail, err := readBatch(in)
		if err != nil {
			return err
		}
		if detail != "" && last {
			return nil
		}
		if detail != "" {
			return &logError{Path: path, Offset: at, Detail: detail}
		}
		if raw == nil {
			return nil
		}
		records, detail := decodeBatch(raw)
		if detail != "" {
			return &logError{Path: path, Offset: at, Detail: detail}
		}
		for _, r := range records {
			if err := visit(r); err != nil {
				return err
			}
		}
		at += int64(len(raw))
	}
}

// readBatch returns the bytes of the next batch, nil at the end, or what is
// wrong with them.
func readBatch(in *bufio.Reader) (raw []byte, detail string, err error) {
	var head [12]byte
	switch _, err := io.ReadFull(in, head[:]); {
	case errors.Is(err, io.EOF):
		return nil, "", nil
	case errors.Is(err, io.ErrUnexpectedEOF):
		return nil, "the file ends within a batch", nil
	case err != nil:
		return nil, "", err
	}
	length := binary.BigEndian.Uint32(head[8:])
	if length < batchHeaderBytes-12 || length > batchBytesMax {
		return nil, fmt.Sprintf("a batch has a length of %d bytes", length), nil
	}
	// Grown as it is read: a wrong length must not allocate a gigabyte.
	var whole bytes.Buffer
	whole.Write(head[:])
	switch _, err := io.CopyN(&whole, in, int64(length)); {
	case errors.Is(err, io.EOF):
		return nil, "the file ends within a batch", nil
	case err != nil:
		return nil, "", err
	}
	raw = whole.Bytes()
	if crc32.Checksum(raw[21:], castagnoli) != binary.BigEndian.Uint32(raw[17:]) {
		return nil, "the checksum of a batch is wrong", nil
	}
	return raw, "", nil
}

// decodeBatch returns the records of a batch, or what keeps them from being
// compacted.
func decodeBatch(raw []byte) (records []*kgo.Record, detail string) {
	var batch kmsg.RecordBatch
	if err := batch.ReadFrom(raw); err != nil {
		return nil, err.Error()
	}
	if batch.Attributes&attributesTransactional != 0 {
		return nil, "a batch belongs to a transaction, which this log must not have"
	}
	// kgo's reading of a fetched batch, which takes any bytes; kfake.BatchRecords
	// panics on a record of negative length. It stops at a bad record without a
	// word, so the count tells.
	partition := kmsg.FetchResponseTopicPartition{RecordBatches: raw}
	fetched, _ := kgo.ProcessFetchPartition(kgo.ProcessFetchPartitionOpts{Offset: math.MinInt64}, &partition, kgo.DefaultDecompressor(), nil)
	if fetched.Err != nil {
		return nil, fetched.Err.Error()
	}
	if len(fetched.Records) != int(batch.NumRecords) {
		return nil, fmt.Sprintf("a batch claims %d records, of which %d can be read", batch.NumRecords, len(fetched.Records))
	}
	for _, r := range fetched.Records {
		r.Timestamp = r.Timestamp.UTC()
	}
	return fetched.Records, ""
}

// logWriter writes records to the files of a new log.
type logWriter struct {
	dir        string
	compressor kgo.Compressor
	dat, idx   *os.File
	size       int64 // of the segment
	written    int64 // of all segments
	latest     int64 // time
}

// batchRecordsMax and batchValueBytesMax bound a batch; clients take whole
// batches only, of at most a megabyte.
const (
	batchRecordsMax    = 2000
	batchValueBytesMax = 512 << 10
)

// append writes records, whose offsets rise, as one batch.
func (w *logWriter) append(records []*kgo.Record) error {
	raw, latest := encodeBatch(records, w.compressor)
	if w.dat == nil || w.size >= segmentBytesMax {
		if err := w.roll(records[0].Offset); err != nil {
			return err
		}
	}
	w.latest = max(w.latest, latest)
	if _, err := w.dat.Write(raw); err != nil {
		return err
	}
	w.size += int64(len(raw))
	w.written += int64(len(raw))
	_, err := w.idx.Write(encodeIndexEntry(w.latest))
	return err
}

// roll ends the segment and begins one at an offset.
func (w *logWriter) roll(base int64) error {
	if err := w.finish(); err != nil {
		return err
	}
	w.size = 0
	name := filepath.Join(w.dir, fmt.Sprint(base))
	var err error
	if w.dat, err = os.OpenFile(name+".dat", os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644); err != nil {
		return err
	}
	w.idx, err = os.OpenFile(name+".idx", os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	return err
}

// finish makes what was written durable and closes the files.
func (w *logWriter) finish() error {
	var errs []error
	for _, f := range []*os.File{w.dat, w.idx} {
		if f != nil {
			errs = append(errs, f.Sync(), f.Close())
		}
	}
	w.dat, w.idx = nil, nil
	return errors.Join(append(errs, syncDir(w.dir))...)
}

// encodeBatch encodes records as a batch that no producer is known of.
func encodeBatch(records []*kgo.Record, compressor kgo.Compressor) (raw []byte, latest int64) {
	first := records[0]
	batch := kmsg.RecordBatch{
		FirstOffset: first.Offset, Magic: 2, LastOffsetDelta: int32(records[len(records)-1].Offset - first.Offset),
		FirstTimestamp: first.Timestamp.UnixMilli(), ProducerID: -1, ProducerEpoch: -1, FirstSequence: -1, NumRecords: int32(len(records)),
	}
	batch.MaxTimestamp = batch.FirstTimestamp
	var encoded []byte
	for _, r := range records {
		at := r.Timestamp.UnixMilli()
		batch.MaxTimestamp = max(batch.MaxTimestamp, at)
		k := kmsg.Record{TimestampDelta64: at - batch.FirstTimestamp, OffsetDelta: int32(r.Offset - first.Offset), Key: r.Key, Value: r.Value}
		for _, h := range r.Headers {
			k.Headers = append(k.Headers, kmsg.Header{Key: h.Key, Value: h.Value})
		}
		// The length counts what follows it; 0 takes one byte itself.
		k.Length = int32(len(k.AppendTo(nil)) - 1)
		encoded = k.AppendTo(encoded)
	}
	compressed, codec := compressor.Compress(new(bytes.Buffer), encoded)
	batch.Records, batch.Attributes = compressed, int16(codec)
	raw = batch.AppendTo(nil)
	binary.BigEndian.PutUint32(raw[8:], uint32(len(raw)-12))
	binary.BigEndian.PutUint32(raw[17:], crc32.Checksum(raw[21:], castagnoli))
	return raw, batch.MaxTimestamp
}

// encodeIndexEntry encodes an entry of an index file.
func encodeIndexEntry(latest int64) []byte {
	entry := make([]byte, 15)
	entry[0] = 1
	binary.LittleEndian.PutUint64(entry[6:], uint64(latest))
	entry[1] = byte(crc32.Checksum(entry[2:], castagnoli))
	return entry
}
