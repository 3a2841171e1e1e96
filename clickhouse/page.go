package clickhouse

import (
	"slices"

	"waymark/tracker"
)

// endPage ends a page of a list that continues after the last value of a
// column: where there may be more, Extra has that value as the cursor of the
// next page, else "". A column named cursor, which is the last then, is there
// for nothing else, and taken out.
func endPage(page *tracker.Report, limit int, column string) {
	page.Extra["cursor"] = ""
	place := slices.Index(page.Columns, column)
	if place < 0 { // over HTTP, an answer without rows has no columns
		return
	}
	if len(page.Rows) == limit {
		page.Extra["cursor"] = page.Rows[limit-1][place]
	}
	if column != "cursor" {
		return
	}
	page.Columns = page.Columns[:place]
	for i := range page.Rows {
		page.Rows[i] = page.Rows[i][:place]
	}
}
