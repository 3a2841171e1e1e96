package main

import (
	"context"
	"fmt"
)

// viewCost is the engine's CPU time for the prepared blocks, in seconds a
// million events, with one view and no other.
type viewCost struct {
	name string // "" for the table alone
	cpu  float64
}

// views measures what each view adds to an insert. It drops all others, since
// what is saved by leaving one out of many depends on the rest.
func (r *ingestRace) views(ctx context.Context) ([]viewCost, error) {
	var costs []viewCost
	names := []string{""}
	for i := 0; i < len(names); i++ {
		e, err := startEngine(ctx, r.Binary, r.dir)
		if err != nil {
			return nil, err
		}
		rows, err := e.rows(ctx, "SELECT name FROM system.tables WHERE database = 'waymark' AND engine = 'MaterializedView' ORDER BY name")
		if err == nil {
			for _, row := range rows {
				if i == 0 {
					names = append(names, row[0])
				}
				if row[0] != names[i] && err == nil {
					err = e.exec(ctx, "DROP TABLE waymark."+row[0]+" SYNC")
				}
			}
		}
		var cpu float64
		if err == nil {
			cpu, err = r.engineCPU(ctx, e)
		}
		e.close()
		if err != nil {
			return nil, fmt.Errorf("view %q: %w", names[i], err)
		}
		costs = append(costs, viewCost{names[i], cpu})
	}
	return costs, nil
}

// engineCPU is what the engine takes for the prepared blocks.
func (r *ingestRace) engineCPU(ctx context.Context, e *engineProcess) (float64, error) {
	before, err := cpuTime(e.pid())
	if err != nil {
		return 0, err
	}
	if _, err := r.ceiling(ctx, e); err != nil {
		return 0, err
	}
	if err := e.settle(ctx); err != nil {
		return 0, err
	}
	after, err := cpuTime(e.pid())
	return r.perMillion(after - before), err
}
