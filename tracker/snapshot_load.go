package tracker

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"io"
	"os"

	"waymark/tracker/wire"
)

// SnapshotError is a snapshot that is torn or corrupt, with the position in
// the file of what is wrong. The links are to be read from the topic instead.
type SnapshotError struct {
	Path   string
	Offset int64
	Detail string
}

func (e *SnapshotError) Error() string {
	return fmt.Sprintf("load the snapshot of links %s: corrupt at byte %d: %s", e.Path, e.Offset, e.Detail)
}

// LoadSnapshot replaces all links and programmes by those of a file that
// WriteSnapshot wrote, and returns the topic that Offset belongs to. It comes
// before any Apply. The kernel may page out links that nobody visits.
//
// The error is fs.ErrNotExist where there is no file, a *SnapshotError where it
// is damaged; l is as it was then.
func (l *Links) LoadSnapshot(path string) (topicID [16]byte, err error) {
	f, err := os.Open(path)
	if err != nil {
		return topicID, fmt.Errorf("load the snapshot of links: %w", err)
	}
	defer f.Close()
	file := &snapshotFile{file: f}
	if err := file.open(); err != nil {
		return topicID, err
	}
	// More links than fit in the file can't size anything.
	set, err := newLinkSet(int(file.header.records))
	if err != nil {
		return topicID, err
	}
	l.writing.Lock()
	defer l.writing.Unlock()
	if err := l.loadChunks(set, file); err != nil {
		return topicID, err
	}
	for i := range file.programs {
		l.programs.set(&file.programs[i])
	}
	if err := l.foldAll(set); err != nil {
		return topicID, err
	}
	set.next.Store(file.header.next)
	l.set.Store(set)
	return file.header.topicID, nil
}

// snapshotFile is a file whose header and tail were read.
type snapshotFile struct {
	file     *os.File
	header   snapshotHeader
	sums     []chunkSum
	programs []Program
}

func (s *snapshotFile) corrupt(offset int64, format string, args ...any) error {
	return &SnapshotError{Path: s.file.Name(), Offset: offset, Detail: fmt.Sprintf(format, args...)}
}

// open reads and checks header and tail.
func (s *snapshotFile) open() error {
	info, err := s.file.Stat()
	if err != nil {
		return fmt.Errorf("load the snapshot of links: %w", err)
	}
	if err := s.readHeader(info.Size()); err != nil {
		return err
	}
	at := info.Size() - int64(s.header.tailBytes)
	tail := make([]byte, s.header.tailBytes)
	if _, err := s.file.ReadAt(tail, at); err != nil && err != io.EOF {
		return fmt.Errorf("load the snapshot of links: %w", err)
	}
	if crc32.Checksum(tail, castagnoli) != s.header.tailCRC {
		return s.corrupt(at, "the checksum of the tail is wrong")
	}
	end := int64(snapshotHeaderBytes)
	for i := range int(s.header.chunks) {
		sum := chunkSum{
			used: binary.LittleEndian.Uint32(tail[i*chunkSumBytes:]),
			crc:  binary.LittleEndian.Uint32(tail[i*chunkSumBytes+4:]),
		}
		if sum.used == 0 || sum.used > chunkBytes {
			return s.corrupt(at+int64(i)*chunkSumBytes, "chunk %d has %d bytes", i, sum.used)
		}
		s.sums = append(s.sums, sum)
		end = snapshotHeaderBytes + int64(i)*chunkBytes + int64(sum.used)
	}
	if end != at {
		return s.corrupt(end, "the tail is at byte %d, the chunks end at %d", at, end)
	}
	if err := json.Unmarshal(tail[len(s.sums)*chunkSumBytes:], &s.programs); err != nil {
		return s.corrupt(at, "the programmes are unreadable: %v", err)
	}
	return nil
}

// readHeader leaves a header that agrees with the size of the file, so that
// nothing is reserved for what is not there.
func (s *snapshotFile) readHeader(size int64) error {
	b := make([]byte, snapshotHeaderBytes)
	if n, err := s.file.ReadAt(b, 0); err != nil && err != io.EOF {
		return fmt.Errorf("load the snapshot of links: %w", err)
	} else if n < len(b) {
		return s.corrupt(int64(n), "the file ends within the header")
	}
	if string(b[:8]) != snapshotMagic {
		return s.corrupt(0, "it does not begin as a snapshot of this version")
	}
	if binary.LittleEndian.Uint32(b[52:]) != crc32.Checksum(b[:52], castagnoli) {
		return s.corrupt(52, "the checksum of the header is wrong")
	}
	h := &s.header
	copy(h.topicID[:], b[8:])
	h.next = int64(binary.LittleEndian.Uint64(b[24:]))
	h.records = binary.LittleEndian.Uint64(b[32:])
	h.chunks = binary.LittleEndian.Uint32(b[40:])
	h.tailBytes = binary.LittleEndian.Uint32(b[44:])
	h.tailCRC = binary.LittleEndian.Uint32(b[48:])
	switch body := size - snapshotHeaderBytes; {
	case h.next < 0:
		return s.corrupt(24, "the next offset is negative")
	case h.tailBytes > snapshotTailMax || int64(h.tailBytes) > body || int64(h.tailBytes) < int64(h.chunks)*chunkSumBytes:
		return s.corrupt(44, "a tail of %d bytes for %d chunks in a file of %d", h.tailBytes, h.chunks, size)
	case h.records > uint64(body)/recordPrefixBytes:
		return s.corrupt(32, "%d records in a file of %d bytes", h.records, size)
	}
	return nil
}

