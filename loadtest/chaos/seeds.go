package main

// pastRound is a round that failed once, with the faults that it had, so that it
// stays the same whatever kinds there are later.
type pastRound struct {
	seed   uint64
	faults []string
}

// pastRounds are what --past plays before anything else. What the machine makes of
// a round differs, so each may pass by luck, and the cause of each has a test of its
// own besides.
var pastRounds = []pastRound{
	// The embedded broker trimmed what audit was about to read, and audit failed.
	{15514479337085512061, []string{"up-engine-kill", "up-term"}},
	{8060700850916930047, []string{"up-kill"}},
	// An edge that started from its snapshot while Kafka was away answered 404 to
	// links that were younger.
	{13929326199891189756, []string{"edge-kill", "disk-full"}},
	{4803713845518473898, []string{"segment-truncated", "edge-kill"}},
	// The shipper acknowledged an action before the journal knew that it had it, and
	// the program ended.
	{6411418032319982105, []string{"up-kill", "link-garbage", "ring-lost"}},
}
