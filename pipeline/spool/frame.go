package spool

import (
	"encoding/binary"
	"hash/crc32"
)

// A frame, little-endian, padded with zeros to a multiple of 8 bytes:
//
//	0        4        8                16               24               32
//	┌────────┬────────┬────────────────┬────────────────┬────────────────┬─────────┬─────┐
//	│ crc    │ length │ position       │ ordinal        │ appended       │ payload │ pad │
//	└────────┴────────┴────────────────┴────────────────┴────────────────┴─────────┴─────┘
//	 u32      u32      u64              u64              u64, Unix ms
//
// crc is CRC-32C over the identity of the stream, the payload, and bytes 4 to 32, in this order: the long part first, so that
// it is summed before the lock is taken and only 28 bytes remain for inside. The identity makes the frame of another spool, or one
// forged inside a payload by a visitor, fail here. position is the frame's own address, so a frame of an earlier lap of
// the ring is never mistaken for a current one, and a reader that lost its way can find the next frame.
const (
	frameHeaderBytes = 32
	frameAlign       = 8

	// FrameBytesMax is the largest frame. A buffer given to Next must hold one.
	FrameBytesMax = 64 << 10
	// PayloadBytesMax is the largest payload that can be appended.
	PayloadBytesMax = FrameBytesMax - frameHeaderBytes
)

// Position is the address of a byte in the stream. Within an identity positions never repeat.
type Position uint64

// Frame is one record of the stream.
type Frame struct {
	Position   Position
	Ordinal    uint64 // contiguous from 1 within an identity
	AppendedMs int64  // when it was taken, Unix milliseconds; for ages only, never for order
	Payload    []byte // aliases the buffer it was read into
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// frameSeed starts the checksum of every frame of a stream.
func frameSeed(id Identity) uint32 { return crc32.Checksum(id[:], castagnoli) }

// frameBytes is the space that a payload takes as a frame.
func frameBytes(payload int) int {
	return (frameHeaderBytes + payload + frameAlign - 1) &^ (frameAlign - 1)
}

// putFrame writes a frame to dst and returns its size. payloadSum is the CRC of seed and payload.
func putFrame(dst []byte, f Frame, payloadSum uint32) int {
	size := frameBytes(len(f.Payload))
	dst = dst[:size]
	binary.LittleEndian.PutUint32(dst[4:], uint32(len(f.Payload)))
	binary.LittleEndian.PutUint64(dst[8:], uint64(f.Position))
	binary.LittleEndian.PutUint64(dst[16:], f.Ordinal)
	binary.LittleEndian.PutUint64(dst[24:], uint64(f.AppendedMs))
	copy(dst[frameHeaderBytes:], f.Payload)
	clear(dst[frameHeaderBytes+len(f.Payload):])
	binary.LittleEndian.PutUint32(dst, crc32.Update(payloadSum, castagnoli, dst[4:frameHeaderBytes]))
	return size
}

// peekFrame reads the header at the start of data. ok is false when it can't be that of a frame at position at, whatever its
// checksum; size may be larger than data.
func peekFrame(data []byte, at Position) (f Frame, size int, ok bool) {
	if len(data) < frameHeaderBytes || Position(binary.LittleEndian.Uint64(data[8:])) != at {
		return Frame{}, 0, false
	}
	length := binary.LittleEndian.Uint32(data[4:])
	if length > PayloadBytesMax {
		return Frame{}, 0, false
	}
	f = Frame{
		Position:   at,
		Ordinal:    binary.LittleEndian.Uint64(data[16:]),
		AppendedMs: int64(binary.LittleEndian.Uint64(data[24:])),
	}
	return f, frameBytes(int(length)), true
}

// parseFrame reads the frame at the start of data and checks it. The payload aliases data.
func parseFrame(data []byte, at Position, seed uint32) (f Frame, size int, ok bool) {
	f, size, ok = peekFrame(data, at)
	if !ok || size > len(data) {
		return Frame{}, 0, false
	}
	length := int(binary.LittleEndian.Uint32(data[4:]))
	f.Payload = data[frameHeaderBytes : frameHeaderBytes+length : frameHeaderBytes+length]
	sum := crc32.Update(seed, castagnoli, f.Payload)
	sum = crc32.Update(sum, castagnoli, data[4:frameHeaderBytes])
	return f, size, sum == binary.LittleEndian.Uint32(data)
}
