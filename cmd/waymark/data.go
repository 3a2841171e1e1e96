package main

import (
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// dataDir is the directory that --data names. All state of an installation on
// the embedded default lives in it:
//
//	admin.key            key of role admin, made at the first start
//	clickhouse.password  password of the engine's user waymark
//	secrets.json         key ring for cookies, click ids and address hashes
//	spool/, spool-2/, …  a node's overflow segments, journal of actions and copy of the links
//	links/               the admin's copy of the links
//	broker/              log of the embedded broker
//	engine/              tables of the embedded ClickHouse
type dataDir string

// engineUser is the user of the embedded engine that may do everything.
const engineUser = "waymark"

func (d dataDir) path(elem ...string) string {
	return filepath.Join(append([]string{string(d)}, elem...)...)
}

// open makes the directory and sees that it can be written.
func (d dataDir) open() error {
	if err := os.MkdirAll(string(d), 0o700); err != nil {
		return fmt.Errorf("create the data directory: %w; choose another with --data", err)
	}
	probe, err := os.CreateTemp(string(d), ".writable-*")
	if err != nil {
		return fmt.Errorf("write to the data directory %s: %w; choose another with --data", d, err)
	}
	probe.Close()
	return os.Remove(probe.Name())
}

// lock takes the lock of a role, which the process holds until it ends, by
// whatever means.
func (d dataDir) lock(role string) (*os.File, error) {
	file, err := os.OpenFile(d.path(role+".lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open the lock of %s: %w", role, err)
	}
	if err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		file.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, fmt.Errorf("another `waymark %s` runs on %s; stop it or choose another directory with --data", role, d)
		}
		return nil, fmt.Errorf("lock %s: %w", d.path(role+".lock"), err)
	}
	return file, nil
}

// adminKey is WAYMARK_ADMIN_KEY, or the content of admin.key, which is made
// when create is set. It is "" where there is neither.
func (d dataDir) adminKey(create bool) (string, error) {
	if key := os.Getenv("WAYMARK_ADMIN_KEY"); key != "" {
		return key, nil
	}
	return d.secret("admin.key", "wma_", create)
}

// clickhousePassword is the content of clickhouse.password.
func (d dataDir) clickhousePassword(create bool) (string, error) {
	return d.secret("clickhouse.password", "", create)
}

// secret reads a one-line file of mode 0600, or makes it with a random secret
// of 192 bits.
func (d dataDir) secret(name, prefix string, create bool) (string, error) {
	path := d.path(name)
	content, err := os.ReadFile(path)
	if err == nil {
		if secret := strings.TrimSpace(string(content)); secret != "" {
			return secret, nil
		}
		return "", fmt.Errorf("read %s: it is empty; remove it to have a new one made", path)
	}
	if !errors.Is(err, os.ErrNotExist) {
		return "", fmt.Errorf("read a secret: %w", err)
	}
	if !create {
		return "", nil
	}
	random := make([]byte, 24)
	rand.Read(random)
	secret := prefix + base64.RawURLEncoding.EncodeToString(random)
	if err := writeFileAtomic(path, []byte(secret+"\n")); err != nil {
		return "", fmt.Errorf("write a secret: %w", err)
	}
	return secret, nil
}

// writeFileAtomic leaves either the old content or the whole new one, also
// after a crash, with mode 0600.
func writeFileAtomic(path string, content []byte) error {
	file, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-*")
	if err != nil {
		return err
	}
	defer os.Remove(file.Name())
	if _, err := file.Write(content); err != nil {
		file.Close()
		return err
	}
	if err := file.Sync(); err != nil {
		file.Close()
		return err
	}
	if err := file.Close(); err != nil {
		return err
	}
	return os.Rename(file.Name(), path)
}
