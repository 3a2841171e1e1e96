package tracker

import (
	"bytes"
	"cmp"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"
)

// BootstrapKeyID names the admin key that an installation starts with. It
// lives in a file or the environment, not in waymark.keys, so it is neither
// listed nor revoked there.
const BootstrapKeyID = "bootstrap"

const (
	keyIDLength     = 10
	keySecretLength = 32 // 190 bits: a fast hash is enough to store it
	base62          = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
)

// keyHash is the SHA-256 of a key's secret.
type keyHash [sha256.Size]byte

// Keys holds the API keys of waymark.keys. One follower applies records while
// any number of requests check secrets.
type Keys struct {
	mu     sync.RWMutex
	byHash map[keyHash]*APIKey // live keys, immutable once in here
	byID   map[string]*APIKey  // revoked ones too
}

// NewKeys returns the keys of an installation whose topic is empty: the
// bootstrap admin key, or none if secret is "".
func NewKeys(secret string) *Keys {
	k := &Keys{byHash: make(map[keyHash]*APIKey), byID: make(map[string]*APIKey)}
	if secret != "" {
		k.byHash[sha256.Sum256([]byte(secret))] = &APIKey{ID: BootstrapKeyID, Role: RoleAdmin}
	}
	return k
}

// Apply takes one record of waymark.keys. A value of nil deletes the key. On
// an error nothing has changed, and the caller may go on with the next record.
func (k *Keys) Apply(key, value []byte) error {
	if len(value) == 0 {
		k.replace(string(key), nil, keyHash{})
		return nil
	}
	var next APIKey
	if err := json.Unmarshal(value, &next); err != nil {
		return fmt.Errorf("decode the record of API key %q: %w", key, err)
	}
	if next.ID != string(key) || next.ID == BootstrapKeyID {
		return fmt.Errorf("apply the record of API key %q: it holds the key %q", key, next.ID)
	}
	var hash keyHash
	if n, err := hex.Decode(hash[:], []byte(next.Hash)[:min(len(next.Hash), 2*len(hash))]); err != nil || n != len(hash) {
		return fmt.Errorf("apply the record of API key %q: its hash is no SHA-256 in hex", key)
	}
	k.replace(next.ID, &next, hash)
	return nil
}

// replace puts a key, or nothing, where the one with this id was.
func (k *Keys) replace(id string, next *APIKey, hash keyHash) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if old := k.byID[id]; old != nil {
		var oldHash keyHash
		hex.Decode(oldHash[:], []byte(old.Hash)) // it was decoded before
		delete(k.byHash, oldHash)
		delete(k.byID, id)
	}
	if next == nil {
		return
	}
	k.byID[id] = next
	if next.RevokedAt == nil {
		k.byHash[hash] = next
	}
}

// Check returns the live key with this secret. The key is shared: do not
// change it. It allocates nothing.
//
// The map is asked for the secret's SHA-256, which nobody can steer byte by
// byte, so the time it takes tells nothing about the secrets that exist.
func (k *Keys) Check(secret []byte) (*APIKey, bool) {
	hash := keyHash(sha256.Sum256(secret))
	k.mu.RLock()
	key, ok := k.byHash[hash]
	k.mu.RUnlock()
	return key, ok
}

// IsAdmin reports whether secret is that of a live key of role admin, good for
// all programmes.
func (k *Keys) IsAdmin(secret []byte) bool {
	key, ok := k.Check(secret)
	return ok && key.Role == RoleAdmin && key.Program == ""
}

// Get returns the key with this id, revoked or not.
func (k *Keys) Get(id string) (APIKey, bool) {
	k.mu.RLock()
	defer k.mu.RUnlock()
	key := k.byID[id]
	if key == nil {
		return APIKey{}, false
	}
	return *key, true
}

// List returns all keys in the order of their creation, revoked ones too,
// without their hashes.
func (k *Keys) List() []APIKey {
	k.mu.RLock()
	keys := make([]APIKey, 0, len(k.byID))
	for _, key := range k.byID {
		listed := *key
		listed.Hash = ""
		keys = append(keys, listed)
	}
	k.mu.RUnlock()
	slices.SortFunc(keys, func(a, b APIKey) int {
		return cmp.Or(a.CreatedAt.Compare(b.CreatedAt), cmp.Compare(a.ID, b.ID))
	})
	return keys
}

// NewAPIKey makes a key and its secret, wmk_<id>_<32 base62 digits>, which is
// stored nowhere. program "" makes it good for all programmes. An unknown role
// is a *FieldError.
func NewAPIKey(role Role, program string) (secret string, key APIKey, err error) {
	switch role {
	case RoleAdmin, RoleEvent, RoleRead:
	default:
		return "", APIKey{}, fieldErrorf("role", "must be admin, event or read")
	}
	id := randomBase62(keyIDLength)
	secret = "wmk_" + id + "_" + randomBase62(keySecretLength)
	hash := sha256.Sum256([]byte(secret))
	return secret, APIKey{
		ID: id, Role: role, Program: program, Hash: hex.EncodeToString(hash[:]),
		CreatedAt: time.Now().UTC().Truncate(time.Millisecond),
	}, nil
}

// randomBase62 returns n random digits, each with equal chance: bytes from 248
// on are drawn again, since 256 is no multiple of 62.
func randomBase62(n int) string {
	var b strings.Builder
	b.Grow(n)
	var random [64]byte
	for b.Len() < n {
		rand.Read(random[:])
		for _, c := range random {
			if c < 4*62 && b.Len() < n {
				b.WriteByte(base62[c%62])
			}
		}
	}
	return b.String()
}

// Bearer returns the token of an Authorization header (RFC 6750), nil if the
// header has none. The scheme may be written in any case. The result aliases
// header.
func Bearer(header []byte) []byte {
	const scheme = "bearer"
	if len(header) <= len(scheme) || !bytes.EqualFold(header[:len(scheme)], []byte(scheme)) || header[len(scheme)] != ' ' {
		return nil
	}
	token := bytes.Trim(header[len(scheme):], " \t")
	if len(token) == 0 || bytes.ContainsAny(token, " \t,") {
		return nil
	}
	return token
}
