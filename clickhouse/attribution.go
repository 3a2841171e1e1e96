package clickhouse

import (
	"fmt"
	"slices"
	"strings"

	"github.com/shopspring/decimal"

	"waymark/tracker"
)

// attributionModels say how a conversion is divided between its touches: the
// rules and shapley in view attribution_between, markov here.
var attributionModels = []string{"first", "last", "linear", "time_decay", "position", "markov", "shapley"}

const (
	defaultModel        = "last"
	defaultHalfLifeDays = 7
	defaultEndShare     = 0.4 // of the first and of the last touch
	directKey           = "(direct)"
)

// checkAttribution judges what only the report attribution takes, and fills
// what was left open.
func checkAttribution(query *tracker.ReportQuery) error {
	setDefault(&query.Model, defaultModel)
	if !slices.Contains(attributionModels, query.Model) {
		return &tracker.FieldError{Field: "model", Detail: "must be " + strings.Join(attributionModels[:len(attributionModels)-1], ", ") + " or shapley"}
	}
	for field, value := range map[string]*float64{"half_life_days": &query.HalfLifeDays, "first_share": &query.FirstShare, "last_share": &query.LastShare} {
		if !(*value >= 0) {
			return &tracker.FieldError{Field: field, Detail: "must be above 0"}
		}
	}
	if query.HalfLifeDays == 0 {
		query.HalfLifeDays = defaultHalfLifeDays
	}
	if query.FirstShare == 0 {
		query.FirstShare = defaultEndShare
	}
	if query.LastShare == 0 {
		query.LastShare = defaultEndShare
	}
	if query.FirstShare+query.LastShare > 1 {
		return &tracker.FieldError{Field: "last_share", Detail: fmt.Sprintf("must leave first_share its %v: the two are at most 1 together", query.FirstShare)}
	}
	return nil
}

// attributionFile picks the query of report attribution.
func attributionFile(query tracker.ReportQuery, _ dimension) string {
	if query.Model == "markov" {
		return "attribution_markov"
	}
	return "attribution"
}

// deriveAttribution solves the Markov chain where that is the model, and
// moves final_until, the same in each row, beside the rows.
func deriveAttribution(answer *tracker.Report, query tracker.ReportQuery) error {
	answer.Extra["model"] = query.Model
	answer.Extra["final_until"] = nil
	if last := len(answer.Columns) - 1; answer.Columns[last] == "final_until" {
		answer.Columns = answer.Columns[:last]
		for i, row := range answer.Rows {
			answer.Extra["final_until"] = row[last]
			answer.Rows[i] = row[:last]
		}
	}
	if query.Model == "markov" {
		return endMarkov(answer, query.Limit)
	}
	return nil
}

// divide cuts an amount into parts in proportion to shares that sum to one.
// The cuts lie at the running sums of the shares, rounded to a millionth, so
// that the parts sum to the amount exactly.
func divide(amount decimal.Decimal, shares []float64) []decimal.Decimal {
	parts := make([]decimal.Decimal, len(shares))
	running, cut := 0.0, decimal.Zero
	for i, share := range shares {
		running += share
		end := amount
		if i < len(shares)-1 {
			end = amount.Mul(decimal.NewFromFloat(running)).Round(6)
		}
		parts[i], cut = end.Sub(cut), end
	}
	return parts
}
