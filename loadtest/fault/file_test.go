package fault

import (
	"bytes"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
)

func TestDamageAndRestore(t *testing.T) {
	content := some(1000)
	for _, test := range []struct {
		name   string
		damage func(path string) (restore func() error, err error)
		check  func(bad []byte) bool
	}{
		{"corrupt", func(path string) (func() error, error) {
			return CorruptFile(path, 100, 8, rand.New(rand.NewPCG(1, 2)))
		}, func(bad []byte) bool {
			for i := range content {
				if within := i >= 100 && i < 108; (bad[i] != content[i]) != within {
					return false
				}
			}
			return len(bad) == len(content)
		}},
		{"truncate", func(path string) (func() error, error) { return TruncateFile(path, 300) },
			func(bad []byte) bool { return bytes.Equal(bad, content[:300]) }},
		{"truncate to nothing", func(path string) (func() error, error) { return TruncateFile(path, 0) },
			func(bad []byte) bool { return len(bad) == 0 }},
	} {
		t.Run(test.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "segment")
			if err := os.WriteFile(path, content, 0o600); err != nil {
				t.Fatal(err)
			}
			restore, err := test.damage(path)
			if err != nil {
				t.Fatal(err)
			}
			if bad, err := os.ReadFile(path); err != nil || !test.check(bad) {
				t.Errorf("%d bytes, %v:\n%x", len(bad), err, bad)
			}
			moved := path + ".corrupt" // as whoever finds it may do
			if err := os.Rename(path, moved); err != nil {
				t.Fatal(err)
			}
			if err := restore(); err != nil {
				t.Fatal(err)
			}
			if got, err := os.ReadFile(moved); err != nil || !bytes.Equal(got, content) {
				t.Errorf("restored to %d bytes, %v:\n%x", len(got), err, got)
			}
		})
	}
}

func TestDamageBeyondTheEnd(t *testing.T) {
	path := filepath.Join(t.TempDir(), "segment")
	if _, err := CorruptFile(path, 0, 1, rand.New(rand.NewPCG(1, 2))); !os.IsNotExist(unwrapped(err)) {
		t.Errorf("%v, want that there is no file", err)
	}
	if err := os.WriteFile(path, []byte("abc"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := CorruptFile(path, 2, 2, rand.New(rand.NewPCG(1, 2))); unwrapped(err) != io.ErrUnexpectedEOF {
		t.Errorf("%v, want an unexpected end", err)
	}
	if _, err := TruncateFile(path, 4); err == nil {
		t.Error("3 bytes were truncated to 4")
	}
	if got, _ := os.ReadFile(path); string(got) != "abc" {
		t.Errorf("the file holds %q", got)
	}
}

func unwrapped(err error) error {
	for {
		inner, ok := err.(interface{ Unwrap() error })
		if !ok || inner.Unwrap() == nil {
			return err
		}
		if os.IsNotExist(err) {
			return err
		}
		err = inner.Unwrap()
	}
}
