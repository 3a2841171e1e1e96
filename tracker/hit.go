package tracker

import (
	"net/netip"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"
)

// Fields of wire.Event that a hit has besides its link's.
const (
	fieldEvent          = 10
	fieldStage          = 11
	fieldTimeMS         = 12
	fieldSequence       = 13
	fieldNode           = 14
	fieldReasons        = 16
	fieldVisitorID      = 17
	fieldAddress        = 100
	fieldUserAgent      = 101
	fieldQuery          = 102
	fieldReferer        = 103
	fieldAcceptLanguage = 104
)

// How much is kept of what a visitor sends, in bytes.
const (
	userAgentBytesMax      = 512
	queryBytesMax          = 1024
	refererBytesMax        = 512
	acceptLanguageBytesMax = 64
)

// hit is a request on a known code. Its slices are borrowed from the request.
type hit struct {
	Identity
	scan      bool
	reasons   Reasons
	visitorID uint64 // 0 for none
	address   netip.Addr
	userAgent []byte
	query     []byte
	referer   []byte
	language  []byte
}

// The fields event and stage of both kinds of hit, encoded.
var (
	clickFields = appendKind(EventClick)
	scanFields  = appendKind(EventScan)
)

func appendKind(event string) []byte {
	b := protowire.AppendTag(nil, fieldEvent, protowire.BytesType)
	b = protowire.AppendString(b, event)
	b = protowire.AppendTag(b, fieldStage, protowire.BytesType)
	return protowire.AppendString(b, StageOf(event))
}

// appendTo appends the hit as a wire.Event. It is written by hand because the
// generated code wants strings, which would be an allocation each.
func (h *hit) appendTo(dst []byte, p *Prepared) []byte {
	dst = append(dst, p.Event...)
	if h.scan {
		dst = append(dst, scanFields...)
	} else {
		dst = append(dst, clickFields...)
	}
	dst = appendVarint(dst, fieldTimeMS, h.TimeMS)
	dst = appendVarint(dst, fieldSequence, uint64(h.Sequence))
	dst = appendVarint(dst, fieldNode, uint64(h.Node))
	dst = appendVarint(dst, fieldReasons, uint64(h.reasons))
	if h.visitorID != 0 {
		dst = protowire.AppendTag(dst, fieldVisitorID, protowire.Fixed64Type)
		dst = protowire.AppendFixed64(dst, h.visitorID)
	}
	dst = append(dst, p.utm...)
	dst = appendAddress(dst, h.address)
	dst = appendText(dst, fieldUserAgent, h.userAgent, userAgentBytesMax)
	dst = appendText(dst, fieldQuery, h.query, queryBytesMax)
	dst = appendText(dst, fieldReferer, h.referer, refererBytesMax)
	return appendText(dst, fieldAcceptLanguage, h.language, acceptLanguageBytesMax)
}

// appendVarint appends a number, or nothing for 0, which is the default.
func appendVarint(dst []byte, field protowire.Number, value uint64) []byte {
	if value == 0 {
		return dst
	}
	return protowire.AppendVarint(protowire.AppendTag(dst, field, protowire.VarintType), value)
}

// appendAddress appends the 4 or 16 bytes of an address, or nothing where there
// is none.
func appendAddress(dst []byte, addr netip.Addr) []byte {
	switch {
	case addr.Is4():
		b := addr.As4()
		dst = protowire.AppendTag(dst, fieldAddress, protowire.BytesType)
		return protowire.AppendBytes(dst, b[:])
	case addr.Is6():
		b := addr.As16()
		dst = protowire.AppendTag(dst, fieldAddress, protowire.BytesType)
		return protowire.AppendBytes(dst, b[:])
	}
	return dst
}

// appendText appends at most bytesMax bytes of a text, cut between characters.
// What is not valid UTF-8, which protobuf would refuse to decode, becomes
// question marks, one for a byte: U+FFFD would be three.
func appendText(dst []byte, field protowire.Number, text []byte, bytesMax int) []byte {
	if len(text) > bytesMax {
		text = text[:bytesMax]
		for i := 1; i < utf8.UTFMax && i <= len(text); i++ {
			if b := text[len(text)-i]; utf8.RuneStart(b) {
				if !utf8.FullRune(text[len(text)-i:]) {
					text = text[:len(text)-i]
				}
				break
			}
		}
	}
	if len(text) == 0 {
		return dst
	}
	dst = protowire.AppendTag(dst, field, protowire.BytesType)
	dst = protowire.AppendVarint(dst, uint64(len(text)))
	if utf8.Valid(text) {
		return append(dst, text...) // fast path
	}
	for len(text) > 0 {
		r, size := utf8.DecodeRune(text)
		if r == utf8.RuneError && size == 1 {
			dst = append(dst, '?')
		} else {
			dst = append(dst, text[:size]...)
		}
		text = text[size:]
	}
	return dst
}
