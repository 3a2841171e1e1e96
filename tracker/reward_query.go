package tracker

// RewardQuery asks for a page of rewards or of payouts. Empty fields ask for
// all.
type RewardQuery struct {
	Program, Party, State string
	Cursor                string // of the page before
	Limit                 int    // rows
}
