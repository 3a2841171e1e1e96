// Package partners keeps the records of a programme's partners: their code,
// their status, and the commission that was agreed with them.
//
// A record is a chain of changes, each an event partner_change that says all of
// the record from a time on. The place in the chain is the event's identity, of
// which the first counts for ever: of two who change a record at the same time
// one is told that the other was faster, whichever admin they asked. A code
// is claimed in the same way, so no two partners of a programme have the same.
package partners
