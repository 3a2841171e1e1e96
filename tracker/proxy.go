package tracker

import (
	"bytes"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"unsafe"

	"github.com/valyala/fasthttp"
)

// TrustedProxies are the networks whose word on a client's address counts.
// Everybody else could write anything into those headers. The zero value and
// nil trust nobody.
type TrustedProxies struct{ networks []netip.Prefix }

// ParseTrustedProxies reads networks (10.0.0.0/8) and single addresses.
func ParseTrustedProxies(list []string) (*TrustedProxies, error) {
	p := &TrustedProxies{}
	for _, text := range list {
		text = strings.TrimSpace(text)
		if text == "" {
			continue
		}
		network, err := netip.ParsePrefix(text)
		if err != nil {
			addr, addrErr := netip.ParseAddr(text)
			if addrErr != nil || addr.Zone() != "" {
				return nil, fmt.Errorf("read the trusted proxies: %q is neither a network, such as 10.0.0.0/8, nor an address", text)
			}
			network = netip.PrefixFrom(addr.Unmap(), addr.Unmap().BitLen())
		}
		if network.Addr().Is4In6() { // ::ffff:10.0.0.0/104
			if network.Bits() < 96 {
				return nil, fmt.Errorf("read the trusted proxies: %q mixes IPv4 and IPv6", text)
			}
			network = netip.PrefixFrom(network.Addr().Unmap(), network.Bits()-96)
		}
		p.networks = append(p.networks, network.Masked())
	}
	return p, nil
}

// trusts reports whether an address (not mapped into IPv6) belongs to a proxy.
func (p *TrustedProxies) trusts(addr netip.Addr) bool {
	if p == nil {
		return false
	}
	for _, network := range p.networks {
		if network.Contains(addr) {
			return true
		}
	}
	return false
}

// Client returns the address of the visitor, IPv4 never mapped into IPv6; the
// zero Addr if it is not known, as on a Unix socket.
//
// It is the peer's, unless that is a trusted proxy. Then it is the last address
// in X-Forwarded-For, all its lines together, that is not a trusted proxy's.
// Where there is no X-Forwarded-For, Forwarded (RFC 7239) is read alike, and
// where there is neither, X-Real-IP. Only one of them is read, because a proxy
// that writes one passes the others on as the client sent them. At anything
// that is no address the search ends with the last address that was one.
func (p *TrustedProxies) Client(ctx *fasthttp.RequestCtx) netip.Addr {
	client := peer(ctx)
	if !p.trusts(client) {
		return client // fast path: nobody in between
	}
	header := &ctx.Request.Header
	if lines := header.PeekAll("X-Forwarded-For"); len(lines) > 0 {
		return p.walk(client, lines, parseNode)
	}
	if lines := header.PeekAll("Forwarded"); len(lines) > 0 {
		return p.walk(client, lines, parseForwarded)
	}
	if real := parseNode(trimSpace(header.Peek("X-Real-Ip"))); real.IsValid() {
		return real
	}
	return client
}

// Secure reports whether the visitor came by https, by the word of a trusted
// proxy or because this very connection is TLS.
func (p *TrustedProxies) Secure(ctx *fasthttp.RequestCtx) bool {
	if ctx.IsTLS() {
		return true
	}
	if p == nil || len(p.networks) == 0 || !p.trusts(peer(ctx)) {
		return false
	}
	header := &ctx.Request.Header
	proto := header.Peek("X-Forwarded-Proto")
	if len(proto) == 0 {
		element, _ := cutQuoted(header.Peek("Forwarded"), ',')
		proto = forwardedParam(element, "proto")
	}
	// The first of a list is what the visitor used. A visitor who forges it
	// changes an attribute of the own cookie.
	proto, _, _ = bytes.Cut(proto, []byte{','})
	return strings.EqualFold(string(trimSpace(proto)), "https")
}

// peer is the address at the other end of the connection.
func peer(ctx *fasthttp.RequestCtx) netip.Addr {
	addr, ok := ctx.RemoteAddr().(*net.TCPAddr)
	if !ok {
		return netip.Addr{}
	}
	return addr.AddrPort().Addr().Unmap().WithZone("")
}

