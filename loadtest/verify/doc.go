// Package verify compares the ledger of a load test with ClickHouse, id by id.
//
// The ledger says what was promised: this click was answered with a redirect, that
// action was accepted. Each must be in `events` exactly once and so must its
// trace be in every materialised view, and nothing else may be there, since the
// run had a programme and ids of its own. What is compared with what:
//
//	events, clicks    by identity (time, node, sequence), which the click id is
//	                  made of; link, event and method must agree too
//	events, actions   by event and order or id; user, value and click must agree
//	conversions       the same, of purchases
//	action_ids        the same, of all actions
//	referrals         by user: when each stage was first reached, orders, values,
//	                  recounted from the ledger alone
//	link_clicks_daily by link and day: hits and gross, recounted from the ledger;
//	                  the other dimensions by their sums, of which the ledger
//	                  cannot know valid and unique: those must agree with events
//
// Requests that were cut off may have been counted or not. An open action is
// recognised by its id. An open click has none: an unknown row on the same link
// with the same event and method, and not older than the request, is taken for it.
//
// Ledgers may have any length. What is compared goes to temporary files, divided
// by a hash of the key (spill.go), and each part is compared in memory; besides
// that, memory grows with the links and days of a run, not with its clicks.
package verify
