package tracker

import (
	"fmt"
	"maps"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/shopspring/decimal"
)

// Bounds of the rules of a programme. Ledger entries must fit into
// Decimal(18, 6), and a document into a record of Kafka.
const (
	ruleListMax       = 100     // entries of a list
	ruleDaysMax       = 3650    // of a period
	ruleCountMax      = 1e9     // of what is counted
	ruleMultiplierMax = 1000    // of what multiplies
	ruleAmountMax     = 1e9     // of money
	rulePercentMax    = 100     // per cent
	ruleTextMax       = 64      // bytes of a name
	uplineMax         = 10      // levels
	multipliersMax    = 20      // of a rule
	programBytesMax   = 1 << 18 // of a document with every default written out
	webhooksMax       = 10
	webhookURLMax     = 2048
	webhookSecretMin  = 16
)

// programTimeMin is the earliest time in a programme, that of an action.
var programTimeMin = actionTimeMin

// What members of the rules may be.
var (
	attributionModels = []string{"first", "last", "linear", "time_decay", "position", "markov", "shapley"}
	outcomeStages     = []string{StageSignedUp, StageActivated, StageConverted, StageRetained}
	assignableStages  = append([]string{StageInvited}, outcomeStages...)
	manualOrNot       = []string{Automatic, Manual}
)

// validate returns a *FieldError with the path of what is wrong. types are the
// programme's types of party.
func (r *ProgramRules) validate(types []string) error {
	if !r.EffectiveFrom.IsZero() {
		if err := checkTime("effective_from", r.EffectiveFrom); err != nil {
			return err
		}
	}
	if err := checkOneOf("attribution_model", r.AttributionModel, attributionModels); err != nil {
		return err
	}
	for _, check := range []func() error{
		func() error { return checkFlows(r.Flows, types) },
		func() error { return checkStages(r.Stages) },
		r.Referrals.validate,
		func() error { return r.Rewards.validate(types) },
		func() error { return checkTiers(r.Tiers, types) },
		func() error { return checkCampaigns(r.Campaigns, types) },
		r.Fraud.validate,
		r.Messages.validate,
		func() error { return checkWebhooks(r.Webhooks) },
	} {
		if err := check(); err != nil {
			return err
		}
	}
	return nil
}

func checkFlows(flows []Flow, types []string) error {
	if err := checkCount("flows", len(flows)); err != nil {
		return err
	}
	for i, f := range flows {
		at := fmt.Sprintf("flows[%d]", i)
		for _, party := range []struct{ field, kind string }{{at + ".referrer", f.Referrer}, {at + ".referee", f.Referee}} {
			if party.kind == "" {
				return fieldErrorf(party.field, "is missing: name a type of party")
			}
			if err := checkPartyType(party.field, party.kind, types); err != nil {
				return err
			}
		}
		if slices.Contains(flows[:i], f) {
			return fieldErrorf(at, "the flow from %s to %s is given twice", f.Referrer, f.Referee)
		}
	}
	return nil
}

// checkStages lets no event become a click: those come from redirects, and are
// counted by other rules.
func checkStages(stages map[string]string) error {
	if err := checkCount("stages", len(stages)); err != nil {
		return err
	}
	for _, event := range slices.Sorted(maps.Keys(stages)) {
		at := "stages." + event
		if err := checkEarningEvent(at, event); err != nil {
			return err
		}
		if stage := stages[event]; stage != "" && !slices.Contains(assignableStages, stage) {
			return fieldErrorf(at, `must be one of %s, or "" for none, not %q`, strings.Join(assignableStages, ", "), stage)
		}
	}
	return nil
}

// checkEarningEvent accepts the names of what customers report.
func checkEarningEvent(at, event string) error {
	switch {
	case event == "" || checkEventName(event) != nil:
		return fieldErrorf(at, "%q is no name of an event: it starts with a lower-case letter and holds at most %d lower-case letters, digits and underscores", event, actionNameMax)
	case event == EventClick || event == EventScan:
		return fieldErrorf(at, "%s comes from redirects, not from actions", event)
	case ReservedEvent(event):
		return fieldErrorf(at, "%s is written by Waymark alone", event)
	}
	return nil
}

func (r *ReferralRules) validate() error {
	if err := checkOneOf("referrals.acceptance", r.Acceptance, manualOrNot); err != nil {
		return err
	}
	if err := checkDays("referrals.expires_after_days", r.ExpiresAfterDays); err != nil {
		return err
	}
	return checkList("referrals.sources", r.Sources, ruleListMax, ruleTextMax)
}

func (m *MessageRules) validate() error {
	for _, rate := range []struct {
		field string
		value float64
	}{{"open_rate", m.OpenRate}, {"click_rate", m.ClickRate}, {"conversion_rate", m.ConversionRate}, {"bounce_rate", m.BounceRate}} {
		if err := checkFraction("messages."+rate.field, rate.value); err != nil {
			return err
		}
	}
	return nil
}

