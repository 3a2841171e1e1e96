package verify

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"os"
	"path/filepath"
)

// spillParts is the number of files of a spill. At 50 million records each part
// has 200,000, and only one part is in memory at a time.
const spillParts = 256

// spillBuffer is what each part collects before it writes.
const spillBuffer = 16 << 10

// spill divides records among files by a hash of their keys, so that all records
// of a key are in the same part. Records of a part stay in order.
//
// A record is
//
//	side (1 byte) | length of key | length of facts (uvarints) | key | facts
type spill struct {
	seed  maphash.Seed
	files []*os.File
	parts []*bufio.Writer
	head  []byte
}

// newSpill makes the files in dir, which the caller removes.
func newSpill(dir, name string) (*spill, error) {
	s := &spill{seed: maphash.MakeSeed()}
	for i := range spillParts {
		file, err := os.Create(filepath.Join(dir, fmt.Sprintf("%s-%d", name, i)))
		if err != nil {
			s.close()
			return nil, fmt.Errorf("create a temporary file: %w; choose another directory with --temp", err)
		}
		s.files = append(s.files, file)
		s.parts = append(s.parts, bufio.NewWriterSize(file, spillBuffer))
	}
	return s, nil
}

func (s *spill) close() {
	for _, file := range s.files {
		file.Close()
	}
}

// add keeps a record.
func (s *spill) add(side uint8, key, facts []byte) error {
	part := s.parts[maphash.Bytes(s.seed, key)%spillParts]
	s.head = append(s.head[:0], side)
	s.head = binary.AppendUvarint(s.head, uint64(len(key)))
	s.head = binary.AppendUvarint(s.head, uint64(len(facts)))
	part.Write(s.head)
	part.Write(key)
	if _, err := part.Write(facts); err != nil {
		return fmt.Errorf("write a temporary file: %w; choose another directory with --temp", err)
	}
	return nil
}

// each reads one part after the other. visit gets the records of a part in the
// order of adding, its slices valid until it returns; end is called after each
// part.
func (s *spill) each(visit func(side uint8, key, facts []byte) error, end func() error) error {
	for i, part := range s.parts {
		if err := part.Flush(); err != nil {
			return fmt.Errorf("write a temporary file: %w; choose another directory with --temp", err)
		}
		if _, err := s.files[i].Seek(0, io.SeekStart); err != nil {
			return fmt.Errorf("read a temporary file: %w", err)
		}
		if err := readPart(s.files[i], visit); err != nil {
			return err
		}
		if err := end(); err != nil {
			return err
		}
	}
	return nil
}

func readPart(file io.Reader, visit func(side uint8, key, facts []byte) error) error {
	r := bufio.NewReaderSize(file, spillBuffer)
	var record []byte
	for {
		side, err := r.ReadByte()
		if errors.Is(err, io.EOF) {
			return nil
		}
		var key, facts uint64
		if err == nil {
			key, err = binary.ReadUvarint(r)
		}
		if err == nil {
			facts, err = binary.ReadUvarint(r)
		}
		if err == nil {
			if n := int(key + facts); n > cap(record) {
				record = make([]byte, n)
			}
			record = record[:key+facts]
			_, err = io.ReadFull(r, record)
		}
		if err != nil {
			return fmt.Errorf("read a temporary file: %w", err)
		}
		if err := visit(side, record[:key], record[key:]); err != nil {
			return err
		}
	}
}
