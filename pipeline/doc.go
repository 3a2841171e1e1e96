// Package pipeline carries events from an edge node to ClickHouse: topics and
// the embedded broker, the catalogue of links that every node follows, the
// shipper from spool to Kafka, and ingest from Kafka to a Store.
//
// # The way of a record
//
//	spool ─▶ shipper ─▶ waymark.clicks  ─┐
//	journal ▶ shipper ─▶ waymark.actions ┴▶ ingest ─▶ Store (ClickHouse)
//	admin ──▶ Catalog ─▶ waymark.links, waymark.programs, waymark.keys
//	                          └▶ Catalog of every node ─▶ tracker.Links, tracker.Keys
//
// # Files of the Kafka side
//
//	client.go        options every Kafka client of the program shares
//	topics.go        names, partition counts, settings, the check at start
//	nodes.go         the number of an edge node
//	tail.go          reading one partition from an offset, by topic identity
//	catalog.go       following the catalogue topics, snapshots, readiness
//	catalog_write.go links_writer_*.go   changing them, with one winner per code
//	broker*.go       the embedded broker: durability, trimming, the byte cap
//	compact*.go      offline compaction of the embedded catalogue topics
//
// # Invariants that have bitten
//
//   - A Kafka offset is never used twice. The embedded broker forgets where a
//     partition ended when its last batch is deleted, so trimming always keeps
//     that batch (see Broker).
//   - A position belongs to a topic identity, not to a topic name: whoever
//     stores one stores the 16-byte topic id with it.
//   - On a compacted topic the last record of a key survives, so a writer that
//     lost a race must not have written. On the embedded log every record
//     survives, so the first one can be made to win (see writeCondition).
package pipeline
