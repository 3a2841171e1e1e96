package spool

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
)

// Identity names a stream of contiguous ordinals: 128 random bits.
type Identity [16]byte

// newIdentity cannot fail: crypto/rand ends the process when the kernel has no randomness.
func newIdentity() (id Identity) {
	rand.Read(id[:])
	return id
}

// String is the identity as 32 hexadecimal digits.
func (id Identity) String() string { return hex.EncodeToString(id[:]) }

// MarshalText implements encoding.TextMarshaler.
func (id Identity) MarshalText() ([]byte, error) { return []byte(id.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (id *Identity) UnmarshalText(text []byte) error {
	if hex.DecodedLen(len(text)) != len(id) {
		return fmt.Errorf("parse identity: %d digits, want %d", len(text), hex.EncodedLen(len(id)))
	}
	_, err := hex.Decode(id[:], text)
	return err
}

// Node is the number under which the frames of an identity are sent. The zero Node is unknown.
type Node struct {
	Number uint16 `json:"number"`
	Known  bool   `json:"known"`
}
