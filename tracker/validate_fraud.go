package tracker

import (
	"maps"
	"slices"
	"strings"
)

const fraudThresholdMax = 1e9

var (
	fraudSignals = slices.Sorted(maps.Keys(defaultSignals()))
	fraudActions = []string{"approve", "review", "hold", "reject"}
)

// validate keeps the thresholds of risk where a score can be, which is at most 1.
func (f *FraudRules) validate() error {
	for _, name := range slices.Sorted(maps.Keys(f.Signals)) {
		at := "fraud.signals." + name
		if !slices.Contains(fraudSignals, name) {
			return fieldErrorf(at, "unknown signal; there are %s", strings.Join(fraudSignals, ", "))
		}
		s := f.Signals[name]
		if err := checkFraction(at+".weight", s.Weight); err != nil {
			return err
		}
		if !(s.Threshold >= 0 && s.Threshold <= fraudThresholdMax) {
			return fieldErrorf(at+".threshold", "must lie between 0 and %d, not %v", int64(fraudThresholdMax), s.Threshold)
		}
	}
	if err := checkFraction("fraud.medium", f.Medium); err != nil {
		return err
	}
	if err := checkFraction("fraud.high", f.High); err != nil {
		return err
	}
	if f.Medium >= f.High {
		return fieldErrorf("fraud.high", "is %v, and must be above medium, which is %v", f.High, f.Medium)
	}
	for _, action := range []struct{ field, value string }{
		{"low", f.Actions.Low}, {"medium", f.Actions.Medium}, {"high", f.Actions.High},
	} {
		if err := checkOneOf("fraud.actions."+action.field, action.value, fraudActions); err != nil {
			return err
		}
	}
	return nil
}
