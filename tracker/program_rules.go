package tracker

import (
	"time"

	"github.com/shopspring/decimal"
)

// ProgramRules are what a programme pays and whom it trusts. They hold for
// what happened from EffectiveFrom on, until the next version of the programme
// that has a later one. What the edge goes by (window, cookie, codes, flows,
// stages) holds from the moment it is written.
//
// Every amount of money is a decimal in the programme's currency.
type ProgramRules struct {
	// EffectiveFrom is the time of the first fact that the rules hold for. A
	// version that is written without one holds from then on.
	EffectiveFrom time.Time `json:"effective_from,omitzero" doc:"The rules hold for what happens from then on; the moment of writing if it is left out."`
	// Flows are who may refer whom. Empty: anybody anybody.
	Flows []Flow `json:"flows" doc:"Who may refer whom, by types of party; empty for anybody."`
	// AttributionModel is the one of the reports unless they are asked for another.
	AttributionModel string `json:"attribution_model" doc:"Model of the reports unless they are asked for another: first, last, linear, time_decay, position, markov or shapley."`
	// Stages maps the names of events to the stages of the funnel that they
	// reach. What it does not name keeps its usual one (see StageOf).
	Stages    map[string]string `json:"stages" doc:"Stages of the funnel that events reach: invited, signed_up, activated, converted, retained, or empty for none. Others keep their usual one."`
	Referrals ReferralRules     `json:"referrals" doc:"Life cycle of a referral."`
	Rewards   RewardRules       `json:"rewards" doc:"What is earned by what, and when it can be paid."`
	Tiers     []Tier            `json:"tiers" doc:"Tiers by converted referrals, ascending for each type of party."`
	Campaigns []Campaign        `json:"campaigns" doc:"Promotions; a link joins one by its name."`
	Fraud     FraudRules        `json:"fraud" doc:"Signals of fraud, their weights, and what follows from the score."`
	Messages  MessageRules      `json:"messages" doc:"Targets of the e-mail funnel, as fractions of one."`
	Webhooks  []Webhook         `json:"webhooks" doc:"Who is told of changes of referrals and rewards."`
}

// Flow is a direction of referral, by types of party.
type Flow struct {
	Referrer string `json:"referrer"`
	Referee  string `json:"referee"`
}

// ReferralRules are the life cycle of a referral: pending, then accepted or
// rejected, converted, paid, or expired.
type ReferralRules struct {
	// Acceptance is "automatic", or "manual" where a referral earns only once
	// an event `accept` has arrived for its referee. An event `reject` takes
	// back what it earned, in both.
	Acceptance string `json:"acceptance"`
	// ExpiresAfterDays without a conversion a referral is expired, and
	// conversions earn nothing any more. 0: never.
	ExpiresAfterDays int `json:"expires_after_days"`
	// Sources are the values that the property `source` of an action may have. Empty: any.
	Sources []string `json:"sources"`
}

// RewardRules say what is earned by what, and when it can be paid.
type RewardRules struct {
	// Decimals of an amount; what lies beyond is rounded half to even at the end
	// of a calculation, once.
	Decimals int `json:"decimals"`
	// HoldDays after the fact a reward stays pending, so that refunds come first.
	HoldDays int `json:"hold_days"`
	// Approval is "automatic", or "manual" where somebody must approve what was calculated.
	Approval string `json:"approval"`
	// ExpiresAfterDays that a reward was eligible and not claimed it is expired. 0: never.
	ExpiresAfterDays int `json:"expires_after_days"`
	// Unverified lets what the visitor's own browser reported earn, too.
	Unverified bool         `json:"unverified"`
	Rules      []RewardRule `json:"rules"`
	Milestones []Milestone  `json:"milestones"`
}

// RewardRule gives an amount for a fact to a party of its referral. Every rule
// that fits a fact gives a reward of its own.
type RewardRule struct {
	Name string `json:"name"` // unique in the programme
	// On is a stage (signed_up, activated, converted, retained) or the name of an event.
	On string `json:"on"`
	// Each is "first", the referee's first such fact, or "every" one.
	Each string `json:"each"`
	// To is who earns: "referrer", "referee", or "upline", the referrer's own
	// referrer and so on, Level steps above the referrer.
	To    string    `json:"to"`
	Level int       `json:"level"` // of upline, from 1
	When  Condition `json:"when"`

	// Exactly one of Fixed, PerPlan and Percent says how much.
	Fixed   *decimal.Decimal           `json:"fixed"`
	PerPlan map[string]decimal.Decimal `json:"per_plan"`
	Percent *decimal.Decimal           `json:"percent"` // of the fact's value, refunds taken off; 5 is five per cent
	// PartnerRate takes the percentage of the partner's own record instead, and Percent where there is none.
	PartnerRate bool `json:"partner_rate"`

	Multipliers []Multiplier     `json:"multipliers"` // of those that fit all apply, in order
	Cap         *decimal.Decimal `json:"cap"`         // of one reward, after the multipliers
	CapMonthly  *decimal.Decimal `json:"cap_monthly"` // of what a party earns by the rule in a month, UTC
}

