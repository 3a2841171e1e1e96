package main

import (
	"context"
	"fmt"
	"math"
	"net/url"
	"slices"
	"strings"
)

// What the views found of a story, read through the API.

// apiRows reads all pages of a list, or a report, which has one.
func apiRows(ctx context.Context, client *apiClient, path string, query url.Values) (rows []map[string]any, err error) {
	if strings.HasPrefix(path, "/v1/reports/") {
		query.Set("limit", reportLimit)
	}
	for row, err := range listAll[map[string]any](ctx, client, path, "rows", query) {
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", path, err)
		}
		rows = append(rows, row)
	}
	return rows, nil
}

func text(row map[string]any, column string) string {
	if row[column] == nil {
		return ""
	}
	return fmt.Sprint(row[column])
}

// wholeCents reads a decimal.
func wholeCents(row map[string]any, column string) int64 {
	return decimalCents(row[column])
}

func decimalCents(value any) int64 { return int64(math.Round(number(value) * 100)) }

// foundRewards are the rewards of a run's parties.
func foundRewards(ctx context.Context, client *apiClient, s *story) (book, error) {
	rows, err := apiRows(ctx, client, "/v1/rewards", url.Values{"program": {s.program}})
	if err != nil {
		return nil, err
	}
	b := book{}
	for _, row := range rows {
		if !strings.HasPrefix(text(row, "party"), s.run+"-") {
			continue
		}
		e := &earning{
			earningKey: earningKey{text(row, "party"), text(row, "rule"), text(row, "fact")}, cents: wholeCents(row, "amount"),
			settled: wholeCents(row, "settled"), state: text(row, "state"), campaign: text(row, "campaign"), cut: text(row, "cap"), id: text(row, "reward"),
		}
		if slices.Contains(s.milestones, e.rule) {
			e.fact = "" // whichever reached it first, as facts arrived
		}
		for name := range strings.SplitSeq(text(row, "multipliers"), " × ") {
			e.multipliers = append(e.multipliers, multiplierName(name))
		}
		b[e.earningKey] = e
	}
	return b, nil
}

// multiplierName is what a story calls a multiplier that the ledger names with
// its factor and, of campaigns, seasons and tiers, with their own names.
func multiplierName(text string) string {
	words := strings.Fields(text)
	if len(words) < 2 {
		return text
	}
	if slices.Contains([]string{"campaign", "season", "tier"}, words[0]) {
		return words[0]
	}
	return strings.Join(words[:len(words)-1], " ")
}

// foundBalances are those of the report rewards, over the campaigns of a run.
func foundBalances(ctx context.Context, client *apiClient, s *story, l ledger) error {
	for _, state := range balanceNames {
		l["balance "+state] = 0
	}
	cents := map[string]int64{}
	rows, err := apiRows(ctx, client, "/v1/reports/rewards", s.period("campaign"))
	for _, row := range rows {
		if key := text(row, "key"); key != s.campaign && !strings.HasPrefix(key, s.campaign+"-") {
			continue
		}
		for _, state := range balanceNames {
			cents[state] += wholeCents(row, state)
			l["balance "+state] = float64(cents[state]) / 100
		}
	}
	return err
}

var balanceNames = []string{"pending", "eligible", "owed", "paid", "expired"}

// period asks a report for all of a story.
func (s *story) period(by string) url.Values {
	query := url.Values{"program": {s.program}, "from": {formatMS(s.start - dayMS)}, "to": {formatMS(s.end + dayMS)}}
	if by != "" {
		query.Set("by", by)
	}
	return query
}

// suspicion is what is said of a referral.
type suspicion struct {
	id, action string
	signals    []string
}

// foundFraud is what was said of the referrals of a run, by referrer and referee.
func foundFraud(ctx context.Context, client *apiClient, s *story) (map[[2]string]suspicion, error) {
	rows, err := apiRows(ctx, client, "/v1/fraud", url.Values{"program": {s.program}})
	found := map[[2]string]suspicion{}
	for _, row := range rows {
		referrer := text(row, "referrer")
		if !strings.HasPrefix(referrer, s.run+"-") {
			continue
		}
		signals, _ := row["signals"].([]any)
		said := suspicion{id: text(row, "id"), action: text(row, "action")}
		for _, signal := range signals {
			said.signals = append(said.signals, fmt.Sprint(signal))
		}
		found[[2]string{referrer, text(row, "referee")}] = said
	}
	return found, err
}

// planted is what should be said of them.
func (s *story) planted() map[[2]string]suspicion {
	said := map[[2]string]suspicion{}
	for _, d := range s.deals {
		said[[2]string{d.link.referrer, d.user}] = suspicion{action: d.verdict(), signals: d.signals}
	}
	return said
}

// tallyFraud adds how many referrals show each signal and have each action,
// and how good that is: precision is how many of those that were found were
// planted, recall how many of those that were planted were found.
func tallyFraud(l ledger, planted, found map[[2]string]suspicion) {
	l["fraud, referrals assessed"] = float64(len(found))
	hits, wrong := map[string]float64{}, map[string]float64{}
	missed := map[string]float64{}
	count := func(referral [2]string, from, in map[[2]string]suspicion, match, other map[string]float64) {
		for _, label := range from[referral].labels() {
			if slices.Contains(in[referral].labels(), label) {
				match[label]++
			} else {
				other[label]++
			}
		}
	}
	for referral := range planted {
		count(referral, planted, found, hits, missed)
	}
	ignored := map[string]float64{}
	for referral := range found {
		count(referral, found, planted, ignored, wrong)
	}
	for _, labels := range []map[string]float64{hits, wrong, missed} {
		for label := range labels {
			l["fraud, "+label] = hits[label] + wrong[label]
			l["fraud, "+label+", precision"] = hits[label] / max(1, hits[label]+wrong[label])
			l["fraud, "+label+", recall"] = hits[label] / max(1, hits[label]+missed[label])
		}
	}
	for referral, said := range found {
		if strings.Contains(referral[0], "-honest-") && said.action != "approve" {
			l["fraud, honest people suspected"]++
		}
	}
	l["fraud, honest people suspected"] += 0
}

// labels are the signals, and the action where it stands in the way.
func (s suspicion) labels() []string {
	labels := s.signals
	if s.action != "" && s.action != "approve" {
		labels = append(slices.Clone(labels), "to "+s.action)
	}
	return labels
}
