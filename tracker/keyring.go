package tracker

import (
	"bytes"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

const (
	keyRingIDs     = 16 // an id has four bits on the wire
	keySecretBytes = 32
)

// KeyRing holds the secrets that an installation's nodes share: those of click
// ids, cookies and address hashes are derived from them. New things are made
// with the current secret, old ones still open with the others, so that a
// secret is replaced by adding one, making it current, and removing the old
// one when everything that it sealed has expired. It is immutable.
type KeyRing struct {
	current uint8
	secrets [keyRingIDs][]byte // nil where there is none
}

// keyRingFile is the text form of a ring.
type keyRingFile struct {
	Current uint8           `json:"current"`
	Keys    []keyRingSecret `json:"keys"`
}

type keyRingSecret struct {
	ID     uint8  `json:"id"`     // 0 to 15
	Secret string `json:"secret"` // 64 hexadecimal digits
}

// ParseKeyRing reads the text form of a ring, as LoadOrCreateKeyRing writes it:
//
//	{"current": 0, "keys": [{"id": 0, "secret": "<64 hexadecimal digits>"}]}
//
// No error repeats a secret.
func ParseKeyRing(text string) (*KeyRing, error) {
	var file keyRingFile
	decoder := json.NewDecoder(bytes.NewReader([]byte(text)))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&file); err != nil {
		return nil, errors.New(`read the key ring: want {"current":0,"keys":[{"id":0,"secret":"<64 hexadecimal digits>"}]}`)
	}
	ring := &KeyRing{current: file.Current}
	for _, key := range file.Keys {
		secret, err := hex.DecodeString(key.Secret)
		switch {
		case key.ID >= keyRingIDs:
			return nil, fmt.Errorf("read the key ring: key %d: an id is at most %d", key.ID, keyRingIDs-1)
		case err != nil || len(secret) != keySecretBytes:
			return nil, fmt.Errorf("read the key ring: key %d: a secret is %d hexadecimal digits", key.ID, 2*keySecretBytes)
		case ring.secrets[key.ID] != nil:
			return nil, fmt.Errorf("read the key ring: key %d is there twice", key.ID)
		}
		ring.secrets[key.ID] = secret
	}
	if file.Current >= keyRingIDs || ring.secrets[file.Current] == nil {
		return nil, fmt.Errorf("read the key ring: the current key %d is not in it", file.Current)
	}
	return ring, nil
}

// LoadOrCreateKeyRing reads the ring from a file, which it creates with one
// random secret, readable by its owner only, if there is none. Processes that
// start together on the same file end up with the same ring.
func LoadOrCreateKeyRing(path string) (*KeyRing, error) {
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		if err := createKeyRing(path); err != nil {
			return nil, fmt.Errorf("create the key ring %s: %w", path, err)
		}
		text, err = os.ReadFile(path)
	}
	if err != nil {
		return nil, fmt.Errorf("read the key ring: %w", err)
	}
	ring, err := ParseKeyRing(string(text))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return ring, nil
}

// createKeyRing writes a new ring under a name of its own and links it to
// path, which succeeds for one process only: with a rename, the last of two
// would replace a ring that the first may have used already.
func createKeyRing(path string) error {
	var secret [keySecretBytes]byte
	rand.Read(secret[:])
	text, err := json.MarshalIndent(keyRingFile{Keys: []keyRingSecret{{Secret: hex.EncodeToString(secret[:])}}}, "", "  ")
	if err != nil {
		return err
	}
	file, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*") // mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(file.Name())
	_, err = file.Write(append(text, '\n'))
	if err == nil {
		err = file.Sync()
	}
	if closeErr := file.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return err
	}
	if err := os.Link(file.Name(), path); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return nil
}

// AddressKey is the key of the address hash on the day (UTC) of t. It changes
// daily, so that nobody can be followed by the hash for longer.
func (r *KeyRing) AddressKey(t time.Time) []byte {
	return r.derive(r.current, "address hash "+t.UTC().Format(time.DateOnly), 32)
}

// derive returns the key of so many bytes that a secret of the ring gives for
// a purpose, by HKDF with SHA-256 (RFC 5869).
func (r *KeyRing) derive(id uint8, purpose string, bytes int) []byte {
	key, err := hkdf.Key(sha256.New, r.secrets[id], nil, "waymark "+purpose, bytes)
	if err != nil {
		panic("BUG: derive a key: " + err.Error())
	}
	return key
}

// each calls f for every secret of the ring.
func (r *KeyRing) each(f func(id uint8)) {
	for id, secret := range r.secrets {
		if secret != nil {
			f(uint8(id))
		}
	}
}
