package tracker

import (
	"crypto/aes"
	"crypto/cipher"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"sync"
	"time"
)

// ClickIDLength is the number of characters of a click id.
const ClickIDLength = 22

// Bounds of the time that a click id may carry. They only have to be tight
// enough to catch most forgeries that pass the zeros.
const (
	hitTimeMinMS = 946_684_800_000 // 2000-01-01
	hitAheadMax  = 5 * time.Minute // for clocks that are not quite right
)

// Widths of the parts of an identity.
const (
	timeBits     = 42 // good until 2109
	sequenceBits = 14
)

// ErrClickID means that a text is no click id of this installation: it was
// mistyped, cut, forged, or made with a secret that has left the key ring.
var ErrClickID = errors.New("no click id of this installation")

// ClickIDs makes click ids and reads them. It is safe for concurrent use.
//
// A click id is one AES block as 22 characters of base64url, most significant
// bit first:
//
//	0        42          74      90         104             128
//	| time ms | link (32) | node  | sequence | zero (24 bit) |
//
// The 22 characters have 132 bits; the last four name the key. That makes a
// random text valid once in 2^24 times, and the time must make sense as well.
// A MAC of its own was rejected: it would double the length of the id.
type ClickIDs struct {
	current uint8
	blocks  [keyRingIDs]cipher.Block // nil where there is no key
}

// NewClickIDs returns the click ids of an installation with this key ring.
func NewClickIDs(ring *KeyRing) *ClickIDs {
	ids := &ClickIDs{current: ring.current}
	ring.each(func(id uint8) {
		block, err := aes.NewCipher(ring.derive(id, "click id", 16))
		if err != nil {
			panic("BUG: " + err.Error())
		}
		ids.blocks[id] = block
	})
	return ids
}

// Append appends the click id of a click.
func (c *ClickIDs) Append(dst []byte, click Click) []byte {
	start := len(dst)
	high := click.TimeMS<<(64-timeBits) | uint64(click.Link)>>10
	low := uint64(click.Link)<<54 | uint64(click.Node)<<38 | uint64(click.Sequence)<<24
	dst = binary.BigEndian.AppendUint64(dst, high)
	dst = binary.BigEndian.AppendUint64(dst, low)
	block := dst[start:]
	c.blocks[c.current].Encrypt(block, block) // in dst, because what goes through the interface escapes
	plain := [aes.BlockSize]byte(block)
	dst = base64.RawURLEncoding.AppendEncode(dst[:start], plain[:])
	// The last character has two bits of the block and four spare ones.
	dst[len(dst)-1] = base64URL[plain[15]&3<<4|c.current]
	return dst
}

const base64URL = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"

// scratchBlocks are blocks to decrypt in; see Append for why they are on the
// heap.
var scratchBlocks = sync.Pool{New: func() any { return new([aes.BlockSize]byte) }}

// Parse returns the click that a click id stands for, or ErrClickID.
func (c *ClickIDs) Parse(id []byte) (Click, error) {
	return c.parse(id, time.Now())
}

func (c *ClickIDs) parse(id []byte, now time.Time) (Click, error) {
	if len(id) != ClickIDLength {
		return Click{}, ErrClickID
	}
	block := scratchBlocks.Get().(*[aes.BlockSize]byte)
	defer scratchBlocks.Put(block)
	n, err := base64.RawURLEncoding.Decode(block[:], id)
	if err != nil || n != aes.BlockSize {
		return Click{}, ErrClickID
	}
	key := c.blocks[base64URLValue(id[ClickIDLength-1])&15]
	if key == nil {
		return Click{}, ErrClickID
	}
	key.Decrypt(block[:], block[:])
	high, low := binary.BigEndian.Uint64(block[:8]), binary.BigEndian.Uint64(block[8:])
	click := Click{
		Identity: Identity{
			TimeMS:   high >> (64 - timeBits),
			Node:     uint16(low >> 38),
			Sequence: uint16(low>>24) & (1<<sequenceBits - 1),
		},
		Link: LinkNumber(high<<10 | low>>54),
	}
	if low&(1<<24-1) != 0 || click.Link == 0 || !saneHitTime(click.TimeMS, now) {
		return Click{}, ErrClickID
	}
	return click, nil
}

// saneHitTime reports whether a hit may have happened at this time.
func saneHitTime(ms uint64, now time.Time) bool {
	return ms >= hitTimeMinMS && ms <= uint64(now.Add(hitAheadMax).UnixMilli())
}

// base64URLValue is the number that a character of base64url stands for.
func base64URLValue(c byte) byte {
	switch {
	case c >= 'A' && c <= 'Z':
		return c - 'A'
	case c >= 'a' && c <= 'z':
		return c - 'a' + 26
	case c >= '0' && c <= '9':
		return c - '0' + 52
	case c == '-':
		return 62
	}
	return 63
}
