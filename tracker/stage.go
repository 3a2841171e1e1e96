package tracker

// The events that Waymark itself knows. Any other name is a custom event: it
// is kept and reported, and reaches no stage of the funnel.
const (
	EventClick    = "click"
	EventScan     = "scan"
	EventInvite   = "invite"
	EventSignup   = "signup"
	EventActivate = "activate"
	EventPurchase = "purchase"
	EventRefund   = "refund"
	EventRetain   = "retain"
	EventChurn    = "churn"
)

// Stages of the funnel, in order.
const (
	StageInvited   = "invited"
	StageClicked   = "clicked"
	StageSignedUp  = "signed_up"
	StageActivated = "activated"
	StageConverted = "converted"
	StageRetained  = "retained"
)

// The events that Waymark itself writes into waymark.decisions: entries of the
// reward ledger, of the log of fraud, of the partners' records and of the audit
// log. Each is kept once, like any action, but in a table of its own.
const (
	EventRewardEntry     = "reward_entry"
	EventFraudAssessment = "fraud_assessment"
	EventFraudDecision   = "fraud_decision"
	EventPartnerChange   = "partner_change"
	EventAuditEntry      = "audit_entry"
)

// ReservedEvent reports whether nobody but Waymark may write events of that
// name: whoever could would write himself rewards.
func ReservedEvent(name string) bool {
	switch name {
	case EventRewardEntry, EventFraudAssessment, EventFraudDecision, EventPartnerChange, EventAuditEntry:
		return true
	}
	return false
}

// StageOf is the stage of the funnel that an event reaches in a programme: the
// one that the programme gives it, else its usual one, "" for none. An event
// has the stage that held when it was written.
func (p *Program) StageOf(event string) string {
	if stage, ok := p.Stages[event]; ok {
		return stage
	}
	return StageOf(event)
}

// StageOf is the stage of the funnel that an event usually reaches, or "" for
// none. It is also that of an action whose programme only its user's signup
// tells: that is looked up when a report is read, long after the stage was
// written. Customers whose programmes have stages of their own name the
// programme, or report with a key of it.
func StageOf(event string) string {
	switch event {
	case EventInvite:
		return StageInvited
	case EventClick, EventScan:
		return StageClicked
	case EventSignup:
		return StageSignedUp
	case EventActivate:
		return StageActivated
	case EventPurchase:
		return StageConverted
	case EventRetain:
		return StageRetained
	}
	return ""
}
