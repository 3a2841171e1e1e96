package spool

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"os"
	"path/filepath"
)

// state is what a directory remembers about its stream beside the frames. The file is one line of JSON, for people, and one
// with its CRC-32C in hexadecimal. It is replaced as a whole: written aside, synced, renamed.
type state struct {
	Identity   Identity `json:"identity"`
	Node       Node     `json:"node"`
	Generation uint64   `json:"generation"` // grows with every Open; a ring of an earlier one is stale
	Ring       string   `json:"ring,omitempty"`
	// Clean says that Tail, Ordinal and Acked are exact because the spool was closed with nothing in the ring. Otherwise the
	// ring knows better, and Acked is a lower bound.
	Clean   bool     `json:"clean"`
	Tail    Position `json:"tail"`
	Ordinal uint64   `json:"ordinal"` // of the next frame
	Acked   Position `json:"acked"`
	Latest  uint64   `json:"latest_ms"` // latest time of a record
}

const stateFile = "state"

func encodeState(st state) ([]byte, error) {
	line, err := json.Marshal(st)
	if err != nil {
		return nil, err
	}
	line = append(line, '\n')
	return fmt.Appendf(line, "%08x\n", crc32.Checksum(line, castagnoli)), nil
}

func decodeState(data []byte) (st state, err error) {
	end := bytes.IndexByte(data, '\n') + 1
	if want := fmt.Appendf(nil, "%08x\n", crc32.Checksum(data[:end], castagnoli)); !bytes.Equal(data[end:], want) {
		return state{}, errors.New("checksum does not match")
	}
	return st, json.Unmarshal(data[:end], &st)
}

// loadState reads the state of dir. found is false when there is none; err is about its content or the reading.
func loadState(dir string) (st state, found bool, err error) {
	path := filepath.Join(dir, stateFile)
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return state{}, false, nil
	}
	if err != nil {
		return state{}, false, fmt.Errorf("read spool state: %w", err)
	}
	if st, err = decodeState(data); err != nil {
		return state{}, true, &CorruptError{File: path, Err: err}
	}
	return st, true, nil
}

// save returns when the state is on disk.
func (st state) save(dir string) error {
	data, err := encodeState(st)
	if err != nil {
		return fmt.Errorf("encode spool state: %w", err)
	}
	path := filepath.Join(dir, stateFile)
	if err := writeSynced(path+".new", data); err != nil {
		return fmt.Errorf("write spool state: %w", err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		return fmt.Errorf("replace spool state: %w", err)
	}
	return syncDir(dir)
}

func writeSynced(path string, data []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

// syncDir makes created and renamed names in dir durable.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("open directory to sync it: %w", err)
	}
	defer d.Close()
	if err := d.Sync(); err != nil {
		return fmt.Errorf("sync directory %s: %w", dir, err)
	}
	return nil
}
