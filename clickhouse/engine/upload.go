package engine

import (
	"fmt"
	"io"
	"os"
)

// uploadMemoryBytesMax is how much of an INSERT's data is kept in memory; more goes to a file.
const uploadMemoryBytesMax = 64 << 20

// upload is the data of one INSERT. It is complete before the engine sees any of it, so that an upload that breaks off
// inserts nothing; and the engine reads it through a path, because its client parser would cut inline data at a newline.
type upload struct {
	file  *os.File
	bytes int64
}

// receive reads all of src. Beyond memoryMax bytes the data goes to an unnamed file in dir.
func receive(src io.Reader, dir string, memoryMax int64) (*upload, error) {
	file, err := memoryFile()
	if err != nil {
		return nil, err
	}
	u := &upload{file: file}
	u.bytes, err = io.CopyN(u.file, src, memoryMax)
	if err == io.EOF {
		return u, nil
	}
	if err == nil {
		err = u.spill(src, dir)
	}
	if err != nil {
		u.close()
		return nil, err
	}
	return u, nil
}

// spill moves the data to disk and receives the rest there.
func (u *upload) spill(src io.Reader, dir string) error {
	disk, err := os.CreateTemp(dir, "upload-*")
	if err != nil {
		return fmt.Errorf("create a file for a large upload: %w", err)
	}
	memory := u.file
	defer memory.Close()
	u.file = disk
	if err := os.Remove(disk.Name()); err != nil {
		return fmt.Errorf("create a file for a large upload: %w", err)
	}
	if _, err := memory.Seek(0, io.SeekStart); err != nil {
		return fmt.Errorf("move a large upload to disk: %w", err)
	}
	if _, err := io.Copy(disk, memory); err != nil {
		return fmt.Errorf("move a large upload to disk: %w", err)
	}
	n, err := io.Copy(disk, src)
	u.bytes += n
	return err
}

// path is where the engine, being in this process, finds the data until close.
func (u *upload) path() string { return fmt.Sprintf("/proc/self/fd/%d", u.file.Fd()) }

func (u *upload) close() { u.file.Close() }
