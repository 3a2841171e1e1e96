package clickhouse

import "waymark/tracker"

// histogramFile is the query of report time_to_convert with view=histogram.
const histogramFile = "time_to_convert_histogram"

// checkTimeToConvert judges what only the report time_to_convert takes.
func checkTimeToConvert(query *tracker.ReportQuery) error {
	setDefault(&query.View, "quantiles")
	if query.View != "quantiles" && query.View != "histogram" {
		return &tracker.FieldError{Field: "view", Detail: "must be quantiles or histogram"}
	}
	return nil
}

// timeToConvertFile picks the query of report time_to_convert.
func timeToConvertFile(query tracker.ReportQuery, _ dimension) string {
	if query.View == "histogram" {
		return histogramFile
	}
	return query.Name
}
