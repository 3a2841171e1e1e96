package tracker

import "time"

// AuditQuery asks for a page of the audit log. Empty fields and zero times ask
// for all.
type AuditQuery struct {
	Program, Actor, Action string
	From, To               time.Time // To excluded
	Cursor                 string    // of the page before
	Limit                  int       // rows
}
