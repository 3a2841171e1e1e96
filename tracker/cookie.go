package tracker

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/base64"
	"encoding/binary"

	"github.com/valyala/fasthttp"
)

// CookieName is the name of the one cookie that Waymark sets.
const CookieName = "wm"

const (
	cookieVersion    = 1
	cookieNonceStart = 1
	cookiePlainStart = 1 + 12 // after the nonce of AES-GCM
	cookieTagBytes   = 16

	// cookieBytesMax is more than the longest cookie needs: 47 bytes for a
	// visitor and 19 for each touch.
	cookieBytesMax = 768

	// cookieCandidatesMax bounds how many cookies of our name a request may
	// make us open. A browser sends several when a parent domain has set some,
	// too.
	cookieCandidatesMax = 4
)

// Cookies seals visitors into cookie values and opens them. It is safe for
// concurrent use.
//
// A value is base64url without padding of
//
//	0             1        3                      10     13
//	| version:key | node   | time ms and sequence | boot | sealed … | tag (16) |
//
// where bytes 1 to 13 are the nonce of AES-128-GCM: the identity of the hit
// that the cookie is set for, which is unique among nodes, and three random
// bytes of the process, in case it is not. Byte 0 (four bits each) is
// authenticated. Sealed are
//
//	visitor (8, little endian) | expires, Unix seconds (uvarint) | touches …
//
// and each touch, the oldest first, is its link (uvarint), its time minus that
// of the touch before, and its time minus its counted time (varint, ms). The
// channel is not there since the link tells it.
type Cookies struct {
	current uint8
	boot    [3]byte
	aeads   [keyRingIDs]cipher.AEAD // nil where there is no key
}

// NewCookies returns the cookies of an installation with this key ring.
func NewCookies(ring *KeyRing) *Cookies {
	c := &Cookies{current: ring.current}
	rand.Read(c.boot[:])
	ring.each(func(id uint8) {
		block, err := aes.NewCipher(ring.derive(id, "cookie", 16))
		if err == nil {
			c.aeads[id], err = cipher.NewGCM(block)
		}
		if err != nil {
			panic("BUG: " + err.Error())
		}
	})
	return c
}

// Append appends the cookie value of a visitor. The identity must be from a
// Clock and not be used for another value.
func (c *Cookies) Append(dst []byte, nonce Identity, v *Visitor) []byte {
	b := append(v.sealed[:0], cookieVersion<<4|c.current)
	b = binary.BigEndian.AppendUint16(b, nonce.Node)
	b = binary.BigEndian.AppendUint64(b, nonce.TimeMS<<(64-timeBits)|uint64(nonce.Sequence)<<8)
	b = append(b[:len(b)-1], c.boot[:]...) // the last of the eight bytes is empty
	b = binary.LittleEndian.AppendUint64(b, v.ID)
	b = binary.AppendUvarint(b, v.ExpiresMS/1000)
	var before uint64
	for _, t := range v.Touches() {
		b = binary.AppendUvarint(b, uint64(t.Link))
		b = binary.AppendVarint(b, int64(t.TimeMS-before))
		b = binary.AppendVarint(b, int64(t.TimeMS-t.CountedMS))
		before = t.TimeMS
	}
	b = c.aeads[c.current].Seal(b[:cookiePlainStart], b[cookieNonceStart:cookiePlainStart], b[cookiePlainStart:], b[:1])
	return base64.RawURLEncoding.AppendEncode(dst, b)
}

// Parse fills v from a cookie value. It returns false, and v knows nothing, if
// the value was tampered with, comes from elsewhere or has expired.
func (c *Cookies) Parse(value []byte, nowMS uint64, v *Visitor) bool {
	v.Reset()
	if base64.RawURLEncoding.DecodedLen(len(value)) > cookieBytesMax {
		return false
	}
	n, err := base64.RawURLEncoding.Decode(v.sealed[:], value)
	b := v.sealed[:n]
	if err != nil || len(b) < cookiePlainStart+cookieTagBytes || b[0]>>4 != cookieVersion {
		return false
	}
	aead := c.aeads[b[0]&15]
	if aead == nil {
		return false
	}
	plain, err := aead.Open(b[cookiePlainStart:cookiePlainStart], b[cookieNonceStart:cookiePlainStart], b[cookiePlainStart:], b[:1])
	if err != nil || !v.decode(plain) || v.ExpiresMS <= nowMS {
		v.Reset()
		return false
	}
	return true
}

// decode fills v from what a cookie sealed.
func (v *Visitor) decode(b []byte) bool {
	if len(b) < 8 {
		return false
	}
	v.ID = binary.LittleEndian.Uint64(b)
	expires, n := binary.Uvarint(b[8:])
	if n <= 0 || v.ID == 0 {
		return false
	}
	v.ExpiresMS = expires * 1000
	b = b[8+n:]
	var before uint64
	for ; len(b) > 0; v.count++ {
		link, n1 := binary.Uvarint(b)
		since, n2 := binary.Varint(b[max(n1, 0):])
		counted, n3 := binary.Varint(b[max(n1, 0)+max(n2, 0):])
		if n1 <= 0 || n2 <= 0 || n3 <= 0 || v.count == TouchesMax || link == 0 || link > 1<<32-1 {
			return false
		}
		before += uint64(since)
		v.touches[v.count] = Touch{Link: LinkNumber(link), TimeMS: before, CountedMS: before - uint64(counted)}
		b = b[n1+n2+n3:]
	}
	return true
}

// Find fills v from the request's cookie. Of several with our name, the first
// that opens counts; it returns false, and v knows nothing, if there is none.
func (c *Cookies) Find(h *fasthttp.RequestHeader, nowMS uint64, v *Visitor) bool {
	v.Reset()
	candidates := 0
	for _, line := range h.PeekAll(fasthttp.HeaderCookie) {
		for len(line) > 0 && candidates < cookieCandidatesMax {
			var pair []byte
			pair, line, _ = bytes.Cut(line, []byte{';'})
			name, value, ok := bytes.Cut(trimSpace(pair), []byte{'='})
			if !ok || string(name) != CookieName {
				continue
			}
			candidates++
			if len(value) >= 2 && value[0] == '"' && value[len(value)-1] == '"' {
				value = value[1 : len(value)-1]
			}
			if c.Parse(value, nowMS, v) {
				return true
			}
		}
	}
	return false
}

// trimSpace cuts spaces and tabs from both ends.
func trimSpace(b []byte) []byte {
	for len(b) > 0 && (b[0] == ' ' || b[0] == '\t') {
		b = b[1:]
	}
	for len(b) > 0 && (b[len(b)-1] == ' ' || b[len(b)-1] == '\t') {
		b = b[:len(b)-1]
	}
	return b
}