// Condition holds for a fact that has all of it; what is empty asks nothing.
type Condition struct {
	ReferrerType []string            `json:"referrer_type"`
	RefereeType  []string            `json:"referee_type"`
	Plan         []string            `json:"plan"`
	Channel      []string            `json:"channel"`
	Campaign     []string            `json:"campaign"`
	Country      []string            `json:"country"`
	Properties   map[string][]string `json:"properties"`
	MinValue     *decimal.Decimal    `json:"min_value"`
	From         *time.Time          `json:"from"` // of the fact's time
	To           *time.Time          `json:"to"`   // excluded
}

// Multiplier multiplies an amount. FirstReferrals restricts it to the first so
// many referrals that the beneficiary earned by, by the rule, in order of time.
type Multiplier struct {
	Name           string          `json:"name"`
	Times          decimal.Decimal `json:"times"`
	When           Condition       `json:"when"`
	FirstReferrals int             `json:"first_referrals"`
}

// Milestone is a bonus, once, for the party whose so many referrals have
// reached a stage.
type Milestone struct {
	Name      string          `json:"name"`
	PartyType string          `json:"party_type"` // "": any
	Stage     string          `json:"stage"`      // converted by default
	Count     int             `json:"count"`
	Amount    decimal.Decimal `json:"amount"` // may be 0, for a badge alone
	Badge     string          `json:"badge"`
}

// Tier is reached with so many converted referrals, and kept.
type Tier struct {
	Name        string          `json:"name"`
	PartyType   string          `json:"party_type"` // "": any
	Conversions int             `json:"conversions"`
	Badge       string          `json:"badge"`
	Multiplier  decimal.Decimal `json:"multiplier"` // of rewards earned from then on; 1 by default
}

// Campaign is a promotion. What is earned by links of it, in its time, by its
// audience, is multiplied; what exceeds its budget is cut off.
type Campaign struct {
	Name       string           `json:"name"` // as links name it
	StartsAt   time.Time        `json:"starts_at"`
	EndsAt     *time.Time       `json:"ends_at"`    // excluded; null: open
	Audience   []string         `json:"audience"`   // types of referrer; empty: all
	Multiplier decimal.Decimal  `json:"multiplier"` // 1 by default
	Seasons    []Season         `json:"seasons"`    // multiply besides
	Budget     *decimal.Decimal `json:"budget"`     // cap of all rewards by it
	Spend      decimal.Decimal  `json:"spend"`      // what it cost besides the rewards
	Targets    CampaignTargets  `json:"targets"`
	// Variants are the arms of an A/B test, the first is the control. A link is of the arm that one of its tags names.
	Variants []string `json:"variants"`
}

// Season is a span of days that comes back each year, both included, as MM-DD
// in UTC; it may span the new year.
type Season struct {
	From       string          `json:"from"`
	To         string          `json:"to"`
	Multiplier decimal.Decimal `json:"multiplier"`
}

// CampaignTargets are what a campaign is measured against; 0 is none.
type CampaignTargets struct {
	Clicks      int             `json:"clicks"`
	Signups     int             `json:"signups"`
	Conversions int             `json:"conversions"`
	Value       decimal.Decimal `json:"value"`
}

// FraudRules weigh the signals of a referral. Its score is the sum of the
// weights of those that are triggered, its risk is high above High and medium
// above Medium, and the action follows from the risk.
type FraudRules struct {
	Signals map[string]FraudSignal `json:"signals"`
	Medium  float64                `json:"medium"`
	High    float64                `json:"high"`
	// Actions by risk: approve, review, hold or reject.
	Actions FraudActions `json:"actions"`
}

// FraudSignal has a weight, 0 to switch it off, and the threshold that
// triggers it; each signal says in which unit and in which direction.
type FraudSignal struct {
	Weight    float64 `json:"weight"`
	Threshold float64 `json:"threshold"`
}

type FraudActions struct {
	Low    string `json:"low"`
	Medium string `json:"medium"`
	High   string `json:"high"`
}

// MessageRules are the targets of the e-mail funnel, as fractions of one.
type MessageRules struct {
	OpenRate       float64 `json:"open_rate"`       // opened of sent
	ClickRate      float64 `json:"click_rate"`      // clicked of opened
	ConversionRate float64 `json:"conversion_rate"` // converted of clicked
	BounceRate     float64 `json:"bounce_rate"`     // bounced of sent, at most
}

// Webhook is told of changes of referrals and rewards: referral.pending,
// .accepted, .rejected, .converted, .paid and .expired, and reward. with the
// state of the reward after each of its entries. What is answered with a status
// of 2xx was told; anything else is tried again.
type Webhook struct {
	URL string `json:"url"`
	// Events are those that it is told of, by name, or referral or reward for all
	// of those. Empty: all.
	Events []string `json:"events"`
	// Secret signs each body: the header Waymark-Signature is t=SECONDS,v1=HEX, an
	// HMAC-SHA256 of the seconds, a full stop and the body.
	Secret string `json:"secret"`
}
