package main

import (
	"fmt"
	"strings"
)

// Cheats of every kind that a story plants, and beside them people who only
// look as if they were. Each cheat is one referrer, and says which signals each
// of his referrals must show at the thresholds of the example programmes.
//
// A cheat whose referees come from one address uses one that is his. More than
// four referrals of one referrer on a day always come from one address, so that
// the truth is the same where all of the story comes from one.

// writeCheats plants them; convert lets a referee earn his referrer something
// at a time.
func (s *story) writeCheats(referrer, referee string, convert func(d *deal, at int64)) {
	link := func(name string) *worldLink {
		return s.share(s.member("cheat-"+name, referrer), referee, s.campaign+"-plain")
	}
	morning := func(day int64) int64 { return (s.end/dayMS-int64(s.ripe.to)-day)*dayMS + 8*hourMS }

	// One signal each.
	for i, l := 0, link("similarity"); i < 4; i++ {
		d := s.arrive(l, morning(71-int64(i)*3), 20*60_000, map[string]string{"email": fmt.Sprintf("marlene.krueger%d@example.com", i)})
		s.cheat(d, "similarity")
		convert(d, d.actions[0].at+2*hourMS)
	}
	for i, l, address := 0, link("address"), s.address(); i < 5; i++ {
		d := s.arrive(l, morning(61)+s.between(0, 10)*hourMS, 20*60_000, map[string]string{"email": s.email()})
		d.address = address
		s.cheat(d, "address")
	}
	for i, l := 0, link("regularity"); i < 8; i++ {
		d := s.arrive(l, morning(51-int64(i)*3), 20*60_000, map[string]string{"email": s.email()})
		s.cheat(d, "regularity")
	}
	for i, l := 0, link("speed"); i < 3; i++ {
		d := s.arrive(l, morning(41)+s.between(0, 40)*hourMS, 60_000, map[string]string{"email": s.email()})
		s.cheat(d, "speed")
		convert(d, d.actions[0].at+60_000)
	}

	// Several accounts in one browser.
	shared := link("device")
	first := s.arrive(shared, morning(31), 20*60_000, map[string]string{"email": s.email()})
	for i := range int64(3) {
		d := s.arrive(shared, morning(29-i), 20*60_000, map[string]string{"email": s.email()})
		s.journeys = s.journeys[:len(s.journeys)-1]
		first.after = append(first.after, d.journey)
		d.userAgent = first.userAgent
		s.cheat(d, "shared_device")
	}
	s.cheat(first, "shared_device")

	// Too many on a day, from one address.
	for i, l, address := 0, link("velocity"), s.address(); i < s.dailyMax+2; i++ {
		d := s.arrive(l, morning(21)+s.between(0, 12*60)*60_000, s.between(10, 55)*60_000, map[string]string{"email": s.email()})
		d.address = address
		s.cheat(d, "velocity", "address")
		convert(d, d.actions[0].at+20*hourMS)
	}

	s.writeRing(link("ring"), morning(11), convert)
	s.writeSelf(referrer, referee, morning(1), convert)
}

// usualWeights are those of the signals of fraud, in hundredths.
var usualWeights = map[string]int{"velocity": 30, "similarity": 25, "address": 20, "regularity": 15, "speed": 10, "self_referral": 100, "shared_device": 50}

// cheat says which signals a referral must show, as far as the programme weighs
// them, and so what must follow.
func (s *story) cheat(d *deal, signals ...string) {
	score := 0
	for _, signal := range signals {
		if s.weights[signal] > 0 {
			d.signals = append(d.signals, signal)
			score += s.weights[signal]
		}
	}
	switch {
	case score > 70:
		d.action = s.high
	case score > 40:
		d.action = s.medium
	}
}

// writeRing plants a machine: all five signals at once. People look at two of
// its referrals.
func (s *story) writeRing(link *worldLink, at int64, convert func(d *deal, at int64)) {
	address := s.address()
	for i := range int64(s.dailyMax) + 2 {
		d := s.arrive(link, at+i*10*60_000, 60_000, map[string]string{"email": fmt.Sprintf("jonathan.mueller.%02d@example.com", i)})
		d.address = address
		s.cheat(d, "velocity", "similarity", "address", "regularity", "speed")
		convert(d, d.actions[0].at+60_000)
		switch i {
		case 3:
			s.decisions = append(s.decisions, decision{d, "approve"})
		case 7:
			s.decisions = append(s.decisions, decision{d, "reject"})
		}
	}
}

// writeSelf plants a referrer who signs up again, with his own e-mail address.
func (s *story) writeSelf(referrer, referee string, at int64, convert func(d *deal, at int64)) {
	m := s.member("cheat-self", referrer)
	d := s.arrive(s.share(m, referee, s.campaign+"-plain"), at, 20*60_000, map[string]string{"email": strings.Replace(m.email, "@", "+2@", 1)})
	s.cheat(d, "self_referral", "similarity")
	convert(d, d.actions[0].at+2*hourMS)
}

// writeHonest is somebody who brings many over weeks, and a family of four in
// one house.
func (s *story) writeHonest(referrer, referee string, live func(d *deal)) {
	heavy := s.share(s.member("honest-heavy", referrer), referee, s.campaign+"-plain")
	for range 60 {
		live(s.refer(heavy, s.in(era{s.ripe.to + 60, s.ripe.to})))
	}
	family, address := s.share(s.member("honest-family", referrer), referee, s.campaign+"-plain"), s.address()
	day := s.in(s.ripe)
	for range 4 {
		d := s.refer(family, day)
		d.address = address
		live(d)
	}
}
