package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"
)

// ingestRace is the state of a run of ingestCommand.
type ingestRace struct {
	ingestCommand
	dir    string
	topic  *topic
	blocks []string // files with prepared blocks
	sums   string   // of the rows, the same for all
}

// heat is what one contestant took once, in seconds a million events.
type heat struct {
	cpu       float64 // of all processes
	engineCPU float64 // of that the engine's
	elapsed   float64 // until the last event was there
}

// ingestContestants in the order of the first round; each later round begins
// with the next one.
var ingestContestants = []string{"waymark", "ceiling", "engine"}

func (r *ingestRace) run(ctx context.Context) (map[string][]heat, error) {
	if err := r.prepare(ctx); err != nil {
		return nil, fmt.Errorf("prepare the blocks: %w", err)
	}
	heats := map[string][]heat{}
	for round := range r.Rounds {
		for i := range ingestContestants {
			name := ingestContestants[(i+round)%len(ingestContestants)]
			if r.Only != "" && name != r.Only {
				continue
			}
			h, err := r.heat(ctx, name)
			if err != nil {
				return nil, fmt.Errorf("measure %s: %w", name, err)
			}
			heats[name] = append(heats[name], h)
			fmt.Fprintf(os.Stderr, "round %d of %d: %-7s  %5.2f s CPU (engine %5.2f) and %5.2f s a million events\n",
				round+1, r.Rounds, name, h.cpu, h.engineCPU, h.elapsed)
		}
	}
	return heats, nil
}

// prepare lets waymark ingest everything once and takes its blocks out of the
// engine as they went in, in the native format: nothing is left to do with
// them but to send them.
func (r *ingestRace) prepare(ctx context.Context) error {
	e, err := startEngine(ctx, r.Binary, r.dir)
	if err != nil {
		return err
	}
	defer e.close()
	if _, err := r.waymark(ctx, e); err != nil {
		return err
	}
	places, err := e.rows(ctx, fmt.Sprintf("SELECT source, partition, min(offset), max(offset), intDiv(offset, %d) AS block FROM waymark.events GROUP BY ALL ORDER BY block, source, partition", r.BlockRows))
	if err != nil {
		return err
	}
	for i, place := range places {
		path := filepath.Join(r.dir, fmt.Sprintf("block-%04d", i))
		err := e.save(ctx, path, fmt.Sprintf("SELECT * FROM waymark.events WHERE source = %s AND partition = %s AND offset BETWEEN %s AND %s ORDER BY offset FORMAT Native SETTINGS max_block_size = 1000000, max_threads = 1",
			place[0], place[1], place[2], place[3]))
		if err != nil {
			return err
		}
		r.blocks = append(r.blocks, path)
	}
	return nil
}

// save writes the answer of a query to a file.
func (e *engineProcess) save(ctx context.Context, path, sql string) error {
	answer, err := e.do(ctx, sql, nil, nil)
	if err != nil {
		return err
	}
	defer answer.Close()
	file, err := os.Create(path)
	if err != nil {
		return err
	}
	defer file.Close()
	if _, err := io.Copy(file, answer); err != nil {
		return fmt.Errorf("save a block: %w", err)
	}
	return file.Close()
}

// heat starts an engine, lets a contestant fill it and adds up what it took.
func (r *ingestRace) heat(ctx context.Context, name string) (heat, error) {
	e, err := startEngine(ctx, r.Binary, r.dir)
	if err != nil {
		return heat{}, err
	}
	defer e.close()
	before, err := cpuTime(e.pid())
	if err != nil {
		return heat{}, err
	}
	fill := map[string]func(context.Context, *engineProcess) (heat, error){"ceiling": r.ceiling, "waymark": r.waymark, "engine": r.kafkaEngine}[name]
	h, err := fill(ctx, e)
	if err != nil {
		return heat{}, err
	}
	if err := e.settle(ctx); err != nil {
		return heat{}, err
	}
	after, err := cpuTime(e.pid())
	if err != nil {
		return heat{}, err
	}
	h.engineCPU = r.perMillion(after - before)
	h.cpu += h.engineCPU
	return h, r.check(ctx, e)
}

