// Package fault breaks things on purpose: a Kafka broker that can be killed and
// told to misbehave, a TCP pipe that can be cut, stalled and slowed, a proxy
// that does to ClickHouse's inserts what networks and full servers do, and
// damage to files.
//
// It is a black box: it knows TCP, Kafka's and ClickHouse's protocols and files,
// and nothing of the programs on either side. Every choice that is left to
// chance comes from a seed, so a run can be made again.
package fault
