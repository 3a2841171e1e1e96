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
	Referrer string `json:"referrer" doc:"Type of the referrer."`
	Referee  string `json:"referee" doc:"Type of the referee."`
}

// ReferralRules are the life cycle of a referral: pending, then accepted or
// rejected, converted, paid, or expired.
type ReferralRules struct {
	Acceptance       string   `json:"acceptance" doc:"automatic, or manual: a referral earns only once an event accept has arrived for its referee. An event reject takes back what it earned, in both."`
	ExpiresAfterDays int      `json:"expires_after_days" doc:"Days without a conversion after which a referral is expired, and conversions earn nothing any more; 0 for never."`
	Sources          []string `json:"sources" doc:"Values that the property source of an action may have; empty for any."`
}

// RewardRules say what is earned by what, and when it can be paid.
type RewardRules struct {
	Decimals         int          `json:"decimals" doc:"Decimals of an amount; what lies beyond is rounded half to even, once, at the end of a calculation."`
	HoldDays         int          `json:"hold_days" doc:"Days after the fact for which a reward stays pending, so that refunds come first."`
	Approval         string       `json:"approval" doc:"automatic, or manual: somebody must approve what was calculated."`
	ExpiresAfterDays int          `json:"expires_after_days" doc:"Days after which a reward that was eligible and not claimed is expired; 0 for never."`
	Unverified       bool         `json:"unverified" doc:"Lets what the visitor's own browser reported earn, too."`
	Rules            []RewardRule `json:"rules" doc:"What is earned; every rule that fits a fact gives a reward of its own."`
	Milestones       []Milestone  `json:"milestones" doc:"Bonuses for so many referrals."`
}

// RewardRule gives an amount for a fact to a party of its referral. Every rule
// that fits a fact gives a reward of its own.
type RewardRule struct {
	Name  string    `json:"name" doc:"Unique in the programme."`
	On    string    `json:"on" doc:"Stage (signed_up, activated, converted, retained) or name of an event."`
	Each  string    `json:"each" doc:"first, the referee's first such fact, or every one."`
	To    string    `json:"to" doc:"Who earns: referrer, referee, or upline, the referrer's own referrer and so on."`
	Level int       `json:"level" doc:"Steps above the referrer, from 1; of upline."`
	When  Condition `json:"when" doc:"What the fact must have."`

	Fixed       *decimal.Decimal           `json:"fixed" doc:"The amount. Exactly one of fixed, per_plan and percent (or partner_rate) says how much."`
	PerPlan     map[string]decimal.Decimal `json:"per_plan" doc:"Amounts by the fact's plan."`
	Percent     *decimal.Decimal           `json:"percent" doc:"Of the fact's value, refunds taken off; 5 is five per cent."`
	PartnerRate bool                       `json:"partner_rate" doc:"The percentage of the partner's own record, and percent where there is none."`

	Multipliers []Multiplier     `json:"multipliers" doc:"Those that fit all apply, in order."`
	Cap         *decimal.Decimal `json:"cap" doc:"Of one reward, after the multipliers."`
	CapMonthly  *decimal.Decimal `json:"cap_monthly" doc:"Of what a party earns by the rule in a month, UTC."`
}

// Condition holds for a fact that has all of it; what is empty asks nothing.
type Condition struct {
	ReferrerType []string            `json:"referrer_type" doc:"Any of these types of referrer; empty for all, here and below."`
	RefereeType  []string            `json:"referee_type" doc:"Any of these types of referee."`
	Plan         []string            `json:"plan" doc:"Any of these plans."`
	Channel      []string            `json:"channel" doc:"Any of these channels."`
	Campaign     []string            `json:"campaign" doc:"Any of these campaigns."`
	Country      []string            `json:"country" doc:"Any of these countries of the click, ISO 3166."`
	Properties   map[string][]string `json:"properties" doc:"Properties of the event, with the values that each may have."`
	MinValue     *decimal.Decimal    `json:"min_value" doc:"The least value."`
	From         *time.Time          `json:"from" doc:"Of the fact's time."`
	To           *time.Time          `json:"to" doc:"Of the fact's time, excluded."`
}

// Multiplier multiplies an amount. FirstReferrals restricts it to the first so
// many referrals that the beneficiary earned by, by the rule, in order of time.
type Multiplier struct {
	Name           string          `json:"name" doc:"Stands in the ledger."`
	Times          decimal.Decimal `json:"times" doc:"Factor."`
	When           Condition       `json:"when" doc:"What the fact must have."`
	FirstReferrals int             `json:"first_referrals" doc:"Only for the first so many referrals that the beneficiary earned by, by the rule, in order of time; 0 for all."`
}

// Milestone is a bonus, once, for the party whose so many referrals have
// reached a stage.
type Milestone struct {
	Name      string          `json:"name" doc:"Unique in the programme."`
	PartyType string          `json:"party_type" doc:"Type of the referrer; empty for any."`
	Stage     string          `json:"stage" doc:"Stage that the referrals have reached; converted unless it is given."`
	Count     int             `json:"count" doc:"So many referrals."`
	Amount    decimal.Decimal `json:"amount" doc:"What it pays, once; may be 0, for a badge alone."`
	Badge     string          `json:"badge" doc:"Stands on the leaderboard."`
}

