// Package spool keeps records safe between the moment they are accepted and the moment Kafka has them.
//
// A Spool is one stream of frames addressed by an absolute 64-bit byte position, held in two places:
//
//	          acked            head                       tail
//	            ▼                ▼                          ▼
//	────────────┬────────────────┬──────────────────────────┬──── position
//	 deleted    │ segment files  │ ring: memory-mapped file │ not written yet
//	            │ on disk        │ on tmpfs                 │
//
// Append copies a frame into the ring and moves the tail: no system call, and the mapping outlives kill -9. One reader takes
// chunks with Next and says with Ack what Kafka has. As long as acknowledgements keep up, no disk is touched. When the ring is
// more than half full the spiller moves its oldest part to segments, syncs them, and only then moves the head. When the disk
// budget is used up and the ring is full as well, Append sheds: it refuses and counts.
//
// A Journal is the same stream without the ring, for records that must be on disk before they are answered.
//
// # Identity
//
// A stream has a random identity, and its frames contiguous ordinals from 1. A consumer that remembers the last ordinal of an
// identity can drop whatever is sent twice. A ring that was lost (power cut, wiped tmpfs after a crash) may have held frames that
// were already sent, so their ordinals must never be given out again: the spool then takes a new identity, and its owner must
// take a new node number. Segments left by the old identity are read first, and under its name.
//
// # What survives what
//
//	kill -9 of the process      everything appended
//	orderly stop, then reboot   everything (Flush and Close move the ring to segments)
//	power cut                   segments; what was in the ring is lost
//	damaged ring or segment     every undamaged frame; damage is skipped, counted, logged; the segment is renamed aside
//
// # Locks, outermost first
//
//	spillMu   one spill at a time: the spiller or Flush
//	readMu    holds head still while frames are copied out of the ring; guards the mapping against Close
//	stateMu   guards the state file
//	appendMu  one frame at a time is copied into the ring; guards tail and ordinal
//
// segments.mu guards the list of segments and is never held while writing or syncing. The package runs on Linux only: it
// needs fallocate and a mapping placed twice.
package spool
