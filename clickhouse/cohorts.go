package clickhouse

import (
	"fmt"

	"waymark/tracker"
)

// cohortCellsMax bounds the rows of a triangle, which grow with the square of
// its periods: 600 days of one key have 180,000.
const cohortCellsMax = 200_000

// checkCohorts refuses triangles by the hour.
func checkCohorts(query *tracker.ReportQuery) error {
	if query.Granularity == "hour" {
		return &tracker.FieldError{Field: "granularity", Detail: "must be day, week or month in the report " + query.Name}
	}
	return nil
}

// checkTriangles refuses an answer that was cut.
func checkTriangles(answer *tracker.Report, query tracker.ReportQuery) error {
	if len(answer.Rows) > cohortCellsMax {
		return &tracker.FieldError{Field: "granularity", Detail: fmt.Sprintf(
			"makes over %d rows by the %s; ask for longer steps, a shorter period or fewer keys (limit)", cohortCellsMax, query.Granularity)}
	}
	return nil
}
