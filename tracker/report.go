package tracker

import "time"

// ReportQuery is a request for a report with every default filled in.
type ReportQuery struct {
	Name        string
	From, To    time.Time         // To excluded
	Program     string            // "" for all
	Filters     map[string]string // dimension → the one value that counts
	By          string            // dimension of a breakdown, "" for none
	Hits        string            // valid, gross or unique
	Granularity string            // hour, day, week or month; "" where the report has no time axis
	TZ          string            // IANA name
	Limit       int               // rows

	// Of the report attribution; zero for its defaults.
	Model                 string  // first, last, linear, time_decay, position, markov or shapley
	HalfLifeDays          float64 // of time_decay
	FirstShare, LastShare float64 // of position

	// Of the report named; empty or zero for its defaults.
	Mode    string // funnel: activity or cohort
	Stages  string // funnel, mode cohort: those passed in order, with commas
	View    string // time_to_convert: quantiles or histogram
	Measure string // forecast: clicks, signups or conversions
	Weeks   int    // forecast: how many lie ahead
}

// Report is the answer: Columns name the cells of each row. Extra holds what
// the report says beside its rows (worst step, K and status, …).
type Report struct {
	Columns []string
	Rows    [][]any
	Extra   map[string]any
}

// ReportInfo describes a report for GET /v1/reports.
type ReportInfo struct {
	Name    string   `json:"name"`
	Doc     string   `json:"description"`
	By      []string `json:"by"`
	Columns []string `json:"columns"`
}

// ClickHistory is what ClickHouse knows of one click: the hit itself, if it
// has arrived, and the actions that it is credited with.
type ClickHistory struct {
	Hit     *Row
	Actions []Row
}
