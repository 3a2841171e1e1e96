package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"

	"waymark/loadtest/fault"
)

// Faults of a spool. Here something may be lost, and the round proves that it is
// what was said to be lost and nothing else.
var spoolKinds = []*kind{
	{
		name: "ring-lost", on: inBoth, what: "kill -9 of an edge whose ring is deleted then, while nothing is in it: nothing is lost, the node takes a new number and says why",
		draw: func(r *round, random *rand.Rand) action { return drawRingLost(r, random, nil) },
	},
	{
		name: "nodes-lost", on: inParts, what: "an edge loses its ring, as above, while the topic of the node numbers is deleted and ingest killed: it takes a number that nobody had",
		draw: func(r *round, random *rand.Rand) action {
			a := drawRingLost(r, random, r.loseNodes)
			a.holds = append(a.holds, r.ingests[0].name, r.engine.name, "clickhouse")
			return a
		},
	},
	{
		name: "disk-full", on: inParts, what: "Kafka away until ring and disk budget of an edge are used up, then back: redirects go on, and what is lost is what was counted as shed",
		draw: drawDiskFull,
	},
	{
		name: "segment-corrupt", on: inParts, what: "Kafka away, kill -9 of an edge, bits flipped in its segments: what is lost is what audit names as missing",
		draw: func(r *round, random *rand.Rand) action { return drawDamage(r, random, "bits flipped", corruptSegment) },
	},
	{
		name: "segment-truncated", on: inParts, what: "Kafka away, kill -9 of an edge, a segment cut short: what is lost is what audit names as missing",
		draw: func(r *round, random *rand.Rand) action { return drawDamage(r, random, "cut", truncateSegment) },
	},
}

// nodesTopic has a record for each node, whose offset is its number.
const nodesTopic = "waymark.nodes"

var (
	ringLostLine = regexp.MustCompile(`the ring was lost`)
	nodeLine     = regexp.MustCompile(`\bnode=\d+`)
)

// drawRingLost does, if it is not nil, something more before the edge is back.
func drawRingLost(r *round, random *rand.Rand, more func(context.Context) error) action {
	e := pick(random, r.edges)
	holds := []string{e.name}
	if r.topology == parts {
		holds = append(holds, "broker") // or the ring would not become empty
	}
	return action{detail: e.name, holds: holds, do: func(ctx context.Context) error {
		if err := await(ctx, e.name, patience, e.isReady); err != nil {
			return err
		}
		// What is in the ring when it is lost is lost, and nobody can say how much
		// that was. So visitors are kept away until there is nothing in it.
		r.run.Hold(true)
		defer r.run.Hold(false)
		if err := await(ctx, "the ring to be empty", patience, e.isQuiet); err != nil {
			return err
		}
		e.kill()
		rings, err := filepath.Glob(filepath.Join(e.rings, "*.ring"))
		if err != nil || len(rings) == 0 {
			return fmt.Errorf("find the ring of %s in %s: %v", e.name, e.rings, err)
		}
		for _, ring := range rings {
			if err := os.Remove(ring); err != nil {
				return fmt.Errorf("lose a ring: %w", err)
			}
		}
		if more != nil {
			if err := more(ctx); err != nil {
				return err
			}
		}
		since := e.logSize()
		if err := e.start(); err != nil {
			return err
		}
		return await(ctx, e.name+" to be another node", patience, func(ctx context.Context) error {
			return errors.Join(e.isReady(ctx), e.hasNewNumber(since))
		})
	}}
}

// loseNodes deletes the topic that gives numbers to nodes, and starts ingest anew,
// which knows from ClickHouse those that were given. Nobody but the edge that comes
// then asks for one.
func (r *round) loseNodes(ctx context.Context) error {
	client, err := r.kafkaClient()
	if err != nil {
		return err
	}
	defer client.Close()
	if _, err := kadm.NewClient(client).DeleteTopic(ctx, nodesTopic); err != nil {
		return fmt.Errorf("delete topic %s: %w", nodesTopic, err)
	}
	r.ingests[0].kill()
	return r.ingests[0].start()
}

// hasNewNumber sees that an edge has said, since its log had so many bytes, that
// its ring was lost, and that it is another node now. Inside of `up` an edge does
// not say which node it is.
func (e *edge) hasNewNumber(since int64) error {
	if len(e.logged(since, ringLostLine)) == 0 {
		return fmt.Errorf("%s lost its ring and has not said so", e.name)
	}
	before, now := e.logged(0, nodeLine), e.logged(since, nodeLine)
	if e.name != "up" && len(now) == 0 {
		return fmt.Errorf("%s has not said which node it is", e.name)
	}
	if len(now) > 0 && slices.Contains(before[:len(before)-len(now)], now[0]) {
		return fmt.Errorf("%s lost its ring and is still %s", e.name, now[0])
	}
	return nil
}

// isQuiet is nil when an edge has taken nothing for a while and has shipped
// everything.
func (e *edge) isQuiet(ctx context.Context) error {
	before, err := scrape(ctx, e.metrics)
	if err != nil {
		return err
	}
	if err := pause(ctx, 300*time.Millisecond); err != nil {
		return err
	}
	now, err := scrape(ctx, e.metrics)
	if err != nil {
		return err
	}
	const taken, unacked = "waymark_spool_appended_frames_total", "waymark_spool_unacked_bytes"
	if _, err := now.need(unacked); err != nil {
		return err
	}
	if now[taken] != before[taken] || now[unacked] != 0 {
		return fmt.Errorf("%s took %v hits in a moment and has %v bytes to ship", e.name, now[taken]-before[taken], now[unacked])
	}
	return nil
}

