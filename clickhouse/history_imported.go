package clickhouse

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
	"github.com/cespare/xxhash/v2"

	"waymark/tracker"
	"waymark/tracker/wire"
)

// ImportedClicks returns those imported hits that have one of ids, by id: what
// describes their link, their identity and their visitor. It asks action_ids,
// which is sorted by what ids are hashed to, where the hits are.
func (db *DB) ImportedClicks(ctx context.Context, ids []string) (map[string]*wire.Event, error) {
	found := make(map[string]*wire.Event)
	for batch := range slices.Chunk(ids, seenBatch/2) { // each asks for two events
		wanted := make(map[string]bool, len(batch))
		hashes := make([]string, 0, 2*len(batch))
		for _, id := range batch {
			wanted[id] = true
			for _, event := range []string{tracker.EventClick, tracker.EventScan} {
				identity := tracker.ActionIdentity{Event: event, Key: "i:" + id}
				hashes = append(hashes, fmt.Sprint(xxhash.Sum64String(identity.RecordKey())))
			}
		}
		err := db.scan(ctx, `
SELECT id, time, sequence, visitor_id, program, campaign, channel, link, code, domain, referrer_id, referrer_type, referee_type
FROM waymark.events
WHERE stage = 'clicked' AND node = 0
    AND (source, partition, offset) IN (SELECT source, partition, offset FROM waymark.action_ids WHERE hash IN (`+strings.Join(hashes, ",")+"))",
			nil, func(rows driver.Rows) error {
				hit := new(wire.Event)
				var at time.Time
				var sequence uint16
				err := rows.Scan(&hit.Id, &at, &sequence, &hit.VisitorId, &hit.Program, &hit.Campaign, &hit.Channel, &hit.Link,
					&hit.Code, &hit.Domain, &hit.ReferrerId, &hit.ReferrerType, &hit.RefereeType)
				hit.TimeMs, hit.Sequence = uint64(at.UnixMilli()), uint32(sequence)
				if wanted[hit.Id] { // else another with the same hash
					found[hit.Id] = hit
				}
				return err
			})
		if err != nil {
			return nil, fmt.Errorf("ask ClickHouse for %d imported clicks: %w", len(batch), err)
		}
	}
	return found, nil
}
