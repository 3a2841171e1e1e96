package loadtest

import (
	"bytes"
	"errors"
	"strconv"
)

const (
	// headBytesMax bounds the head of an answer.
	headBytesMax = 64 << 10
	// bodyKept is how much of a body is kept for the source to read; the rest is
	// passed over.
	bodyKept = 4 << 10
)

// errMalformed means that what came back is no HTTP/1.1 answer.
var errMalformed = errors.New("the answer is no HTTP/1.1")

// response is one answer, as far as sources read it. Its slices are valid until
// the connection sends its next request.
type response struct {
	status   int
	location []byte
	cookie   []byte // of the last Set-Cookie: name and value alone
	fault    []byte // X-Waymark-Error
	body     []byte // at most bodyKept
	close    bool   // the server will close the connection
}

// Phases of an answer.
type phase uint8

const (
	inHead phase = iota
	inBody       // remaining bytes of it
	inChunkSize
	inChunk   // remaining bytes of it, and CRLF
	inTrailer // lines until an empty one
	untilClose
	done
)

// parser reads one answer from whatever pieces it arrives in.
type parser struct {
	response
	phase     phase
	remaining int64
	toHead    bool // it answers a HEAD request: there is no body
}

// reset prepares for the next answer and keeps the memory.
func (p *parser) reset(toHead bool) {
	*p = parser{toHead: toHead, response: response{
		location: p.location[:0], cookie: p.cookie[:0], fault: p.fault[:0], body: p.body[:0],
	}}
}

// feed reads from b and returns what it could not use yet, to be given again in
// front of what follows. The answer is complete when phase is done.
func (p *parser) feed(b []byte) (rest []byte, err error) {
	for {
		before, was := len(b), p.phase
		switch p.phase {
		case inHead:
			b, err = p.head(b)
		case inBody:
			if b = p.take(b); p.remaining == 0 {
				p.phase = done
			}
		case inChunkSize:
			b, err = p.chunkSize(b)
		case inChunk:
			b, err = p.chunk(b)
		case inTrailer:
			b, err = p.trailer(b)
		case untilClose:
			p.remaining = int64(len(b))
			b = p.take(b)
		case done:
			return b, nil
		}
		if err != nil || len(b) == before && p.phase == was {
			return b, err
		}
	}
}

// eof says that the connection was closed, which ends an answer without length.
// It reports whether the answer is complete.
func (p *parser) eof() bool {
	if p.phase == untilClose {
		p.phase = done
	}
	return p.phase == done
}

// take passes over bytes of the body.
func (p *parser) take(b []byte) []byte {
	n := int(min(int64(len(b)), p.remaining))
	if room := bodyKept - len(p.body); room > 0 {
		p.body = append(p.body, b[:min(n, room)]...)
	}
	p.remaining -= int64(n)
	return b[n:]
}

// head reads the status line and the headers, once all of them are there.
func (p *parser) head(b []byte) ([]byte, error) {
	end := bytes.Index(b, []byte("\r\n\r\n"))
	if end < 0 {
		if len(b) > headBytesMax {
			return nil, errMalformed
		}
		return b, nil
	}
	line, headers, _ := bytes.Cut(b[:end], []byte("\r\n"))
	if len(line) < 12 || !bytes.HasPrefix(line, []byte("HTTP/1.")) || line[8] != ' ' {
		return nil, errMalformed
	}
	status, err := strconv.Atoi(string(line[9:12]))
	if err != nil || status < 100 || status > 599 {
		return nil, errMalformed
	}
	p.status, p.close, p.remaining = status, line[7] == '0', -1
	chunked := false
	for len(headers) > 0 {
		line, headers, _ = bytes.Cut(headers, []byte("\r\n"))
		name, value, ok := bytes.Cut(line, []byte{':'})
		if !ok {
			return nil, errMalformed
		}
		if err := p.header(name, bytes.TrimSpace(value), &chunked); err != nil {
			return nil, err
		}
	}
	p.phase = p.bodyPhase(chunked)
	return b[end+4:], nil
}

// bodyPhase is what follows the head (RFC 9112, 6.3).
func (p *parser) bodyPhase(chunked bool) phase {
	switch {
	case p.status < 200: // the real answer follows
		return inHead
	case p.toHead || p.status == 204 || p.status == 304 || p.remaining == 0 && !chunked:
		return done
	case chunked:
		return inChunkSize
	case p.remaining > 0:
		return inBody
	}
	p.close = true
	return untilClose
}

// header reads one header. Names are told apart by length first, since an answer
// has ten of which three matter.
func (p *parser) header(name, value []byte, chunked *bool) error {
	switch len(name) {
	case len("Location"):
		if bytes.EqualFold(name, []byte("Location")) {
			p.location = append(p.location[:0], value...)
		}
	case len("Set-Cookie"): // and Connection
		if bytes.EqualFold(name, []byte("Set-Cookie")) {
			cookie, _, _ := bytes.Cut(value, []byte{';'})
			p.cookie = append(p.cookie[:0], cookie...)
		} else if bytes.EqualFold(name, []byte("Connection")) {
			p.close = bytes.EqualFold(value, []byte("close")) || p.close && !bytes.EqualFold(value, []byte("keep-alive"))
		}
	case len("Content-Length"):
		if bytes.EqualFold(name, []byte("Content-Length")) {
			n, err := strconv.ParseUint(string(value), 10, 63)
			if err != nil {
				return errMalformed
			}
			p.remaining = int64(n)
		}
	case len("X-Waymark-Error"):
		if bytes.EqualFold(name, []byte("X-Waymark-Error")) {
			p.fault = append(p.fault[:0], value...)
		}
	case len("Transfer-Encoding"):
		if bytes.EqualFold(name, []byte("Transfer-Encoding")) {
			*chunked = bytes.HasSuffix(bytes.ToLower(value), []byte("chunked"))
		}
	}
	return nil
}

// chunkSize reads the line before a chunk.
func (p *parser) chunkSize(b []byte) ([]byte, error) {
	line, rest, ok := bytes.Cut(b, []byte("\r\n"))
	if !ok {
		if len(b) > headBytesMax {
			return nil, errMalformed
		}
		return b, nil
	}
	size, _, _ := bytes.Cut(line, []byte{';'})
	n, err := strconv.ParseUint(string(bytes.TrimSpace(size)), 16, 62)
	if err != nil {
		return nil, errMalformed
	}
	p.remaining, p.phase = int64(n), inChunk
	if n == 0 {
		p.phase = inTrailer
	}
	return rest, nil
}

// chunk reads a chunk and the line end after it.
func (p *parser) chunk(b []byte) ([]byte, error) {
	if p.remaining > 0 {
		return p.take(b), nil
	}
	if len(b) < 2 {
		return b, nil
	}
	if b[0] != '\r' || b[1] != '\n' {
		return nil, errMalformed
	}
	p.phase = inChunkSize
	return b[2:], nil
}

// trailer reads what follows the last chunk.
func (p *parser) trailer(b []byte) ([]byte, error) {
	line, rest, ok := bytes.Cut(b, []byte("\r\n"))
	if !ok {
		if len(b) > headBytesMax {
			return nil, errMalformed
		}
		return b, nil
	}
	if len(line) == 0 {
		p.phase = done
	}
	return rest, nil
}
