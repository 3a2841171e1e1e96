package main

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

// toldEvents are what the receiver of a demo asks for: the states that do not
// depend on the order in which facts arrive.
var toldEvents = []string{"referral.accepted", "referral.rejected", "referral.converted", "referral.paid"}

// hookChange is a change of a referral.
type hookChange struct{ event, referrer, referee string }

// receiver is a customer's system that is told of changes by webhook. It takes
// what is signed, once.
type receiver struct {
	url, secret string
	server      http.Server

	mu     sync.Mutex
	ids    map[string]int
	told   map[hookChange]int64 // Unix milliseconds of when it came to be so, as told last
	forged int
}

// signatureAge is how old a signature may be: what is older may be a copy.
const signatureAge = 5 * time.Minute

// listenForWebhooks starts a receiver on this machine, the only one that a
// webhook without TLS may lead to.
func listenForWebhooks() (*receiver, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("listen for webhooks: %w", err)
	}
	r := &receiver{url: "http://" + listener.Addr().String() + "/waymark", secret: rand.Text(), ids: map[string]int{}, told: map[hookChange]int64{}}
	r.server = http.Server{Handler: r, ReadHeaderTimeout: 10 * time.Second}
	go r.server.Serve(listener) // until Close; what it was not told shows in the comparison
	return r, nil
}

func (r *receiver) ServeHTTP(w http.ResponseWriter, request *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, request.Body, 64<<10))
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	var change struct {
		ID, Event, Referrer, Referee string
		Time                         time.Time
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.signed(request.Header.Get("Waymark-Signature"), body, time.Now()) || json.Unmarshal(body, &change) != nil {
		r.forged++
		http.Error(w, "the signature does not fit", http.StatusForbidden)
		return
	}
	r.ids[change.ID]++
	r.told[hookChange{change.Event, change.Referrer, change.Referee}] = change.Time.UnixMilli()
	w.WriteHeader(http.StatusNoContent)
}

// signed checks a signature t=SECONDS,v1=HEX of the seconds, a full stop and
// the body.
func (r *receiver) signed(signature string, body []byte, now time.Time) bool {
	seconds, code, _ := strings.Cut(strings.TrimPrefix(signature, "t="), ",v1=")
	at, err := strconv.ParseInt(seconds, 10, 64)
	if err != nil || now.Sub(time.Unix(at, 0)).Abs() > signatureAge {
		return false
	}
	mac := hmac.New(sha256.New, []byte(r.secret))
	mac.Write([]byte(seconds + "." + string(body)))
	given, err := hex.DecodeString(code)
	return err == nil && hmac.Equal(given, mac.Sum(nil))
}

// look adds what must have been told of a story, and what was.
func (r *receiver) look(s *story, truth, found ledger) {
	r.mu.Lock()
	defer r.mu.Unlock()
	want := s.changes()
	late, twice := 0, 0
	for _, event := range toldEvents {
		truth["webhooks, "+event], found["webhooks, "+event] = 0, 0
	}
	for change, at := range want {
		truth["webhooks, "+change.event]++
		if is, ok := r.told[change]; ok && at != 0 && is != at {
			late++
		}
	}
	for change := range r.told {
		if strings.HasPrefix(change.referrer, s.run+"-") {
			found["webhooks, "+change.event]++
		}
	}
	for _, n := range r.ids {
		if n > 1 {
			twice++
		}
	}
	for line, n := range map[string]int{"webhooks, told twice": twice, "webhooks, with another time": late, "webhooks, with a wrong signature": r.forged} {
		truth[line], found[line] = 0, float64(n)
	}
}

// changes are what a receiver must be told of a story, with the time since when
// it is so, 0 where that is not planted.
func (s *story) changes() map[hookChange]int64 {
	all := map[hookChange]int64{}
	for _, d := range s.deals {
		change := func(state string, at int64) { all[hookChange{"referral." + state, d.link.referrer, d.user}] = at }
		for _, a := range d.actions {
			if a.event == s.converts {
				change("converted", a.at)
			}
		}
		if d.accepted {
			change("accepted", d.judged)
		}
		if d.rejected {
			at := d.judged
			if d.accepted {
				at = 0 // it was paid for before
			}
			change("rejected", at)
		}
		if s.paidFor[d.user] {
			change("paid", 0)
		}
	}
	return all
}
