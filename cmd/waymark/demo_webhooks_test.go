package main

import (
	"bytes"
	"fmt"
	"net/http"
	"testing"
	"time"

	"waymark/tracker/webhooks"
)

// The receiver takes what the installation signs, by a check of its own, and
// nothing else.
func TestReceiver(t *testing.T) {
	r, err := listenForWebhooks()
	if err != nil {
		t.Fatal(err)
	}
	defer r.server.Close()
	now := time.Now()
	body := func(id string) []byte {
		return fmt.Appendf(nil, `{"id":%q,"event":"referral.accepted","referrer":"t-s","referee":"a","time":"1970-01-01T00:00:01Z"}`, id)
	}
	for _, test := range []struct {
		signature string
		body      []byte
		want      int
	}{
		{webhooks.Sign(r.secret, now, body("1")), body("1"), 204},
		{webhooks.Sign(r.secret, now, body("1")), body("1"), 204},
		{webhooks.Sign(r.secret, now, body("1")), body("2"), 403},
		{webhooks.Sign(r.secret+"x", now, body("2")), body("2"), 403},
		{webhooks.Sign(r.secret, now.Add(-time.Hour), body("2")), body("2"), 403},
		{"", body("2"), 403},
	} {
		request, err := http.NewRequestWithContext(t.Context(), "POST", r.url, bytes.NewReader(test.body))
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set("Waymark-Signature", test.signature)
		answer, err := http.DefaultClient.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		answer.Body.Close()
		if answer.StatusCode != test.want {
			t.Errorf("%s with %s is answered %d, want %d", test.body, test.signature, answer.StatusCode, test.want)
		}
	}
	s := tiny("insurance")
	s.tell("t-s", "agent", "a", "lead", "", "2026-05-01 10:00").accepted = true
	s.deals[0].judged = 1000
	truth, found := ledger{}, ledger{}
	r.look(s, truth, found)
	if found["webhooks, told twice"] != 1 || found["webhooks, with a wrong signature"] != 4 || found["webhooks, with another time"] != 0 {
		t.Errorf("the receiver found %v", found)
	}
	if truth["webhooks, referral.accepted"] != 1 || found["webhooks, referral.accepted"] != 1 {
		t.Errorf("the receiver was told %v, want %v", found, truth)
	}
}