func drawDiskFull(r *round, random *rand.Rand) action {
	e, stays := pick(random, r.edges), between(random, 200*time.Millisecond, 1500*time.Millisecond)
	return action{
		detail: fmt.Sprintf("%s, sheds for %v", e.name, rounded(stays)), holds: []string{e.name, "broker"}, keeps: []string{e.name},
		lasts: 5 * time.Second,
		do: func(ctx context.Context) error {
			before := e.ring
			if err := r.restart(ctx, e, smallRingBytes, smallDiskBytes); err != nil {
				return err
			}
			// Its counter ends with the process, so that is to live until everybody
			// has gone.
			r.later(func(ctx context.Context) error {
				shed, err := e.shed(ctx)
				if err != nil {
					return err
				}
				r.shed += shed
				return r.restart(ctx, e, before, diskBytes)
			})
			return r.withoutBroker(ctx, func() error {
				return errors.Join(await(ctx, e.name+" to shed", patience, func(ctx context.Context) error {
					shed, err := e.shed(ctx)
					if err == nil && shed == 0 {
						err = errors.New("it has shed nothing yet")
					}
					return err
				}), pause(ctx, stays))
			})
		},
	}
}

// withoutBroker does something while the broker is away.
func (r *round) withoutBroker(ctx context.Context, do func() error) error {
	if err := r.broker.Kill(); err != nil {
		return err
	}
	return errors.Join(do(), r.broker.Restart(ctx))
}

// restart stops an edge in order and starts it with other limits.
func (d *deployment) restart(ctx context.Context, e *edge, ring, disk string) error {
	if err := e.stop(); err != nil {
		return err
	}
	e.ring, e.disk = ring, disk
	if err := e.start(); err != nil {
		return err
	}
	return await(ctx, e.name, patience, e.isReady)
}

// shed is how many clicks an edge says it has shed. Spool and listener count
// them, each for itself.
func (e *edge) shed(ctx context.Context) (uint64, error) {
	m, err := scrape(ctx, e.metrics)
	if err != nil {
		return 0, err
	}
	bySpool := -1.0
	for name, value := range m {
		if strings.HasPrefix(name, "waymark_spool_shed_") && strings.HasSuffix(name, "_total") {
			bySpool = value
		}
	}
	byEdge, err := m.need("waymark_edge_hits_shed_total")
	if err == nil && bySpool != byEdge {
		err = fmt.Errorf("the spool of %s says that it has shed %v clicks, the listener %v", e.name, bySpool, byEdge)
	}
	return uint64(byEdge), err
}

// segmentMin is how much there should be to damage, in bytes.
const segmentMin = 48 << 10

// drawDamage is for the edge with the small ring, which goes to disk at once.
func drawDamage(r *round, random *rand.Rand, how string, damage func([]string, *rand.Rand) error) action {
	e := r.edges[1]
	return action{
		detail: e.name + ", " + how, holds: []string{e.name, "broker"}, keeps: []string{e.name}, lasts: 3 * time.Second,
		do: func(ctx context.Context) error {
			if err := await(ctx, e.name, patience, e.isReady); err != nil {
				return err
			}
			return r.withoutBroker(ctx, func() error {
				return r.damage(ctx, e, func(segments []string) error { return damage(segments, random) })
			})
		},
	}
}

// damage kills an edge that has segments and starts it again when they were
// damaged.
func (r *round) damage(ctx context.Context, e *edge, damage func(segments []string) error) error {
	if err := await(ctx, e.name+" to go to disk", patience, func(context.Context) error {
		_, bytes, err := e.segments()
		if err == nil && bytes < segmentMin {
			err = fmt.Errorf("there are %d bytes", bytes)
		}
		return err
	}); err != nil {
		return err
	}
	// With nobody in mid-air, what the spool has is what was answered.
	r.run.Hold(true)
	defer r.run.Hold(false)
	if err := pause(ctx, 300*time.Millisecond); err != nil {
		return err
	}
	e.kill()
	segments, _, err := e.segments()
	if err == nil && len(segments) == 0 {
		err = errors.New("there are no segments to damage")
	}
	if err != nil {
		return err
	}
	r.broken = true
	return errors.Join(damage(segments), e.start())
}

// segments are the files of a spool that are still to be read, and their size.
func (e *edge) segments() (paths []string, bytes int64, err error) {
	if paths, err = filepath.Glob(filepath.Join(e.spool, "*.segment")); err != nil {
		return nil, 0, err
	}
	for _, path := range paths {
		if info, err := os.Stat(path); err == nil { // else it has just been shipped
			bytes += info.Size()
		}
	}
	return paths, bytes, nil
}

func corruptSegment(segments []string, random *rand.Rand) error {
	path := pick(random, segments)
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	for range 1 + random.IntN(4) {
		n := 1 + random.IntN(64)
		if _, err := fault.CorruptFile(path, random.Int64N(info.Size()-int64(n)), n, random); err != nil {
			return err
		}
	}
	return nil
}

func truncateSegment(segments []string, random *rand.Rand) error {
	path := pick(random, segments)
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	_, err = fault.TruncateFile(path, random.Int64N(info.Size()))
	return err
}
