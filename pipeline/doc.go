// Package pipeline carries events from an edge node to ClickHouse: topics and
// the embedded broker, the catalogue of links that every node follows, the
// shipper from spool to Kafka, and ingest from Kafka to a Store.
//
// # The way of a record
//
//	spool ─▶ shipper ─▶ waymark.clicks  ─┐
//	journal ▶ shipper ─▶ waymark.actions ┼▶ ingest ─▶ Store (ClickHouse)
//	admin ─▶ writer ─▶ waymark.decisions ┘
//	admin ──▶ Catalog ─▶ waymark.links, waymark.programs, waymark.keys
//	                          └▶ Catalog of every node ─▶ tracker.Links, tracker.Keys
//
// # Files of the Kafka side
//
//	client.go          options that every Kafka client of the program shares
//	topics.go          names, partition counts, settings, the check at start
//	nodes.go           the number of an edge node
//	broker*.go         the embedded broker: durability, trimming, the byte cap
//	compact*.go        offline compaction of the embedded catalogue topics
//	tail.go            reading one partition from an offset, by topic identity
//	catalog*.go        the catalogue: following it, snapshots, changing it
//	links_writer*.go   how of two racing changes of a link one wins
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
//     survives, so the first one is made to win (see writeCondition).
package pipeline