// walk goes through the elements of the lines from the right, past trusted
// proxies.
func (p *TrustedProxies) walk(client netip.Addr, lines [][]byte, parse func(element []byte) netip.Addr) netip.Addr {
	for i := len(lines) - 1; i >= 0; i-- {
		for rest, more := lines[i], true; more; {
			var element []byte
			rest, element, more = cutLast(rest)
			addr := parse(trimSpace(element))
			if !addr.IsValid() {
				return client
			}
			client = addr
			if !p.trusts(addr) {
				return client
			}
		}
	}
	return client
}

// cutLast splits at the last comma. One within quotes would be read wrongly,
// but an address has none.
func cutLast(list []byte) (rest, last []byte, more bool) {
	i := bytes.LastIndexByte(list, ',')
	if i < 0 {
		return nil, list, false
	}
	return list[:i], list[i+1:], true
}

// parseForwarded reads the address of one element of Forwarded.
func parseForwarded(element []byte) netip.Addr {
	return parseNode(forwardedParam(element, "for"))
}

// forwardedParam returns a parameter of one element of Forwarded, without its
// quotes, or nil.
func forwardedParam(element []byte, name string) []byte {
	for len(element) > 0 {
		var pair []byte
		pair, element = cutQuoted(element, ';')
		key, value, ok := bytes.Cut(trimSpace(pair), []byte{'='})
		if !ok || !strings.EqualFold(string(key), name) {
			continue
		}
		if len(value) >= 2 && value[0] == '"' && value[len(value)-1] == '"' {
			value = value[1 : len(value)-1]
		}
		return value
	}
	return nil
}

// cutQuoted splits at the first separator outside of quotes.
func cutQuoted(b []byte, separator byte) (before, after []byte) {
	quoted := false
	for i, c := range b {
		switch {
		case c == '"':
			quoted = !quoted
		case c == separator && !quoted:
			return b[:i], b[i+1:]
		}
	}
	return b, nil
}

// addressBytesMax is the length of the longest address with brackets and port.
const addressBytesMax = len("[0000:0000:0000:0000:0000:ffff:255.255.255.255]:65535")

// parseNode reads an address as proxies write it: alone, with a port, an IPv6
// one in brackets or not. It returns the zero Addr for anything else, such as
// `unknown`.
func parseNode(b []byte) netip.Addr {
	if len(b) == 0 || len(b) > addressBytesMax {
		return netip.Addr{}
	}
	switch {
	case b[0] == '[':
		end := bytes.IndexByte(b, ']')
		if end < 0 || !isPort(b[end+1:]) {
			return netip.Addr{}
		}
		b = b[1:end]
	case bytes.IndexByte(b, '.') >= 0:
		if i := bytes.LastIndexByte(b, ':'); i >= 0 && bytes.IndexByte(b, ':') == i {
			if !isPort(b[i:]) {
				return netip.Addr{}
			}
			b = b[:i]
		}
	}
	// What cannot be an address is turned away here, since the error of
	// ParseAddr is an allocation. A zone means nothing on another machine.
	for _, c := range b {
		if (c < '0' || c > '9') && (c|0x20 < 'a' || c|0x20 > 'f') && c != '.' && c != ':' {
			return netip.Addr{}
		}
	}
	// The string only lives in here: without a zone, ParseAddr keeps nothing.
	addr, err := netip.ParseAddr(unsafe.String(unsafe.SliceData(b), len(b)))
	if err != nil || addr.IsUnspecified() {
		return netip.Addr{}
	}
	return addr.Unmap()
}

// isPort accepts a colon and digits, or nothing.
func isPort(b []byte) bool {
	if len(b) == 0 {
		return true
	}
	if b[0] != ':' || len(b) == 1 {
		return false
	}
	for _, c := range b[1:] {
		if c < '0' || c > '9' {
			return false
		}
	}
	return true
}
