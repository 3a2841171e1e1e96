// Package webhooks tells other systems of what becomes of referrals and
// rewards.
//
// What is to be told follows from the facts, and what was told is an event of
// the audit log: so nothing is lost by a restart, whichever admin takes over. A
// change is told at least once, and more than once if the sender is killed
// between the receiver's answer and the log, or where several admins run: its
// id tells the receiver. The changes of one referral are told in their order.
package webhooks

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"time"

	"waymark/tracker"
	"waymark/tracker/wire"
)

// ActionDelivered is the action under which the audit log has deliveries.
const ActionDelivered = "webhook-delivered"

// Change is what a receiver is told.
type Change struct {
	ID       string    `json:"id"`    // unique in the programme
	Event    string    `json:"event"` // referral.accepted, reward.paid, …
	Program  string    `json:"program"`
	Time     time.Time `json:"time"` // when it came to be so
	Referrer string    `json:"referrer"`
	Referee  string    `json:"referee"`
	Source   string    `json:"source,omitempty"` // of the referral
	Reward   string    `json:"reward,omitempty"` // its id
	Party    string    `json:"party,omitempty"`  // whose reward it is
	Amount   string    `json:"amount,omitempty"` // by which the entry changes the party's account
}

// referral names who brought whom: the changes of one keep their order.
type referral struct{ referrer, referee string }

func (c *Change) referral() referral { return referral{c.Referrer, c.Referee} }

// HookID names a webhook in the log.
func HookID(hook *tracker.Webhook) string {
	sum := sha256.Sum256([]byte(hook.URL))
	return hex.EncodeToString(sum[:8])
}

// delivered is the event that says that a webhook was told of a change.
func delivered(hook *tracker.Webhook, c *Change, at time.Time) *wire.Event {
	return &wire.Event{
		Event: tracker.EventAuditEntry, Program: c.Program, Id: HookID(hook) + "/" + c.ID, TimeMs: uint64(at.UnixMilli()),
		Properties: map[string]string{"actor": "system", "role": "system", "action": ActionDelivered, "subject": hook.URL[:min(len(hook.URL), 1024)], "after": c.ID},
	}
}

// Sign returns the header Waymark-Signature of a body that is sent at a time:
// t=SECONDS,v1=HEX, an HMAC-SHA256 of the seconds, a full stop and the body. A
// receiver refuses old times, so that nobody can send it again what he has seen.
func Sign(secret string, at time.Time, body []byte) string {
	mac := hmac.New(sha256.New, []byte(secret))
	fmt.Fprintf(mac, "%d.", at.Unix())
	mac.Write(body)
	return fmt.Sprintf("t=%d,v1=%s", at.Unix(), hex.EncodeToString(mac.Sum(nil)))
}

// body is the JSON that is sent.
func (c *Change) body() []byte {
	body, err := json.Marshal(c)
	if err != nil {
		panic("BUG: encode a change for a webhook: " + err.Error())
	}
	return body
}
