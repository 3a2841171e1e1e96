package clickhouse

import "slices"

// dimension is a value of `by`: a column of the view facts, visits or hits. The
// table below is the whitelist from which identifiers reach a query.
type dimension struct {
	name   string // in the API
	column string // in the views
	rollup string // dimension of clicks_hourly, "" where it has none
	visit  bool   // known of hits only; of an action, through its click
}

var dimensions = []dimension{
	{name: "program", column: "program", rollup: "total"},
	{name: "campaign", column: "campaign", rollup: "campaign"},
	{name: "channel", column: "channel", rollup: "channel"},
	{name: "link", column: "link_key"},
	{name: "referrer", column: "referrer"},
	{name: "referrer_type", column: "referrer_type", rollup: "referrer_type"},
	{name: "referee_type", column: "referee_type"},
	{name: "country", column: "country", rollup: "country", visit: true},
	{name: "region", column: "region", visit: true},
	{name: "city", column: "city", visit: true},
	{name: "network", column: "network", visit: true},
	{name: "device", column: "device", rollup: "device", visit: true},
	{name: "browser", column: "browser", rollup: "browser", visit: true},
	{name: "os", column: "os", visit: true},
	{name: "language", column: "language", visit: true},
	{name: "referrer_host", column: "referrer_host", rollup: "referrer_host", visit: true},
	{name: "utm_source", column: "utm_source", visit: true},
	{name: "utm_medium", column: "utm_medium", visit: true},
	{name: "utm_campaign", column: "utm_campaign", visit: true},
	{name: "utm_term", column: "utm_term", visit: true},
	{name: "utm_content", column: "utm_content", visit: true},
}

// everything is the dimension of a report that is not broken down.
var everything = dimension{column: "total", rollup: "total"}

// reason breaks hits down by what is special about them; see clicks_by_reason.
const reason = "reason"

// overTime breaks a report down by steps of time: its keys are the starts of
// hours, days, weeks or months in a zone. It is no column, so nothing can be
// filtered by it.
const overTime = "time"

func findDimension(name string) (dimension, bool) {
	switch name {
	case "":
		return everything, true
	case overTime:
		return dimension{name: overTime, column: overTime, rollup: everything.rollup}, true
	}
	i := slices.IndexFunc(dimensions, func(d dimension) bool { return d.name == name })
	if i < 0 {
		return dimension{}, false
	}
	return dimensions[i], true
}

// dimensionNames lists the dimensions, those of visits on demand.
func dimensionNames(visits bool) []string {
	var names []string
	for _, d := range dimensions {
		if visits || !d.visit {
			names = append(names, d.name)
		}
	}
	return names
}
