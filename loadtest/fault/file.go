package fault

import (
	"fmt"
	"io"
	"math/rand/v2"
	"os"
)

// CorruptFile flips a random bit, at least one, in each of n bytes from offset
// at on. restore puts the old bytes back, wherever the file was moved to
// meanwhile. The error is of the file or that it ends before at+n.
func CorruptFile(path string, at int64, n int, rng *rand.Rand) (restore func() error, err error) {
	return damage(path, func(file *os.File) ([]byte, error) {
		old := make([]byte, n)
		if _, err := io.ReadFull(io.NewSectionReader(file, at, int64(n)), old); err != nil {
			return nil, err
		}
		bad := make([]byte, n)
		for i, b := range old {
			bad[i] = b ^ byte(1+rng.IntN(255))
		}
		_, err := file.WriteAt(bad, at)
		return old, err
	}, at)
}

// TruncateFile cuts a file to a length in bytes. restore appends the old end
// again, wherever the file was moved to meanwhile. The error is of the file or
// that it is shorter.
func TruncateFile(path string, to int64) (restore func() error, err error) {
	return damage(path, func(file *os.File) ([]byte, error) {
		info, err := file.Stat()
		if err != nil {
			return nil, err
		}
		if info.Size() < to {
			return nil, fmt.Errorf("it has %d bytes only", info.Size())
		}
		old := make([]byte, info.Size()-to)
		if _, err := io.ReadFull(io.NewSectionReader(file, to, int64(len(old))), old); err != nil {
			return nil, err
		}
		return old, file.Truncate(to)
	}, to)
}

// damage opens a file for do, which harms it and returns the bytes from offset
// at on as they were. The file stays open for restore: whoever finds the damage
// may rename the file.
func damage(path string, do func(*os.File) (old []byte, err error), at int64) (restore func() error, err error) {
	file, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return nil, fmt.Errorf("damage a file: %w", err)
	}
	old, err := do(file)
	if err != nil {
		file.Close()
		return nil, fmt.Errorf("damage %s at offset %d: %w", path, at, err)
	}
	return func() error {
		defer file.Close()
		if _, err := file.WriteAt(old, at); err != nil {
			return fmt.Errorf("restore %s: %w", path, err)
		}
		return nil
	}, nil
}
