package loadtest

import (
	"fmt"
	"math/rand/v2"

	"waymark/loadtest/ledger"
)

// visitor is a browser that comes back with its cookie, and perhaps the user in
// front of it.
type visitor struct {
	agent, language, referer string
	address                  string
	optsOut                  bool // sends Sec-GPC: 1

	busy   bool   // one of its requests is under way
	cookie []byte // name and value
	click  []byte // the last click id
	user   string // "" until it signs up
	signed bool   // the signup was accepted

	// The last report that was accepted, to be sent again as clients do that are
	// unsure of it.
	body    []byte
	reports []ledger.Entry
}

// renew makes somebody new of a visitor, and keeps the memory.
func (v *visitor) renew(random *rand.Rand, t *Traffic) {
	*v = visitor{
		agent: pick(random, browsers), language: pick(random, languages), referer: pick(random, referers),
		address: address(random), optsOut: random.Float64() < t.OptOuts,
		cookie: v.cookie[:0], click: v.click[:0],
	}
}

// pick draws from a list, its first third as often as the rest.
func pick(random *rand.Rand, list []string) string {
	n := len(list)
	if random.IntN(2) == 0 {
		n = (n + 2) / 3
	}
	return list[random.IntN(n)]
}

// address draws an address that could be a visitor's: no private or multicast
// ones, which a GeoIP database knows nothing of.
func address(random *rand.Rand) string {
	bits := random.Uint64()
	if bits&15 == 0 {
		return fmt.Sprintf("2a02:%x:%x::%x", uint16(bits>>4), uint16(bits>>20), uint16(bits>>36))
	}
	first := [...]byte{2, 5, 31, 46, 62, 77, 78, 80, 84, 88, 91, 93, 109, 176, 178, 188, 212, 217, 24, 73}[bits>>4%20]
	return fmt.Sprintf("%d.%d.%d.%d", first, byte(bits>>16), byte(bits>>24), byte(bits>>32))
}
