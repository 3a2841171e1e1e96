package rewards

import (
	"time"

	"waymark/tracker"
)

// referee is what is known of a party that may have been referred.
type referee struct {
	created   time.Time // its first fact
	converted time.Time // its first conversion, the zero time for none

	// Who brought it, for the upline: as its sign-up says, else whatever fact
	// says so first.
	referrer, referrerType string
	bySignup               bool

	accepted, rejected time.Time // the later one holds, the zero time for never
}

// meet adds what a fact says. Facts come in their order.
func (r *referee) meet(f *Fact) {
	switch f.Event {
	case EventAccept:
		r.accepted, r.rejected = f.Time, time.Time{}
		return
	case EventReject:
		r.accepted, r.rejected = time.Time{}, f.Time
		return
	case tracker.EventRefund:
		return
	}
	if r.created.IsZero() {
		r.created = f.Time
	}
	if f.Stage == tracker.StageConverted && r.converted.IsZero() {
		r.converted = f.Time
	}
	signup := f.Stage == tracker.StageSignedUp
	if f.Referrer != "" && f.Referrer != f.Party && (r.referrer == "" || signup && !r.bySignup) {
		r.referrer, r.referrerType, r.bySignup = f.Referrer, f.ReferrerType, signup
	}
}

// expired reports whether a referral had expired by the time of a fact: so
// many days had passed without a conversion.
func (r *referee) expired(rules *tracker.ReferralRules, at time.Time) bool {
	if rules.ExpiresAfterDays == 0 {
		return false
	}
	end := r.created.AddDate(0, 0, rules.ExpiresAfterDays)
	return at.After(end) && (r.converted.IsZero() || r.converted.After(end))
}

// above is the party so many levels above the referrer of a fact, with its
// type, "" for none. A ring ends it, as does one who referred himself.
func (c *calculation) above(f *Fact, level int) (party, kind string) {
	seen := map[string]bool{f.Party: true, f.Referrer: true}
	party = f.Referrer
	for range level {
		r := c.referees[party]
		if r == nil || r.referrer == "" || seen[r.referrer] {
			return "", ""
		}
		party, kind = r.referrer, r.referrerType
		seen[party] = true
	}
	return party, kind
}
