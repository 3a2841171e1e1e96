package main

import (
	"context"
	"errors"
	"fmt"
	"testing"
)

func TestExitCode(t *testing.T) {
	for _, c := range []struct {
		err  error
		want int
	}{
		{nil, 0},
		{context.Canceled, 0}, // interrupted
		{fmt.Errorf("wait for links: %w", context.Canceled), 0},
		{context.DeadlineExceeded, 1},
		{errors.New("listen on 127.0.0.1:8080: the port is taken"), 1},
	} {
		if got := exitCode("up", c.err); got != c.want {
			t.Errorf("%v: exit code %d, want %d", c.err, got, c.want)
		}
	}
}
