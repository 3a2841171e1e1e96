package tracker

// FraudQuery asks for a page of the view fraud. Empty fields ask for all.
type FraudQuery struct {
	Program, Risk, Action string
	Referrer              string
	Cursor                string // of the page before
	Limit                 int    // rows
}