func checkWebhooks(hooks []Webhook) error {
	if len(hooks) > webhooksMax {
		return fieldErrorf("webhooks", "has %d entries, at most %d are allowed", len(hooks), webhooksMax)
	}
	for i, hook := range hooks {
		at := fmt.Sprintf("webhooks[%d]", i)
		if err := checkWebhookURL(at+".url", hook.URL); err != nil {
			return err
		}
		if slices.ContainsFunc(hooks[:i], func(h Webhook) bool { return h.URL == hook.URL }) {
			return fieldErrorf(at+".url", "%q is given twice", hook.URL)
		}
		if err := checkList(at+".events", hook.Events, ruleListMax, ruleTextMax); err != nil {
			return err
		}
		if len(hook.Secret) < webhookSecretMin && hook.Secret != maskedSecret { // see KeepSecrets
			return fieldErrorf(at+".secret", "must have at least %d bytes, so that nobody can guess it", webhookSecretMin)
		}
		if err := checkText(at+".secret", hook.Secret, linkTextMax); err != nil {
			return err
		}
	}
	return nil
}

// checkWebhookURL accepts https, and http on this machine, where nobody
// listens in.
func checkWebhookURL(at, text string) error {
	if err := checkText(at, text, webhookURLMax); err != nil {
		return err
	}
	u, err := url.Parse(text)
	if err != nil || u.Hostname() == "" || u.User != nil || u.Fragment != "" {
		return fieldErrorf(at, "must be an address such as https://shop.example/waymark, without user and fragment")
	}
	ip, _ := netip.ParseAddr(u.Hostname())
	loopback := u.Hostname() == "localhost" || ip.IsLoopback()
	if u.Scheme != "https" && !(u.Scheme == "http" && loopback) {
		return fieldErrorf(at, "must begin with https://; http:// is for this machine only")
	}
	return nil
}

func checkOneOf(at, value string, allowed []string) error {
	if !slices.Contains(allowed, value) {
		return fieldErrorf(at, "must be one of %s, not %q", strings.Join(allowed, ", "), value)
	}
	return nil
}

// checkPartyType accepts "" too, which stands for any.
func checkPartyType(at, kind string, types []string) error {
	if kind != "" && len(types) > 0 && !slices.Contains(types, kind) {
		return fieldErrorf(at, "%q is none of the programme's party_types: %s", kind, strings.Join(types, ", "))
	}
	return checkText(at, kind, ruleTextMax)
}

func checkCount(at string, n int) error {
	if n > ruleListMax {
		return fieldErrorf(at, "has %d entries, at most %d are allowed", n, ruleListMax)
	}
	return nil
}

// checkName is for what people call a thing.
func checkName(at, name string) error {
	if strings.TrimSpace(name) == "" {
		return fieldErrorf(at, "is missing: give it a name")
	}
	return checkText(at, name, ruleTextMax)
}

func checkBetween(at string, value, lowest, highest int) error {
	if value < lowest || value > highest {
		return fieldErrorf(at, "must lie between %d and %d, not %d", lowest, highest, value)
	}
	return nil
}

func checkDays(at string, days int) error { return checkBetween(at, days, 0, ruleDaysMax) }

func checkFraction(at string, value float64) error {
	if !(value >= 0 && value <= 1) {
		return fieldErrorf(at, "must lie between 0 and 1, not %v", value)
	}
	return nil
}

func checkTime(at string, t time.Time) error {
	if t.Before(programTimeMin) || t.After(linkTimeMax) {
		return fieldErrorf(at, "must lie between %d and %d", programTimeMin.Year(), linkTimeMax.Year())
	}
	return nil
}

// checkAmount is for money: 0 to 10^9.
func checkAmount(at string, amount decimal.Decimal) error {
	if amount.IsNegative() || amount.GreaterThan(decimal.NewFromInt(ruleAmountMax)) {
		return fieldErrorf(at, "must lie between 0 and %d, not %s", int64(ruleAmountMax), amount)
	}
	return nil
}

// checkLimit is for a cap or budget; null is for none, and 0 would be a rule
// that gives nothing, which nobody means.
func checkLimit(at string, limit *decimal.Decimal) error {
	if limit == nil {
		return nil
	}
	if limit.IsZero() {
		return fieldErrorf(at, "must be above 0; leave it out for no limit")
	}
	return checkAmount(at, *limit)
}

// checkMultiplier refuses 0: what should not be earned is what a condition says.
func checkMultiplier(at string, times decimal.Decimal) error {
	if !times.IsPositive() || times.GreaterThan(decimal.NewFromInt(ruleMultiplierMax)) {
		return fieldErrorf(at, "must be above 0 and at most %d, not %s", ruleMultiplierMax, times)
	}
	return nil
}
