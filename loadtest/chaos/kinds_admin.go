package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"

	"golang.org/x/sync/errgroup"
)

// Faults of writing links with more than one admin. The broker here is as the
// embedded one, without transactions; on a real Kafka `make test-kafka` has
// writers race, who fence each other there.
var adminKinds = []*kind{
	{name: "admin-second", on: inParts, what: "a second admin creates links with the same codes at the same time: one of the two wins each, and every edge serves the winner's", draw: drawSecondAdmin},
}

func drawSecondAdmin(r *round, random *rand.Rand) action {
	codes := 8 + random.IntN(12)
	return action{detail: fmt.Sprint(codes, " codes"), holds: []string{"admin-2"}, do: func(ctx context.Context) error {
		if err := r.admin2.start(); err != nil {
			return err
		}
		if err := await(ctx, r.admin2.name, patience, r.admin2.isReady); err != nil {
			return err
		}
		generated := map[string]bool{}
		for n := range codes {
			if n%4 == 3 {
				if err := r.raceUnnamed(ctx, generated); err != nil {
					return err
				}
				continue
			}
			if err := r.raceFor(ctx, fmt.Sprintf("race-%s-%d", r.links.run, n)); err != nil {
				return err
			}
		}
		return nil
	}}
}

// raceFor has both admins create a link of one code, each with a destination of its
// own. An answer that is missing proves nothing; those there are must not
// contradict each other.
func (r *round) raceFor(ctx context.Context, code string) error {
	created, refused, winner := 0, 0, 0
	for i, a := range r.askBoth(ctx, func(i int) any { return map[string]any{"code": code, "url": destination(i + 1)} }) {
		switch {
		case a == nil:
		case a.status == http.StatusCreated:
			created++
			winner = i + 1
		case a.status == http.StatusConflict:
			refused++
		}
	}
	if created > 1 || refused > 1 {
		return fmt.Errorf("two admins were asked to create %s: %d did, %d said that it exists", code, created, refused)
	}
	if created == 1 {
		r.later(func(context.Context) error { // by then nobody writes links
			r.links.links = append(r.links.links, &writtenLink{code: code, confirmed: winner, tried: winner})
			return nil
		})
	}
	return nil
}

// raceUnnamed has both admins create a link whose code they make up.
func (r *round) raceUnnamed(ctx context.Context, generated map[string]bool) error {
	for i, a := range r.askBoth(ctx, func(i int) any { return map[string]any{"url": destination(i + 1)} }) {
		if a == nil || a.status != http.StatusCreated {
			continue
		}
		var link struct{ Code string }
		if err := json.Unmarshal(a.body, &link); err != nil || link.Code == "" {
			return fmt.Errorf("admin %d created a link without a code: %s", i+1, a.body)
		}
		if generated[link.Code] {
			return errors.New("two links were created with the generated code " + link.Code)
		}
		generated[link.Code] = true
		r.later(func(context.Context) error {
			r.links.links = append(r.links.links, &writtenLink{code: link.Code, confirmed: i + 1, tried: i + 1})
			return nil
		})
	}
	return nil
}

// askBoth sends a link to both admins at once. An answer that did not come is nil.
func (r *round) askBoth(ctx context.Context, link func(i int) any) (answers [2]*answer) {
	var asking errgroup.Group
	for i, url := range []string{r.adminURL, r.admin2URL} {
		asking.Go(func() error {
			answers[i], _ = call(ctx, "POST", url+"/v1/links", r.key, link(i))
			return nil
		})
	}
	_ = asking.Wait() // none returns an error
	return answers
}