func (r *ingestRace) perMillion(d time.Duration) float64 {
	return d.Seconds() * 1e6 / float64(r.Events)
}

// check sees that every event is there once, and the same with all contestants.
func (r *ingestRace) check(ctx context.Context, e *engineProcess) error {
	// The Kafka engine does not know a topic's identity, so its source differs.
	rows, err := e.rows(ctx, "SELECT count(), uniqExact(source, partition, offset), sum(cityHash64(* EXCEPT (source))) FROM waymark.events")
	if err != nil {
		return err
	}
	if got := rows[0]; got[0] != fmt.Sprint(r.Events) || got[1] != got[0] {
		return fmt.Errorf("of %d events there are %s, %s of them different", r.Events, got[0], got[1])
	}
	sums := fmt.Sprint(rows[0])
	if r.sums == "" {
		r.sums = sums
	}
	if sums != r.sums {
		return fmt.Errorf("the rows add up to %s, those of an earlier contestant to %s", sums, r.sums)
	}
	return nil
}

// ceiling posts the prepared blocks, two at a time as waymark does.
func (r *ingestRace) ceiling(ctx context.Context, e *engineProcess) (heat, error) {
	began, before := time.Now(), ownCPUTime()
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(2)
	for _, path := range r.blocks {
		group.Go(func() error {
			file, err := os.Open(path)
			if err != nil {
				return err
			}
			defer file.Close()
			answer, err := e.do(ctx, "INSERT INTO waymark.events FORMAT Native", file, map[string]string{
				"max_insert_block_size": "1000000", "min_insert_block_size_rows": "1000000", "min_insert_block_size_bytes": "0",
			})
			if err != nil {
				return err
			}
			return answer.Close()
		})
	}
	if err := group.Wait(); err != nil {
		return heat{}, err
	}
	return heat{cpu: r.perMillion(ownCPUTime() - before), elapsed: r.perMillion(time.Since(began))}, nil
}

// ownCPUTime is what this process has used.
func ownCPUTime() time.Duration {
	var usage unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &usage); err != nil {
		panic("BUG: ask for the CPU time of this process: " + err.Error())
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

// waymark runs an ingest until all is there.
func (r *ingestRace) waymark(ctx context.Context, e *engineProcess) (heat, error) {
	if _, err := r.topic.admin.DeleteGroups(ctx, "waymark-ingest", "waymark-ingest-catalog"); err != nil {
		return heat{}, fmt.Errorf("forget what an earlier round committed: %w", err)
	}
	began := time.Now()
	ingest, err := startProcess(r.Binary, "ingest", "--data", e.dir, "--kafka", r.topic.address, "--clickhouse", e.url)
	if err != nil {
		return heat{}, err
	}
	defer endProcess(ingest)
	if err := r.await(ctx, e); err != nil {
		return heat{}, err
	}
	elapsed := time.Since(began)
	cpu, err := cpuTime(ingest.Process.Pid)
	return heat{cpu: r.perMillion(cpu), elapsed: r.perMillion(elapsed)}, err
}

// await waits until all events are in the engine, as long as some still come.
func (r *ingestRace) await(ctx context.Context, e *engineProcess) error {
	var last int64
	for moved := time.Now(); ; {
		count, err := e.number(ctx, "SELECT count() FROM waymark.events")
		if err != nil {
			return err
		}
		if count >= int64(r.Events) {
			return nil
		}
		if count > last {
			last, moved = count, time.Now()
		}
		if time.Since(moved) > 2*time.Minute {
			return fmt.Errorf("only %d of %d events have come, none in the last two minutes", count, r.Events)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(100 * time.Millisecond):
		}
	}
}
