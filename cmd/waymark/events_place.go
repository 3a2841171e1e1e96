package main

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"path/filepath"

	"waymark/pipeline"
)

// importPlace is a file in DIR/imports that says how far the import of a file
// is, while it is under way. It is an economy only: an import that begins anew
// adds nothing, either.
type importPlace struct {
	path        string // "" for an input that can't be read twice
	from        pipeline.ImportProgress
	rejectBytes int64

	file   *os.File
	digest hash.Hash // of the file up to hashed
	hashed int64
}

// importPlaceRecord is its content.
type importPlaceRecord struct {
	File        string                  `json:"file"`
	Progress    pipeline.ImportProgress `json:"progress"`
	Digest      string                  `json:"digest"` // hex SHA-256 of the file's first progress.bytes
	RejectBytes int64                   `json:"reject_bytes"`
}

// openImportPlace finds where the import of a file with these settings was
// interrupted. It counts only if the file is still the same up to there.
func openImportPlace(data dataDir, input *os.File, settings string) (*importPlace, error) {
	p := &importPlace{file: input, digest: sha256.New()}
	info, err := input.Stat()
	if err != nil || !info.Mode().IsRegular() {
		return p, err
	}
	absolute, err := filepath.Abs(input.Name())
	if err != nil {
		return nil, fmt.Errorf("name the file to import: %w", err)
	}
	name := sha256.Sum256([]byte(absolute + "\x00" + settings))
	if err := os.MkdirAll(data.path("imports"), 0o700); err != nil {
		return nil, fmt.Errorf("create the directory of imports: %w", err)
	}
	p.path = data.path("imports", hex.EncodeToString(name[:16])+".json")
	content, err := os.ReadFile(p.path)
	if errors.Is(err, os.ErrNotExist) {
		return p, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read how far the import was: %w", err)
	}
	var record importPlaceRecord
	if json.Unmarshal(content, &record) != nil || record.Progress.Bytes > info.Size() {
		return p, nil // of another file or a torn one: from the beginning then
	}
	if err := p.hash(record.Progress.Bytes); err != nil {
		return nil, err
	}
	if hex.EncodeToString(p.digest.Sum(nil)) != record.Digest {
		p.digest, p.hashed = sha256.New(), 0
		return p, nil
	}
	p.from, p.rejectBytes = record.Progress, record.RejectBytes
	return p, nil
}

// hash takes in the file up to a position. It reads what the import has just
// read, from the kernel's memory.
func (p *importPlace) hash(to int64) error {
	n, err := io.Copy(p.digest, io.NewSectionReader(p.file, p.hashed, to-p.hashed))
	if p.hashed += n; err == nil && p.hashed != to {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		return fmt.Errorf("read the file up to byte %d again: %w", to, err)
	}
	return nil
}

// save writes down that everything so far is in Kafka.
func (p *importPlace) save(progress pipeline.ImportProgress, rejectBytes int64) error {
	if p.path == "" {
		return nil
	}
	if err := p.hash(progress.Bytes); err != nil {
		return err
	}
	content, err := json.Marshal(importPlaceRecord{
		File: p.file.Name(), Progress: progress, Digest: hex.EncodeToString(p.digest.Sum(nil)), RejectBytes: rejectBytes,
	})
	if err != nil {
		panic("BUG: encode the place of an import: " + err.Error())
	}
	if err := writeFileAtomic(p.path, content); err != nil {
		return fmt.Errorf("write down how far the import is: %w", err)
	}
	return nil
}

// remove forgets the place: the import is over.
func (p *importPlace) remove() error {
	if p.path == "" {
		return nil
	}
	if err := os.Remove(p.path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("forget how far the import was: %w", err)
	}
	return nil
}
