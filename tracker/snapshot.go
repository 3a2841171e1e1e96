package tracker

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
)

// A snapshot is a file with all links and programmes, and with where to go on
// in waymark.links. All numbers are little endian:
//
//	header, padded to snapshotHeaderBytes
//	   0  magic   "waymark" 1
//	   8  topic   identity of the topic, 16 bytes
//	  24  next    offset of the next record to apply, 8 bytes
//	  32  records number of records, 8 bytes
//	  40  chunks  number of chunks, 4 bytes
//	  44  tail    length of the tail, 4 bytes
//	  48  CRC     of the tail, 4 bytes
//	  52  CRC     of the bytes before it, 4 bytes
//	chunks of chunkBytes, the last one shorter, as in an arena; records by
//	rising link number
//	tail
//	     per chunk: used 4 bytes, CRC of them 4 bytes
//	     JSON array of the programmes
//
// CRCs are CRC-32C. The file is never changed, only replaced by renaming, so
// a node maps its chunks where they are instead of copying them.
const (
	snapshotMagic       = "waymark\x01"
	snapshotHeaderBytes = 4096
	snapshotTailMax     = 64 << 20
	chunkSumBytes       = 8
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// snapshotHeader is the header without magic and its own CRC.
type snapshotHeader struct {
	topicID   [16]byte
	next      int64
	records   uint64
	chunks    uint32
	tailBytes uint32
	tailCRC   uint32
}

func (h *snapshotHeader) encode() []byte {
	b := append(make([]byte, 0, snapshotHeaderBytes), snapshotMagic...)
	b = append(b, h.topicID[:]...)
	b = binary.LittleEndian.AppendUint64(b, uint64(h.next))
	b = binary.LittleEndian.AppendUint64(b, h.records)
	b = binary.LittleEndian.AppendUint32(b, h.chunks)
	b = binary.LittleEndian.AppendUint32(b, h.tailBytes)
	b = binary.LittleEndian.AppendUint32(b, h.tailCRC)
	b = binary.LittleEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
	return b[:snapshotHeaderBytes]
}

// chunkSum is what the tail says of a chunk.
type chunkSum struct{ used, crc uint32 }

// WriteSnapshot writes all links and programmes to a file that replaces path
// once it is whole and on disk. topicID is returned by LoadSnapshot, which
// lets a node see that the topic is still the one it knew.
//
// Records are applied meanwhile, and some of the file's links may already be
// as a later record made them: applying the records from Offset on leads to
// the same end. One call at a time.
func (l *Links) WriteSnapshot(path string, topicID [16]byte) error {
	temporary := path + ".tmp"
	f, err := os.Create(temporary)
	if err != nil {
		return fmt.Errorf("write the snapshot of links: %w", err)
	}
	err = l.writeSnapshot(f, topicID)
	if err == nil {
		err = f.Sync()
	}
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	if err == nil {
		err = os.Rename(temporary, path)
	}
	if err != nil {
		os.Remove(temporary)
		return fmt.Errorf("write the snapshot of links to %s: %w", path, err)
	}
	return syncFolder(filepath.Dir(path))
}

func syncFolder(path string) error {
	folder, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("sync the folder of the snapshot of links: %w", err)
	}
	defer folder.Close()
	if err := folder.Sync(); err != nil {
		return fmt.Errorf("sync the folder of the snapshot of links: %w", err)
	}
	return nil
}

// writeSnapshot writes the chunks, the tail, and last the header, without
// which the file is no snapshot.
func (l *Links) writeSnapshot(f *os.File, topicID [16]byte) error {
	set := l.set.Load()
	h := snapshotHeader{topicID: topicID, next: set.next.Load()}
	programs, err := json.Marshal(l.Programs())
	if err != nil {
		return fmt.Errorf("encode the programmes: %w", err)
	}
	if _, err := f.Seek(snapshotHeaderBytes, io.SeekStart); err != nil {
		return err
	}
	out := bufio.NewWriterSize(f, 1<<20)
	sums, records, err := writeChunks(out, set.store)
	if err != nil {
		return err
	}
	h.records, h.chunks = records, uint32(len(sums))
	var tail []byte
	for _, sum := range sums {
		tail = binary.LittleEndian.AppendUint32(tail, sum.used)
		tail = binary.LittleEndian.AppendUint32(tail, sum.crc)
	}
	tail = append(tail, programs...)
	h.tailBytes, h.tailCRC = uint32(len(tail)), crc32.Checksum(tail, castagnoli)
	if _, err := out.Write(tail); err != nil {
		return err
	}
	if err := out.Flush(); err != nil {
		return err
	}
	_, err = f.WriteAt(h.encode(), 0)
	return err
}

// writeChunks writes all records by rising number, also dead ones. It takes
// the store's lock once per record, so that nobody waits for the disk.
func writeChunks(out io.Writer, s *linkStore) (sums []chunkSum, records uint64, err error) {
	chunk := make([]byte, 0, chunkBytes)
	seal := func(size int) error {
		sums = append(sums, chunkSum{used: uint32(len(chunk)), crc: crc32.Checksum(chunk, castagnoli)})
		clear(chunk[len(chunk):size])
		_, err := out.Write(chunk[:size])
		chunk = chunk[:0]
		return err
	}
	last := uint64(s.last.Load())
	var record []byte
	for n := s.entries.from(1); n <= last; n = s.entries.from(n + 1) {
		var e storeEntry
		if record, e = s.read(record[:0], LinkNumber(n)); !e.exists() {
			continue
		}
		if len(chunk)+recordPrefixBytes+len(record) > chunkBytes {
			if err := seal(chunkBytes); err != nil {
				return nil, 0, err
			}
		}
		chunk = binary.LittleEndian.AppendUint16(chunk, uint16(len(record)))
		chunk = append(chunk, record...)
		records++
	}
	if len(chunk) > 0 {
		return sums, records, seal(len(chunk))
	}
	return sums, records, nil
}
