package clickhouse

import (
	"fmt"
	"slices"

	"waymark/tracker"
)

const (
	defaultForecastWeeks = 4
	forecastWeeksMax     = 13 // a quarter: beyond, a line through twelve weeks says nothing
	forecastLearnt       = 12 // weeks behind a forecast, as in the view
	forecastErrorsMin    = 4  // held-out errors at the longest lead
	tooLittleHistory     = "too little history"
)

// forecastMeasures are what can be counted by week.
var forecastMeasures = []string{"clicks", "signups", "conversions"}

// checkForecast judges what only the report forecast takes, and fills what was
// left open.
func checkForecast(query *tracker.ReportQuery) error {
	setDefault(&query.Measure, forecastMeasures[0])
	if !slices.Contains(forecastMeasures, query.Measure) {
		return &tracker.FieldError{Field: "measure", Detail: "must be clicks, signups or conversions"}
	}
	if query.Weeks == 0 {
		query.Weeks = defaultForecastWeeks
	}
	if query.Weeks < 1 || query.Weeks > forecastWeeksMax {
		return &tracker.FieldError{Field: "weeks", Detail: fmt.Sprintf("must be 1 to %d", forecastWeeksMax)}
	}
	return nil
}

// endForecast says beside the rows which of forecast and baseline to believe,
// programme by programme, and for which there is too little history.
func endForecast(answer *tracker.Report, query tracker.ReportQuery) {
	program, winner := slices.Index(answer.Columns, "program"), slices.Index(answer.Columns, "winner")
	winners := map[string]string{}
	for _, row := range answer.Rows {
		winners[row[program].(string)] = row[winner].(string)
	}
	if _, known := winners[query.Program]; query.Program != "" && !known {
		winners[query.Program] = tooLittleHistory
	}
	answer.Extra["measure"] = query.Measure
	answer.Extra["winners"] = winners
	answer.Extra["weeks_needed"] = forecastLearnt + query.Weeks + forecastErrorsMin - 1
}
