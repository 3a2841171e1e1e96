package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// startUp starts everything in one process, and the engine as its child.
func (d *deployment) startUp(ctx context.Context) error {
	ports, err := freePorts(5)
	if err != nil {
		return err
	}
	d.adminURL, d.clickhouse, d.kafka = "http://"+ports[1], "http://"+ports[2], ports[3]
	d.up = d.part("up", always("http://"+ports[0]+"/readyz"), func() []string {
		return []string{
			"up", "--data", d.data(), "--listen", ports[0], "--admin", ports[1], "--clickhouse-listen", ports[2], "--kafka-listen", ports[3],
			"--metrics", ports[4], "--spool-ring", d.rings, "--spool-ring-bytes", ringBytes, "--trusted-proxies", "127.0.0.0/8",
		}
	})
	d.edges = []*edge{{
		part: d.up, spool: filepath.Join(d.data(), "spool"), listens: [2]string{ports[0], ports[0]}, metrics: "http://" + ports[4] + "/metrics",
		rings: d.rings,
	}}
	if err := d.up.start(); err != nil {
		return err
	}
	return await(ctx, "up", patience, d.up.isReady)
}

// children are the processes that a process has started and that still run.
func children(pid int) ([]int, error) {
	lists, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	if err != nil {
		return nil, err
	}
	var pids []int
	for _, list := range lists {
		content, _ := os.ReadFile(list) // a thread may have ended
		for _, field := range strings.Fields(string(content)) {
			child, err := strconv.Atoi(field)
			if err != nil {
				return nil, fmt.Errorf("read %s: %w", list, err)
			}
			pids = append(pids, child)
		}
	}
	return pids, nil
}
