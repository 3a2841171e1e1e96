package tracker

import (
	"math/rand/v2"
	"time"
)

// TouchesMax is how many touches a visitor is remembered with. When there is
// one more, the one that was made longest ago is forgotten.
const TouchesMax = 32

// Touch is what the cookie remembers of a visitor's valid clicks on a link.
// Its channel is the link's, so it is not kept.
type Touch struct {
	Link      LinkNumber
	TimeMS    uint64 // Unix milliseconds of the last click
	CountedMS uint64 // of the last click that was no repeat
}

// Visitor is a browser as its cookie remembers it. The zero value knows
// nothing. It is half a kilobyte and more, so keep it in a pool.
type Visitor struct {
	ID        uint64 // random, 0 for none
	ExpiresMS uint64 // Unix milliseconds, a whole second: when to forget it all

	touches [TouchesMax]Touch
	count   int

	sealed [cookieBytesMax]byte // where the cookie is sealed and opened
}

// Reset makes v the zero value.
func (v *Visitor) Reset() { v.ID, v.ExpiresMS, v.count = 0, 0, 0 }

// NewID gives the visitor a random number. It keeps no secret: the cookie is
// authenticated.
func (v *Visitor) NewID() {
	for v.ID = 0; v.ID == 0; {
		v.ID = rand.Uint64()
	}
}

// Touches are the visitor's, the one that was clicked last at the end. They
// are valid until v is changed.
func (v *Visitor) Touches() []Touch { return v.touches[:v.count] }

// Extend makes sure that the visitor is remembered for so long.
func (v *Visitor) Extend(nowMS uint64, lifetime time.Duration) {
	seconds := nowMS/1000 + uint64(lifetime/time.Second)
	v.ExpiresMS = max(v.ExpiresMS, seconds*1000)
}

// Click remembers a valid click and reports whether it is a repeat: within the
// window of the last click on the link that was counted. A repeat renews the
// touch that it repeats; any other click is a touch of its own, because a
// journey may come back to a link after others.
func (v *Visitor) Click(link LinkNumber, nowMS uint64, window time.Duration) (repeat bool) {
	touch := Touch{Link: link, TimeMS: nowMS, CountedMS: nowMS}
	for i := v.count - 1; i >= 0; i-- {
		if t := v.touches[i]; t.Link == link && distance(nowMS, t.CountedMS) < uint64(window.Milliseconds()) {
			touch.CountedMS, repeat = t.CountedMS, true
			v.forget(i)
			break
		}
	}
	if v.count == TouchesMax {
		v.forget(0)
	}
	v.touches[v.count] = touch
	v.count++
	return repeat
}

// forget drops one touch.
func (v *Visitor) forget(i int) {
	copy(v.touches[i:], v.touches[i+1:v.count])
	v.count--
}

// distance is the time between two moments. Simulated clicks may come in any
// order.
func distance(a, b uint64) uint64 { return max(a, b) - min(a, b) }
