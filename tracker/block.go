package tracker

import (
	"time"

	"waymark/tracker/wire"
)

// Row is an event with its place in Kafka.
type Row struct {
	Offset int64
	Event  *wire.Event
}

// Block is what one insert puts into ClickHouse: the rows that a planned range
// of one partition left after repeats were dropped. The same range always
// gives the same block, and Token names it, so that an insert which is made
// again adds nothing.
type Block struct {
	Token     string
	Source    uint32 // number of the topic's identity, see pipeline
	Partition int32
	From, To  int64 // offsets, To excluded
	Decisions bool  // the rows are what the installation decided, and go to a table of their own
	Rows      []Row
}

// LinkRow and ProgramRow are the latest records of their topics, for the
// copies in ClickHouse; Version is the offset.
type LinkRow struct {
	Link    Link
	Deleted bool
	Version uint64
}

type ProgramRow struct {
	Program   Program
	Version   uint64
	WrittenAt time.Time
}
