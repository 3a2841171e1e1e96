package spool

// span is a stretch of the stream, to excluded.
type span struct{ from, to Position }

// scan walks data, which starts at position from, frame by frame. It appends the whole frames to frames and what is
// unreadable between them to damage, and returns both with the position where it stopped. final says that the stream ends or
// changes files after data; otherwise a frame that data may have cut short is left for the next call.
//
// A frame that is damaged, or was never finished, is passed over by looking at every aligned address for the next frame that
// names its own position and has the right checksum. Skipping by the frame's length alone is not enough, for the length may be
// what is damaged; skipping by the search alone covers that case too.
//
// When data holds at least FrameBytesMax bytes or is final, scan makes progress. Payloads alias data.
func scan(data []byte, from Position, seed uint32, final bool, frames []Frame, damage []span) ([]Frame, []span, Position) {
	offset, good := 0, 0 // good: end of the last whole frame
	for offset < len(data) {
		rest := data[offset:]
		at := from + Position(offset)
		if f, size, ok := parseFrame(rest, at, seed); ok {
			if offset > good {
				damage = append(damage, span{from + Position(good), at})
			}
			frames = append(frames, f)
			offset += size
			good = offset
			continue
		}
		if !final && cutShort(rest, at) {
			break
		}
		offset += frameAlign
	}
	offset = min(offset, len(data))
	if offset > good {
		damage = append(damage, span{from + Position(good), from + Position(offset)})
	}
	return frames, damage, from + Position(offset)
}

// cutShort reports whether rest may be the beginning of a frame that goes on behind it.
func cutShort(rest []byte, at Position) bool {
	if len(rest) < frameHeaderBytes {
		return true
	}
	_, size, ok := peekFrame(rest, at)
	return ok && size > len(rest)
}