// Tier is reached with so many converted referrals, and kept.
type Tier struct {
	Name        string          `json:"name" doc:"Stands on the leaderboard."`
	PartyType   string          `json:"party_type" doc:"Type of the referrer; empty for any."`
	Conversions int             `json:"conversions" doc:"So many converted referrals; it is kept."`
	Badge       string          `json:"badge" doc:"Stands on the leaderboard."`
	Multiplier  decimal.Decimal `json:"multiplier" doc:"Of rewards earned from then on; 1 unless it is given."`
}

// Campaign is a promotion. What is earned by links of it, in its time, by its
// audience, is multiplied; what exceeds its budget is cut off.
type Campaign struct {
	Name       string           `json:"name" doc:"As links name it."`
	StartsAt   time.Time        `json:"starts_at" doc:"Its first moment."`
	EndsAt     *time.Time       `json:"ends_at" doc:"Excluded; null for open."`
	Audience   []string         `json:"audience" doc:"Types of referrer; empty for all."`
	Multiplier decimal.Decimal  `json:"multiplier" doc:"Of rewards by its links, in its time, to its audience; 1 unless it is given."`
	Seasons    []Season         `json:"seasons" doc:"Spans of days that multiply besides."`
	Budget     *decimal.Decimal `json:"budget" doc:"Cap of all rewards by it."`
	Spend      decimal.Decimal  `json:"spend" doc:"What it cost besides the rewards."`
	Targets    CampaignTargets  `json:"targets" doc:"What it is measured against."`
	Variants   []string         `json:"variants" doc:"Arms of an A/B test, the first is the control. A link is of the arm that one of its tags names."`
}

// Season is a span of days that comes back each year, both included, as MM-DD
// in UTC; it may span the new year.
type Season struct {
	From       string          `json:"from" doc:"First day, MM-DD in UTC."`
	To         string          `json:"to" doc:"Last day, MM-DD; before from, it lies in the next year."`
	Multiplier decimal.Decimal `json:"multiplier" doc:"Factor of rewards on these days."`
}

// CampaignTargets are what a campaign is measured against; 0 is none.
type CampaignTargets struct {
	Clicks      int             `json:"clicks" doc:"Valid clicks; 0 for no target, here and below."`
	Signups     int             `json:"signups" doc:"Users who signed up."`
	Conversions int             `json:"conversions" doc:"Users who converted."`
	Value       decimal.Decimal `json:"value" doc:"What they paid."`
}

// FraudRules weigh the signals of a referral. Its score is the sum of the
// weights of those that are triggered, its risk is high above High and medium
// above Medium, and the action follows from the risk.
type FraudRules struct {
	Signals map[string]FraudSignal `json:"signals" doc:"By name; those that are left out keep their usual weight and threshold."`
	Medium  float64                `json:"medium" doc:"A score above it is of medium risk."`
	High    float64                `json:"high" doc:"A score above it is of high risk."`
	Actions FraudActions           `json:"actions" doc:"What follows from the risk."`
}

// FraudSignal has a weight, 0 to switch it off, and the threshold that
// triggers it; each signal says in which unit and in which direction.
type FraudSignal struct {
	Weight    float64 `json:"weight" doc:"Share in the score, 0 to switch it off."`
	Threshold float64 `json:"threshold" doc:"What triggers it; each signal says in which unit and direction."`
}

type FraudActions struct {
	Low    string `json:"low" doc:"approve, review, hold or reject."`
	Medium string `json:"medium" doc:"approve, review, hold or reject."`
	High   string `json:"high" doc:"approve, review, hold or reject."`
}

// MessageRules are the targets of the e-mail funnel, as fractions of one.
type MessageRules struct {
	OpenRate       float64 `json:"open_rate" doc:"Opened of sent."`
	ClickRate      float64 `json:"click_rate" doc:"Clicked of opened."`
	ConversionRate float64 `json:"conversion_rate" doc:"Converted of clicked."`
	BounceRate     float64 `json:"bounce_rate" doc:"Bounced of sent, at most."`
}

// Webhook is told of changes of referrals and rewards: referral.pending,
// .accepted, .rejected, .converted, .paid and .expired, and reward. with the
// state of the reward after each of its entries. What is answered with a status
// of 2xx was told; anything else is tried again.
type Webhook struct {
	URL    string   `json:"url" doc:"Where changes are sent by POST: https, on the machine itself also http."`
	Events []string `json:"events" doc:"Those it is told of: referral.pending, .accepted, .rejected, .converted, .paid, .expired, reward. and a state, or referral or reward for all of those; empty for all."`
	Secret string   `json:"secret" doc:"Signs each body: the header Waymark-Signature is t=SECONDS,v1=HEX, an HMAC-SHA256 of the seconds, a full stop and the body. Never shown."`
}
