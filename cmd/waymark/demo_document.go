package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"waymark/deploy"
	"waymark/tracker"
)

// The example documents announce promotions that are yet to come, and a story
// lies in the past. So the demo writes an example with its promotions moved back
// by whole years, with the campaigns of the run, and with effect from long ago.

// demoCampaign is a campaign as a document has it.
type demoCampaign struct {
	Name       string         `json:"name"`
	StartsAt   string         `json:"starts_at"`
	EndsAt     string         `json:"ends_at,omitempty"`
	Audience   []string       `json:"audience,omitempty"`
	Multiplier string         `json:"multiplier,omitempty"`
	Budget     string         `json:"budget,omitempty"`
	Spend      string         `json:"spend,omitempty"`
	Seasons    []demoSeason   `json:"seasons,omitempty"`
	Variants   []string       `json:"variants,omitempty"`
	Targets    map[string]any `json:"targets,omitempty"`
}

type demoWebhook struct {
	URL    string   `json:"url"`
	Secret string   `json:"secret"`
	Events []string `json:"events"`
}

type demoSeason struct {
	From       string `json:"from"`
	To         string `json:"to"`
	Multiplier string `json:"multiplier"`
}

const (
	// demoSince is from when on the document of a demo holds: before all stories.
	demoSince = "2001-01-01T00:00:00Z"
	// demoCampaignsMax is how many campaigns of earlier runs a document keeps; it would
	// grow without end, and what older runs earned by their campaigns is
	// calculated anew without them.
	demoCampaignsMax = 40
)

// exampleDocument reads an example programme that ships with the binary.
func exampleDocument(name string) (map[string]any, error) {
	text, err := deploy.Programs.ReadFile("programs/" + name + ".yaml")
	if err != nil {
		return nil, fmt.Errorf("read the example programme %s: %w", name, err)
	}
	encoded, _, err := tracker.JSONFromYAML(text)
	if err != nil {
		return nil, fmt.Errorf("read the example programme %s: %w", name, err)
	}
	var document map[string]any
	decoder := json.NewDecoder(bytes.NewReader(encoded))
	decoder.UseNumber()
	if err := decoder.Decode(&document); err != nil {
		return nil, fmt.Errorf("read the example programme %s: %w", name, err)
	}
	return document, nil
}

// putDemoProgram writes the example with the campaigns of a run beside those of
// earlier ones, and with the webhooks of a run.
func putDemoProgram(ctx context.Context, client *apiClient, program string, now time.Time, campaigns []demoCampaign, hooks []demoWebhook) error {
	document, err := exampleDocument(program)
	if err != nil {
		return err
	}
	past, dates, err := writtenBefore(ctx, client, program)
	if err != nil {
		return err
	}
	all, _ := document["campaigns"].([]any)
	for _, c := range past {
		all = append(all, c)
	}
	for _, c := range campaigns {
		all = append(all, c)
	}
	document["campaigns"] = all
	if len(hooks) > 0 {
		document["webhooks"] = hooks
	}
	if rewards, ok := document["rewards"].(map[string]any); ok {
		movePromotions(rewards["rules"], now.AddDate(0, 0, -20))
	}
	// Of two versions with the same date the one that was written last holds, so
	// this one takes the place of whatever was in force at some time until now.
	for _, since := range dates {
		document["effective_from"] = since
		if err := client.call(ctx, "PUT", "/v1/programs/"+program, document, nil); err != nil {
			return fmt.Errorf("write the programme %s: %w", program, err)
		}
	}
	return nil
}

// writtenBefore returns the campaigns of earlier runs, and the dates from which
// the programme's versions hold, with demoSince among them as the last.
func writtenBefore(ctx context.Context, client *apiClient, program string) (campaigns []map[string]any, dates []string, err error) {
	var history struct {
		Versions []struct {
			EffectiveFrom time.Time `json:"effective_from"`
			Program       struct {
				Campaigns []map[string]any `json:"campaigns"`
			} `json:"program"`
		} `json:"versions"`
	}
	err = client.call(ctx, "GET", "/v1/programs/"+program+"/versions?limit=1000", nil, &history)
	if failure := (*problem)(nil); errors.As(err, &failure) && failure.Status == http.StatusNotFound {
		err = nil
	}
	if err != nil {
		return nil, nil, fmt.Errorf("read the versions of the programme %s: %w", program, err)
	}
	for i, v := range history.Versions {
		if date := v.EffectiveFrom.UTC().Format(time.RFC3339Nano); date != demoSince && v.EffectiveFrom.Year() > 2001 && !slices.Contains(dates, date) {
			dates = append(dates, date)
		}
		if i < len(history.Versions)-1 {
			continue
		}
		for _, c := range v.Program.Campaigns {
			if name, _ := c["name"].(string); strings.HasPrefix(name, "demo-") {
				campaigns = append(campaigns, c)
			}
		}
	}
	return campaigns[max(0, len(campaigns)-demoCampaignsMax):], append(dates, demoSince), nil
}

// movePromotions moves the dates in the multipliers of rules back by as many
// years as it takes for them to end before a time.
func movePromotions(rules any, before time.Time) {
	list, _ := rules.([]any)
	for _, rule := range list {
		multipliers, _ := rule.(map[string]any)["multipliers"].([]any)
		for _, m := range multipliers {
			when, _ := m.(map[string]any)["when"].(map[string]any)
			to, err := parsePromotionDate(when["to"])
			if err != nil {
				continue
			}
			years := 0
			for to.AddDate(-years, 0, 0).After(before) {
				years++
			}
			when["to"] = to.AddDate(-years, 0, 0).Format(time.RFC3339)
			if from, err := parsePromotionDate(when["from"]); err == nil {
				when["from"] = from.AddDate(-years, 0, 0).Format(time.RFC3339)
			}
		}
	}
}

// parsePromotionDate reads a date as documents may write it.
func parsePromotionDate(value any) (time.Time, error) {
	text, _ := value.(string)
	if at, err := time.Parse(time.DateOnly, text); err == nil {
		return at, nil
	}
	return time.Parse(time.RFC3339, text)
}
