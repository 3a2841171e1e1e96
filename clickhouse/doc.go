// Package clickhouse is where Waymark's events come to rest and its questions
// are answered: the schema (migrations), inserts that count once, and the
// report queries. The embedded engine is in its subpackage.
//
// The schema carries the arithmetic. Ingest inserts into one table, events;
// materialised views derive the others from each inserted block alone, so that
// a block inserted again under its token changes nothing anywhere. What needs
// more than one block (the programme of an action that named only its user,
// the link behind a purchase) is resolved when it is read, by plain views.
package clickhouse
