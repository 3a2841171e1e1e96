package pipeline

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"net/netip"

	"waymark/tracker"
	"waymark/tracker/wire"
)

// Enricher turns what an edge noted about a visitor into what is kept of it.
// It is not safe for concurrent use.
type Enricher struct {
	agents     *agents
	geo        *Geo
	places     cache[netip.Addr, place]
	addressKey func(day int) []byte
	addresses  cache[int, cipher.Block] // by day
	day        int                      // of the address hashed last, whose cipher is
	cipher     cipher.Block
	block      [aes.BlockSize]byte // kept here, since Encrypt would make it escape
}

// placesCachedMax bounds the places that are kept to some 10 MB. When full,
// half is dropped, which costs looking up again, some 2 µs an address.
const placesCachedMax = 65_536

// NewEnricher returns an Enricher that looks addresses up in geo, which may be
// nil. addressKey gives the key that hashes the addresses of a day (days since
// the Unix epoch, UTC); once a day is over and its key gone, nobody can tell
// whose hash it was.
func NewEnricher(geo *Geo, addressKey func(day int) []byte) (*Enricher, error) {
	agents, err := newAgents()
	if err != nil {
		return nil, err
	}
	if geo == nil {
		geo = &Geo{}
	}
	return &Enricher{
		agents: agents, geo: geo, places: newCache[netip.Addr, place](placesCachedMax),
		addressKey: addressKey, addresses: newCache[int, cipher.Block](64),
	}, nil
}

// Enrich fills the fields 40 to 54 of an event from its edge-only fields and
// clears those. Text that it sets may alias the event's own.
func (e *Enricher) Enrich(event *wire.Event) {
	e.enrichAgent(event)
	e.enrichAddress(event)
	event.Language = languageOf(event.AcceptLanguage)
	event.ReferrerHost = refererHost(event.Referer)
	takeUTM(event, event.Query)
	event.Address, event.UserAgent, event.Query, event.Referer, event.AcceptLanguage = nil, "", "", "", ""
}

// enrichAgent leaves alone the actions that a customer's server reported: they
// have no user agent, and that makes no robot of anybody.
func (e *Enricher) enrichAgent(event *wire.Event) {
	fromBrowser := event.UserAgent != "" || tracker.Reasons(event.Reasons)&tracker.Unverified != 0 ||
		event.Event == tracker.EventClick || event.Event == tracker.EventScan
	if !fromBrowser {
		return
	}
	parsed := e.agents.parse(event.UserAgent)
	event.Device, event.Browser, event.Os = parsed.device, parsed.browser, parsed.os
	event.Reasons |= uint32(parsed.reasons)
}

func (e *Enricher) enrichAddress(event *wire.Event) {
	addr, ok := netip.AddrFromSlice(event.Address)
	if !ok {
		return
	}
	addr = addr.Unmap()
	found, known := e.places.get(addr)
	if !known {
		found = e.geo.lookup(addr)
		e.places.put(addr, found)
	}
	event.Country, event.Region, event.City, event.Network = found.country, found.region, found.city, found.network
	if found.hosting {
		event.Reasons |= uint32(tracker.Datacenter)
	}
	// Who asks not to be tracked is not told apart from others either.
	if tracker.Reasons(event.Reasons)&tracker.GPC == 0 {
		event.AddressHash = e.hashAddress(addr, int(event.TimeMs/86_400_000))
	}
}

// hashAddress is one AES block over the address under the key of the day, cut
// to 64 bits. Of an IPv6 address only the first 64 bits count: the rest is
// the device's to change, and often it does so hourly.
func (e *Enricher) hashAddress(addr netip.Addr, day int) uint64 {
	if e.cipher == nil || e.day != day {
		e.day, e.cipher = day, e.cipherOf(day)
	}
	e.block = addr.As16()
	if addr.Is6() {
		clear(e.block[8:])
	}
	e.cipher.Encrypt(e.block[:], e.block[:])
	return max(binary.LittleEndian.Uint64(e.block[:]), 1) // 0 means none
}

func (e *Enricher) cipherOf(day int) cipher.Block {
	block, ok := e.addresses.get(day)
	if !ok {
		key := sha256.Sum256(e.addressKey(day))
		var err error
		if block, err = aes.NewCipher(key[:]); err != nil {
			panic(fmt.Sprintf("BUG: key an AES cipher with %d bytes: %v", len(key), err))
		}
		e.addresses.put(day, block)
	}
	return block
}
