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

// StageOf is the stage of the funnel that an event reaches, or "" for none.
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
