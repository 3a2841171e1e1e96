package clickhouse

import (
	"slices"

	"waymark/tracker"
)

// predictionsFile is the query of what the report predicts.
func predictionsFile(query tracker.ReportQuery, _ dimension) string { return "predictions_" + query.By }

// endPredictions says beside the rows which of model and baseline to believe,
// by programme and measure.
func endPredictions(answer *tracker.Report, query tracker.ReportQuery) {
	column := func(row []any, name string) string { return row[slices.Index(answer.Columns, name)].(string) }
	winners := map[string]map[string]string{}
	for _, row := range answer.Rows {
		program := column(row, "program")
		if winners[program] == nil {
			winners[program] = map[string]string{}
		}
		winners[program][column(row, "measure")] = column(row, "winner")
	}
	answer.Extra["winners"] = winners
}
