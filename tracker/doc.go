// Package tracker is the edge of Waymark: it resolves codes to links, answers
// with redirects, sets the attribution cookie, and turns every hit and every
// reported action into an event.
//
// It imports no other folder of this module. What it needs from the stages
// behind it, it declares as small interfaces, and cmd/waymark connects them.
package tracker