// loadChunks maps every chunk and publishes its records in a new set.
func (l *Links) loadChunks(set *linkSet, file *snapshotFile) error {
	defer l.scratch.Reset() // it borrows from the chunks
	var last LinkNumber
	var records uint64
	for i, sum := range file.sums {
		offset := snapshotHeaderBytes + int64(i)*chunkBytes
		memory, err := mapRegion(file.file, offset, int(sum.used))
		if err != nil {
			return err
		}
		if crc32.Checksum(memory.bytes, castagnoli) != sum.crc {
			return file.corrupt(offset, "the checksum of chunk %d is wrong", i)
		}
		loaded, err := l.loadChunk(set, memory, &last)
		if bad, ok := err.(*RecordError); ok {
			return file.corrupt(offset+bad.Offset, "%s", bad.Detail)
		} else if err != nil {
			return err
		}
		records += loaded
	}
	if records != file.header.records {
		return file.corrupt(32, "it has %d records, not %d", records, file.header.records)
	}
	return nil
}

// loadChunk publishes the records of a chunk where they are. A *RecordError has
// the offset within the chunk. last is the number of the record before.
func (l *Links) loadChunk(set *linkSet, memory *region, last *LinkNumber) (records uint64, err error) {
	s := set.store
	chunk := &arenaChunk{memory: memory, used: len(memory.bytes), live: len(memory.bytes)}
	at := s.arena.add(chunk)
	for offset := 0; offset < chunk.used; records++ {
		record, detail := chunkRecord(memory.bytes[offset:])
		if detail != "" {
			return 0, &RecordError{Offset: int64(offset), Detail: detail}
		}
		w := &l.scratch
		w.Reset()
		if detail := checkStored(w, record, *last); detail != "" {
			return 0, &RecordError{Offset: int64(offset), Detail: detail}
		}
		*last = LinkNumber(w.Number)
		domain, code := recordKey(record)
		k := l.linkKey(domain, code)
		if w.Domain != "" {
			set.domains.Store(true)
		}
		admit := func() { l.admit(set, &k) }
		if err := s.publish(*last, &k, newRecordRef(at, offset), w.Deleted, admit); err != nil {
			return 0, err
		}
		offset += recordPrefixBytes + len(record)
	}
	return records, nil
}

// chunkRecord returns the first record of a chunk's rest.
func chunkRecord(rest []byte) (record []byte, detail string) {
	if len(rest) < recordPrefixBytes {
		return nil, "a record has no length"
	}
	length := int(binary.LittleEndian.Uint16(rest))
	if length > len(rest)-recordPrefixBytes {
		return nil, fmt.Sprintf("a record of %d bytes in the last %d", length, len(rest))
	}
	return rest[recordPrefixBytes:][:length], ""
}

// checkStored decodes a record and says what would make it break the store's
// promises, which no checksum tells: that its fields stand in order.
func checkStored(w *wire.Link, record []byte, last LinkNumber) string {
	if err := w.UnmarshalVTUnsafe(record); err != nil {
		return "it is no encoded link: " + err.Error()
	}
	if LinkNumber(w.Number) <= last {
		return fmt.Sprintf("link number %d after %d", w.Number, last)
	}
	if len(w.Code) == 0 || len(w.Code) > codeBytesMax || len(w.Domain) > domainBytesMax {
		return "its key is too short or too long"
	}
	if !startsWithKey(record, w) {
		return "its fields are not in order"
	}
	return ""
}

// startsWithKey reports whether number, code and domain come first and once.
func startsWithKey(record []byte, w *wire.Link) bool {
	key := wire.Link{Number: w.Number, Code: w.Code, Domain: w.Domain}
	var buffer [codeBytesMax + domainBytesMax + 16]byte
	size := key.SizeVT()
	if _, err := key.MarshalToSizedBufferVT(buffer[:size]); err != nil {
		panic("BUG: encode the key of a link: " + err.Error())
	}
	return len(record) >= size && string(record[:size]) == string(buffer[:size])
}
