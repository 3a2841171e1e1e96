package rewards

import "testing"

// Where referrals are looked at for fraud, one that was not looked at yet
// waits: what is paid by then is gone.
func TestGuarded(t *testing.T) {
	terms := terms(t, `{"rewards":{"rules":[{"name":"r","on":"converted","fixed":"1"}]}}`)
	terms.Verdicts = map[Referral]Verdict{{"s", "passed"}: "", {"s", "held"}: VerdictHold}
	for _, test := range []struct {
		guarded bool
		want    map[string]string
	}{
		{false, map[string]string{"passed": "", "held": "fraud", "unknown": ""}},
		{true, map[string]string{"passed": "", "held": "fraud", "unknown": "fraud"}},
	} {
		terms.Guarded = test.guarded
		for _, r := range Calculate(terms, facts("purchase o:1 2026-03-01 passed by s", "purchase o:2 2026-03-01 held by s", "purchase o:3 2026-03-01 unknown by s")) {
			if want := test.want[r.Referral.Referee]; r.Waiting != want || r.Amount.String() != "1" {
				t.Errorf("guarded %t: %s waits for %q with %s, want %q", test.guarded, r.Referral.Referee, r.Waiting, r.Amount, want)
			}
		}
	}
}
