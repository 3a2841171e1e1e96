package pipeline

import (
	"encoding/json"
	"fmt"
)

// plan is a range of offsets that becomes one insert. It is committed, as the
// metadata of its first offset, before the insert is made: whoever owns the
// partition after a crash finds it there and makes the same insert again,
// with the same records and the same token.
type plan struct {
	source   uint32
	from, to int64 // to excluded
}

// token names the insert to ClickHouse, which makes it once.
func (p plan) token(partition int32) string {
	return fmt.Sprintf("%d-%d-%d-%d", p.source, partition, p.from, p.to)
}

// progress is what the committed offset of a partition says: everything below
// offset is in ClickHouse, and where To is set, the range up to it was planned
// and may be there, in part or whole.
type progress struct {
	offset int64
	progressMetadata
}

// progressMetadata is the metadata of a committed offset:
//
//	{"v":1,"source":2774516983}             settled
//	{"v":1,"source":2774516983,"to":81310}  planned up to 81310
//
// The source tells a topic from one of the same name that was deleted: the
// offsets that were committed for that one mean nothing here.
type progressMetadata struct {
	Version int    `json:"v"`
	Source  uint32 `json:"source"`
	To      int64  `json:"to,omitempty"`
}

// planned is the progress that announces a plan.
func (p plan) planned() progress {
	return progress{p.from, progressMetadata{Version: 1, Source: p.source, To: p.to}}
}

// settled is the progress after the insert of a plan.
func (p plan) settled() progress {
	return progress{p.to, progressMetadata{Version: 1, Source: p.source}}
}

func (p progress) metadata() string {
	text, err := json.Marshal(p.progressMetadata)
	if err != nil {
		panic("BUG: encode the metadata of an offset: " + err.Error())
	}
	return string(text)
}

// parseProgress reads a committed offset. No metadata means that an operator
// set the offset with a tool of Kafka: the source is 0 then, and nothing is
// planned. Metadata that ingest did not write is an error.
func parseProgress(offset int64, metadata string) (progress, error) {
	p := progress{offset: offset}
	if metadata == "" {
		return p, nil
	}
	if err := json.Unmarshal([]byte(metadata), &p.progressMetadata); err != nil {
		return progress{offset: offset}, fmt.Errorf("read the metadata %q of committed offset %d: %w", metadata, offset, err)
	}
	if p.Version != 1 || p.Source == 0 || p.To != 0 && p.To <= offset {
		return progress{offset: offset}, fmt.Errorf("read the metadata %q of committed offset %d: not written by this version of ingest", metadata, offset)
	}
	return p, nil
}
