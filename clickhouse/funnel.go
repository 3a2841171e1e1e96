package clickhouse

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"waymark/tracker"
)

// funnelStages are those of the funnel, in order.
var funnelStages = []string{
	tracker.StageInvited, tracker.StageClicked, tracker.StageSignedUp, tracker.StageActivated, tracker.StageConverted, tracker.StageRetained,
}

// cohortStages are those of a cohort funnel when none are named. Invitations
// are left out: most people come without one.
var cohortStages = strings.Join(funnelStages[1:], ",")

// checkFunnel judges what only the report funnel takes, and fills what was
// left open.
func checkFunnel(query *tracker.ReportQuery) error {
	setDefault(&query.Mode, "activity")
	switch query.Mode {
	case "activity":
		if query.Stages != "" {
			return &tracker.FieldError{Field: "stages", Detail: "is for mode=cohort; the activity funnel has all"}
		}
		return nil
	case "cohort":
		return checkCohortFunnel(query)
	}
	return &tracker.FieldError{Field: "mode", Detail: "must be activity or cohort"}
}

// checkCohortFunnel refuses what a person as a whole has not: the country or
// the time of each click.
func checkCohortFunnel(query *tracker.ReportQuery) error {
	setDefault(&query.Stages, cohortStages)
	stages := strings.Split(query.Stages, ",")
	for i, stage := range stages {
		if !slices.Contains(funnelStages, stage) {
			return &tracker.FieldError{Field: "stages", Detail: fmt.Sprintf("there is no stage %q, but %s", stage, strings.Join(funnelStages, ", "))}
		}
		if i > 0 && slices.Index(funnelStages, stage) <= slices.Index(funnelStages, stages[i-1]) {
			return &tracker.FieldError{Field: "stages", Detail: "must be in the order " + strings.Join(funnelStages, ", ")}
		}
	}
	if query.By != "" && !slices.Contains(linkDimensions, query.By) {
		return &tracker.FieldError{Field: "by", Detail: "a cohort can be broken down by " + strings.Join(linkDimensions, ", ")}
	}
	for name := range query.Filters {
		return &tracker.FieldError{Field: name, Detail: "a cohort cannot be filtered by it; break it down with by"}
	}
	return nil
}

// funnelFile picks the query of report funnel.
func funnelFile(query tracker.ReportQuery, _ dimension) string {
	if query.Mode == "cohort" {
		return "funnel_cohort"
	}
	return query.Name
}

// endFunnel adds worst_step: the stage with the lowest step_rate, of equals
// the first, or null; in a breakdown an object of them by key.
func endFunnel(answer *tracker.Report, query tracker.ReportQuery) {
	key, stage, rate := 0, slices.Index(answer.Columns, "stage"), slices.Index(answer.Columns, "step_rate")
	worst, lowest := map[string]any{}, map[string]float64{}
	for _, row := range answer.Rows {
		k := fmt.Sprint(row[key])
		if at, ok := row[key].(time.Time); ok {
			k = at.UTC().Format(time.RFC3339)
		}
		if _, known := worst[k]; !known {
			worst[k] = nil
		}
		r, ok := row[rate].(float64)
		if low, known := lowest[k]; ok && (!known || r < low) {
			worst[k], lowest[k] = row[stage], r
		}
	}
	answer.Extra["worst_step"] = worst
	if query.By == "" {
		answer.Extra["worst_step"] = worst[""]
	}
	endBreakdown(answer, query)
}
