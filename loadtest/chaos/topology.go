package main

import (
	"fmt"
	"math/rand/v2"
	"net"
)

// topology is how an installation is put together.
type topology uint8

const (
	// parts are processes of their own: a broker that can be told to misbehave, an
	// engine behind a proxy, two edges, an ingest and an admin (and now and then a
	// second one of each).
	parts topology = iota
	// up is everything in `waymark up`.
	up
)

func (t topology) String() string { return [...]string{"parts", "up"}[t] }

// The topology of a round is part of its seed, so that a seed alone makes the
// round again.
func seedOf(t topology, random *rand.Rand) uint64 { return random.Uint64()&^1 | uint64(t) }

func topologyOf(seed uint64) topology { return topology(seed & 1) }

// Ports are taken below those that the kernel gives to clients: a client that
// dials a port of its own range for long enough, while nobody listens there, is
// one day connected to itself.
const portsFrom, portsTo = 12_000, 32_000

// freePorts finds ports that nobody listens on. Somebody may take one before it
// is used; the part that wanted it then says so.
func freePorts(n int) ([]string, error) {
	var found []string
	for range 1000 {
		if len(found) == n {
			return found, nil
		}
		address := fmt.Sprintf("127.0.0.1:%d", portsFrom+rand.IntN(portsTo-portsFrom))
		listener, err := net.Listen("tcp", address)
		if err != nil {
			continue
		}
		defer listener.Close() // when all are found, so that none is found twice
		found = append(found, address)
	}
	return nil, fmt.Errorf("find %d free ports between %d and %d: there are %d", n, portsFrom, portsTo, len(found))
}
