package tracker

import "waymark/tracker/wire"

// ActionIdentity is what makes an action unique: of all that share one, the
// first counts and the others are repeats, for ever.
type ActionIdentity struct {
	Program string // "" matches any: the sender named none
	Event   string
	Key     string // "o:" + order_id where there is an order, else "i:" + id
}

// IdentityOfAction returns the identity of an action. It reports false for an
// event that has neither order nor id: nothing could be a repeat of it.
func IdentityOfAction(e *wire.Event) (ActionIdentity, bool) {
	switch {
	case e.OrderId != "":
		return ActionIdentity{e.Program, e.Event, "o:" + e.OrderId}, true
	case e.Id != "":
		return ActionIdentity{e.Program, e.Event, "i:" + e.Id}, true
	}
	return ActionIdentity{}, false
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
