package tracker

import (
	"slices"

	"github.com/shopspring/decimal"
)

// What acceptance and approval may be.
const (
	Automatic = "automatic"
	Manual    = "manual"
)

// What a reward rule's Each may be.
const (
	EachFirst = "first"
	EachEvery = "every"
)

// Who a reward rule may be for.
const (
	ToReferrer = "referrer"
	ToReferee  = "referee"
	ToUpline   = "upline"
)

// The signals of fraud. Those down to SignalSpeed have weight by default as
// they have in the marketplace of suppliers and couples.
const (
	SignalVelocity      = "velocity"       // referrals of the referrer on one day
	SignalSimilarity    = "similarity"     // of e-mail or name, 0 to 1
	SignalAddress       = "address"        // referrals of the referrer from one address
	SignalRegularity    = "regularity"     // of the times between referrals, 0 to 1
	SignalSpeed         = "speed"          // minutes from click to conversion
	SignalSelfReferral  = "self_referral"  // 1 where referrer and referee are one
	SignalSharedDevice  = "shared_device"  // accounts of one visitor
	SignalSharedNetwork = "shared_network" // accounts in one network
	SignalDatacenter    = "datacenter"     // 1 where the click came from one
	SignalFlooding      = "flooding"       // clicks of the referrer for each signup
	SignalInjection     = "injection"      // seconds from click to conversion
)

// defaultSignals are the signals of a programme that says nothing about them.
// Evidence that has no honest explanation is of high risk by itself; what can
// be an accident of a device, a network or a data centre has to meet another.
func defaultSignals() map[string]FraudSignal {
	return map[string]FraudSignal{
		SignalVelocity:      {Weight: 0.30, Threshold: 10},
		SignalSimilarity:    {Weight: 0.25, Threshold: 0.8},
		SignalAddress:       {Weight: 0.20, Threshold: 5},
		SignalRegularity:    {Weight: 0.15, Threshold: 0.9},
		SignalSpeed:         {Weight: 0.10, Threshold: 5},
		SignalSelfReferral:  {Weight: 1, Threshold: 1},
		SignalSharedDevice:  {Weight: 0.5, Threshold: 2},
		SignalSharedNetwork: {Weight: 0.15, Threshold: 10},
		SignalDatacenter:    {Weight: 0.5, Threshold: 1},
		SignalFlooding:      {Weight: 0.5, Threshold: 200},
		SignalInjection:     {Weight: 0.5, Threshold: 10},
	}
}

// newProgramRules returns rules with the defaults of every setting: nothing is
// earned, and the signals of fraud are watched.
func newProgramRules() ProgramRules {
	return ProgramRules{
		Flows:            []Flow{},
		AttributionModel: "last",
		Stages:           map[string]string{},
		Referrals:        ReferralRules{Acceptance: Automatic, Sources: []string{}},
		Rewards:          RewardRules{Decimals: 2, Approval: Automatic, Rules: []RewardRule{}, Milestones: []Milestone{}},
		Tiers:            []Tier{},
		Campaigns:        []Campaign{},
		Fraud: FraudRules{
			Signals: defaultSignals(),
			Medium:  0.4,
			High:    0.7,
			Actions: FraudActions{Low: "approve", Medium: "review", High: "hold"},
		},
		Webhooks: []Webhook{},
	}
}

// The members of lists have defaults of their own, see decodeMember.

func (r *RewardRule) setDefaults() { r.Each, r.To = EachFirst, ToReferrer }
func (m *Milestone) setDefaults()  { m.Stage = StageConverted }
func (t *Tier) setDefaults()       { t.Multiplier = decimal.NewFromInt(1) }
func (c *Campaign) setDefaults()   { c.Multiplier = decimal.NewFromInt(1) }
func (s *Season) setDefaults()     { s.Multiplier = decimal.NewFromInt(1) }

// Allows reports whether the programme has a flow from a referrer to a referee
// of these types. An empty type is one that is not known yet, and is allowed
// wherever some type would be.
func (p *Program) Allows(referrer, referee string) bool {
	return len(p.Flows) == 0 || slices.ContainsFunc(p.Flows, func(f Flow) bool {
		return (referrer == "" || f.Referrer == referrer) && (referee == "" || f.Referee == referee)
	})
}
