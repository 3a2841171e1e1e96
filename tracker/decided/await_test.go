package decided

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"waymark/tracker"
)

func TestAwait(t *testing.T) {
	var asked [][]int
	err := Await(t.Context(), time.Minute, []int{1, 2, 3}, func(pending []int) ([]int, error) {
		asked = append(asked, slices.Clone(pending))
		return pending[1:], nil
	})
	if want := [][]int{{1, 2, 3}, {2, 3}, {3}}; err != nil || !slices.EqualFunc(asked, want, slices.Equal) {
		t.Errorf("asked for %v, %v; want %v", asked, err, want)
	}
	broken := errors.New("broken")
	if err := Await(t.Context(), time.Minute, []int{1}, func([]int) ([]int, error) { return []int{1}, broken }); err != broken {
		t.Errorf("a look that fails ends in %v", err)
	}
	never := func(pending []int) ([]int, error) { return pending, nil }
	if err := Await(t.Context(), time.Millisecond, []int{1}, never); !errors.Is(err, tracker.ErrUnavailable) {
		t.Errorf("what never shows ends in %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := Await(ctx, time.Minute, []int{1}, never); !errors.Is(err, context.Canceled) {
		t.Errorf("a context that is over ends in %v", err)
	}
}
