package main

import (
	"fmt"
	"slices"
)

// spread is what several rounds gave.
type spread struct{ median, least, most float64 }

func spreadOf(values []float64) spread {
	sorted := slices.Sorted(slices.Values(values))
	if len(sorted) == 0 {
		return spread{}
	}
	return spread{median(sorted), sorted[0], sorted[len(sorted)-1]}
}

// median of a sorted slice that is not empty.
func median(sorted []float64) float64 {
	middle := len(sorted) / 2
	if len(sorted)%2 == 1 {
		return sorted[middle]
	}
	return (sorted[middle-1] + sorted[middle]) / 2
}

// String is the median and, in parentheses, the least and the most.
func (s spread) String() string {
	return fmt.Sprintf("%s (%s–%s)", figure(s.median), figure(s.least), figure(s.most))
}

// figure has three significant digits, and more only before the point.
func figure(f float64) string {
	switch {
	case f >= 100:
		return fmt.Sprintf("%.0f", f)
	case f >= 10:
		return fmt.Sprintf("%.1f", f)
	case f >= 1:
		return fmt.Sprintf("%.2f", f)
	}
	return fmt.Sprintf("%.3f", f)
}

// quotients divides two series, round by round: what slows the machine down for
// a while slows both sides of a quotient down.
func quotients(values, base []float64) []float64 {
	all := make([]float64, len(values))
	for i := range values {
		all[i] = values[i] / base[i]
	}
	return all
}

// ratio is the median of the quotients.
func ratio(values, base []float64) string {
	return fmt.Sprintf("%.2f", spreadOf(quotients(values, base)).median)
}
