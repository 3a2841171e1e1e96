package pipeline

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// nodeRecord is the value of a record of waymark.nodes. Nothing reads it back:
// it tells an operator who a node number is.
type nodeRecord struct {
	Identity  string    `json:"identity"`
	Host      string    `json:"host"`
	ClaimedAt time.Time `json:"claimed_at"`
}

// ClaimNode takes a new node number: the offset of a record that it appends to
// waymark.nodes. Numbers are from 1 to 65535 and never given twice, so a node
// claims one when its spool is new and keeps it there. identity names the
// spool, for operators. It fails when the numbers are used up, and with the
// client's error when Kafka does not acknowledge within ctx; a number whose
// acknowledgement was lost is skipped.
func ClaimNode(ctx context.Context, client *kgo.Client, identity string) (uint16, error) {
	host, _ := os.Hostname()
	for {
		value, err := json.Marshal(nodeRecord{Identity: identity, Host: host, ClaimedAt: time.Now().UTC()})
		if err != nil {
			panic("BUG: encode a node record: " + err.Error())
		}
		record := &kgo.Record{Topic: TopicNodes, Key: []byte(identity), Value: value}
		if err := client.ProduceSync(ctx, record).FirstErr(); err != nil {
			return 0, fmt.Errorf("claim a node number in %s: %w", TopicNodes, err)
		}
		switch {
		case record.Offset == 0:
			// Number 0 would look like a click without a node.
		case record.Offset > math.MaxUint16:
			return 0, fmt.Errorf("claim a node number in %s: all %d are taken; keep each node's spool directory across restarts, and start over with a new cluster", TopicNodes, math.MaxUint16)
		default:
			return uint16(record.Offset), nil
		}
	}
}
