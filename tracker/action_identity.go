package tracker

import "waymark/tracker/wire"

// ActionIdentity is what makes an action unique: of all that share one, the
// first counts and the others are repeats, for ever.
type ActionIdentity struct {
	Program string // "" matches any: the sender named none
	Event   string
	Key     string // "o:" + order_id where there is an order, else "i:" + id; "u" before that if unverified
}

// IdentityOfAction returns the identity of an action. It reports false for an
// event that has neither order nor id: nothing could be a repeat of it.
//
// Unverified actions have identities of their own: anybody can send one with
// any order, and it would silence the customer's own report of that order if
// the two were repeats of each other.
func IdentityOfAction(e *wire.Event) (ActionIdentity, bool) {
	key := ""
	switch {
	case e.OrderId != "":
		key = "o:" + e.OrderId
	case e.Id != "":
		key = "i:" + e.Id
	default:
		return ActionIdentity{}, false
	}
	if Reasons(e.Reasons)&Unverified != 0 {
		key = "u" + key
	}
	return ActionIdentity{e.Program, e.Event, key}, true
}

// RecordKey is the key of the action's record in waymark.actions, by which it
// is partitioned. The programme is left out, since a repeat may lack it and
// must meet the first in the same partition.
func (a ActionIdentity) RecordKey() string { return a.Event + "\x00" + a.Key }

// Matches reports whether two actions are one. It is not transitive: an action
// without a programme matches those of two programmes that do not match each
// other. Repeats are therefore judged against the actions that were kept.
func (a ActionIdentity) Matches(b ActionIdentity) bool {
	return a.Event == b.Event && a.Key == b.Key &&
		(a.Program == b.Program || a.Program == "" || b.Program == "")
}
