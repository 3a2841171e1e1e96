package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"
)

// Faults of ClickHouse, and of the way to it.
var clickhouseKinds = []*kind{
	{name: "clickhouse-away", on: inParts, what: "ClickHouse can't be reached for 1 to 5 s", draw: func(r *round, random *rand.Rand) action {
		return r.clickhouseFault("cut off", between(random, time.Second, 5*time.Second), func() func() {
			r.house.Away(true)
			return func() { r.house.Away(false) }
		})
	}},
	{name: "clickhouse-slow", on: inParts, what: "every insert takes 0.2 to 2 s longer", draw: func(r *round, random *rand.Rand) action {
		d := between(random, 200*time.Millisecond, 2*time.Second)
		return r.clickhouseFault(fmt.Sprint("by ", rounded(d)), lastsSeconds(random), func() func() { return r.house.Slow(d) })
	}},
	{name: "clickhouse-full", on: inParts, what: "inserts are refused: too many parts, or out of memory, or read-only", draw: func(r *round, random *rand.Rand) action {
		refusal := pick(random, refusals)
		return r.clickhouseFault(fmt.Sprint("code ", refusal.code), lastsSeconds(random), func() func() { return r.house.Refuse(refusal.code, refusal.text) })
	}},
	{name: "clickhouse-mute", on: inParts, what: "inserts are carried out and the connection closed in place of an answer", draw: func(r *round, random *rand.Rand) action {
		share, seed := 0.2+0.8*random.Float64(), random.Uint64()
		return r.clickhouseFault(fmt.Sprintf("%.0f %%", 100*share), lastsSeconds(random), func() func() { return r.house.LoseAnswers(share, seed) })
	}},
	{name: "clickhouse-cut", on: inParts, what: "inserts are cut off in mid-upload", draw: func(r *round, random *rand.Rand) action {
		share, seed := 0.2+0.8*random.Float64(), random.Uint64()
		return r.clickhouseFault(fmt.Sprintf("%.0f %%", 100*share), lastsSeconds(random), func() func() { return r.house.CutUploads(share, seed) })
	}},
	{name: "clickhouse-dies-inserting", on: inParts, what: "kill -9 of ClickHouse in mid-insert, one to four times", draw: drawDiesInserting},
	{name: "ingest-kill-inserting", on: inParts, what: "kill -9 of ingest when its insert comes to ClickHouse, which never gets it; and once more when ClickHouse has made it and ingest does not know", draw: drawKillInserting},
}

var refusals = []struct {
	code int
	text string
}{
	{252, "Too many parts (3000). Merges are processing significantly slower than inserts. (TOO_MANY_PARTS)"},
	{241, "Memory limit (total) exceeded: would use 7.45 GiB. (MEMORY_LIMIT_EXCEEDED)"},
	{242, "Table is in readonly mode. (TABLE_IS_READ_ONLY)"},
	{243, "Cannot reserve 1.00 MiB, not enough space. (NOT_ENOUGH_SPACE)"},
}

func lastsSeconds(random *rand.Rand) time.Duration {
	return between(random, 500*time.Millisecond, 4*time.Second)
}

// clickhouseFault makes inserts fail in some way for a while.
func (r *round) clickhouseFault(detail string, d time.Duration, begin func() (lift func())) action {
	return action{
		detail: fmt.Sprintf("%s, for %v", detail, rounded(d)), holds: []string{"clickhouse"},
		do: func(ctx context.Context) error {
			defer begin()()
			return pause(ctx, d)
		},
	}
}

func drawDiesInserting(r *round, random *rand.Rand) action {
	times := 1 + random.IntN(4)
	waits := make([]time.Duration, times) // into the insert, which takes some 10 ms
	for i := range waits {
		waits[i] = between(random, 0, 30*time.Millisecond)
	}
	return action{
		detail: fmt.Sprint(times, " times"), holds: []string{r.engine.name},
		do: func(ctx context.Context) error {
			for _, wait := range waits {
				if killed, err := r.killInserting(ctx, wait); !killed {
					return err
				}
				if err := r.engine.start(); err != nil {
					return err
				}
				if err := await(ctx, "the engine", patience, r.engine.isReady); err != nil {
					return errors.Join(err, r.engine.failed())
				}
			}
			return nil
		},
	}
}

// killInserting kills the engine when it has an insert, after wait. It returns
// false, and no error, where no insert came.
func (r *round) killInserting(ctx context.Context, wait time.Duration) (bool, error) {
	died := make(chan struct{})
	defer r.house.OnInsert(func() {
		time.Sleep(wait)
		r.engine.kill()
		close(died)
	})()
	select {
	case <-died:
		return true, nil
	case <-time.After(20 * time.Second): // ingest has nothing to insert, or is down itself
		return false, nil
	case <-ctx.Done():
		return false, ctx.Err()
	}
}

// drawKillInserting kills ingest on both sides of the moment at which its rows come
// to be: those of the first insert are nowhere, those of the second are there.
func drawKillInserting(r *round, random *rand.Rand) action {
	ingest, away := r.ingests[0], between(random, 0, time.Second)
	return action{
		detail: fmt.Sprint("back after ", rounded(away)), holds: []string{ingest.name, r.engine.name, "clickhouse", "broker"},
		do: func(ctx context.Context) error {
			for _, made := range []bool{false, true} {
				killed := make(chan struct{})
				lift := r.house.AtInsert(eventsTable, made, func() {
					ingest.kill()
					close(killed)
				})
				select {
				case <-killed:
				case <-time.After(20 * time.Second): // another ingest has the partitions
				case <-ctx.Done():
				}
				lift()
				if err := errors.Join(ctx.Err(), pause(ctx, away), ingest.start()); err != nil {
					return err
				}
			}
			return nil
		},
	}
}
