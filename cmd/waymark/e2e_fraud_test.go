package main

import (
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"
)

// fraudWorld is a programme with cheats and with people who only look busy.
type fraudWorld struct {
	*server
	random *rand.Rand
	events []map[string]any
	held   []string // referees that must be held, by the planting
	people int
}

// person is somebody's browser and where it is.
type person struct {
	id, name, email, address, cookie string
}

var fraudNames = []string{
	"Amelie Brandt", "Tariq Osman", "Giulia Ferrante", "Piotr Nowak", "Wilhelmina Oduya", "Chen Xiaoling", "Björk Hákonardóttir", "Luca Uttenweiler",
	"Fatou Camara", "Yusuf Demirci", "Ottilie Zwick", "Ravindra Kulkarni", "Saoirse Mc Gillycuddy", "Ezekiel Thornbury", "Katalin Vörös", "Quentin Delacroix",
}

// somebody is a person nobody else looks like, at an address of their own.
func (w *fraudWorld) somebody() *person {
	w.people++
	n := w.people
	given, family, _ := strings.Cut(fraudNames[n%len(fraudNames)], " ")
	_, other, _ := strings.Cut(fraudNames[(n/len(fraudNames)+n)%len(fraudNames)], " ")
	return &person{
		id: fmt.Sprint("p-", n), name: given + " " + family + "-" + other, email: strings.ToLower(fmt.Sprintf("%s.%s@mail%d.example", other, given, n)),
		address: fmt.Sprintf("203.0.%d.%d", n/250, 1+n%250),
	}
}

// visit follows a link at a time and returns the click id.
func (w *fraudWorld) visit(p *person, code string, at time.Time) string {
	w.t.Helper()
	request, err := http.NewRequest("GET", "http://"+w.public+"/"+code, nil)
	if err != nil {
		w.t.Fatal(err)
	}
	for name, value := range map[string]string{
		"User-Agent": browserAgent, "X-Forwarded-For": p.address, "Cookie": p.cookie, "X-Waymark-Time": at.Format(time.RFC3339Nano), "Authorization": "Bearer " + w.key,
	} {
		request.Header.Set(name, value)
	}
	answer, err := httpClient.Do(request)
	if err != nil {
		w.t.Fatal(err)
	}
	defer answer.Body.Close()
	if _, err := io.Copy(io.Discard, answer.Body); err != nil {
		w.t.Fatal(err)
	}
	if set := answer.Header.Get("Set-Cookie"); set != "" {
		p.cookie, _, _ = strings.Cut(set, ";")
	}
	location, err := url.Parse(answer.Header.Get("Location"))
	if err != nil || answer.StatusCode != http.StatusFound {
		w.t.Fatalf("follow %s: %d %v", code, answer.StatusCode, err)
	}
	return location.Query().Get("wm_click")
}

// join is a click on a referrer's link, a signup and a purchase.
func (w *fraudWorld) join(p *person, referrer string, at time.Time, signup, purchase time.Duration) {
	click := w.visit(p, "by-"+referrer, at)
	w.events = append(w.events,
		map[string]any{"event": "signup", "click_id": click, "user_id": p.id, "time": at.Add(signup).Format(time.RFC3339Nano), "properties": map[string]string{"name": p.name, "email": p.email}},
		map[string]any{"event": "purchase", "program": "deals", "order_id": "of-" + p.id, "user_id": p.id, "time": at.Add(purchase).Format(time.RFC3339Nano), "value": "100"})
}

// honest joins as people do: whenever it suits them, and not at once.
func (w *fraudWorld) honest(p *person, referrer string, day time.Time) {
	at := day.Add(time.Duration(w.random.IntN(10*3600)) * time.Second)
	signup := time.Duration(60+w.random.IntN(7200)) * time.Second
	w.join(p, referrer, at, signup, signup+time.Duration(3600+w.random.IntN(200_000))*time.Second)
}

func (w *fraudWorld) plant() {
	day := func(n int) time.Time { return time.Date(2026, 3, 1+n, 8, 0, 0, 0, time.UTC) }
	for _, referrer := range []string{"bot", "mirror", "agency", "family", "office"} {
		w.createLink(map[string]any{"code": "by-" + referrer, "url": "https://shop.example/", "program": "deals", "referrer": map[string]string{"id": referrer, "type": "partner"}})
	}
	// A machine makes an account every two minutes and buys at once.
	for i := range 12 {
		p := &person{id: fmt.Sprint("fake-", i), name: fmt.Sprint("Fake Person ", i), email: fmt.Sprintf("fakeperson%d@mail.example", i), address: "198.51.100.7"}
		w.join(p, "bot", day(3).Add(time.Duration(i)*2*time.Minute), 20*time.Second, time.Minute)
		w.held = append(w.held, p.id)
	}
	// Somebody refers an account of his own, from the browser of the first.
	first := w.somebody()
	first.id = "mirror"
	w.honest(first, "agency", day(1))
	second := w.somebody()
	second.cookie = first.cookie
	w.honest(second, "mirror", day(5))
	w.held = append(w.held, second.id)
	// Forty referrals over eight weeks, four of a family, nine in an office.
	for i := range 40 {
		w.honest(w.somebody(), "agency", day(2+i*56/40))
	}
	for _, at := range []struct {
		referrer string
		people   int
		address  string
	}{{"family", 4, "192.0.2.10"}, {"office", 9, "192.0.2.20"}} {
		for range at.people {
			p := w.somebody()
			p.address = at.address
			w.honest(p, at.referrer, day(10))
		}
	}
	w.random.Shuffle(len(w.events), func(i, k int) { w.events[i], w.events[k] = w.events[k], w.events[i] })
	w.report(w.events)
}

// waitAction waits until a question about the referrals has an answer.
func (w *fraudWorld) waitFor(what, sql, want string) {
	w.t.Helper()
	eventually(w.t, what, func() error {
		rows, err := w.sql(sql)
		if err != nil {
			return err
		}
		var got []string
		for _, row := range rows {
			got = append(got, strings.Join(row, " "))
		}
		if all := strings.Join(got, "\n"); all != want {
			return fmt.Errorf("it is\n%s\nwant\n%s", all, want)
		}
		return nil
	})
}

// Planted cheats are found and their rewards wait; those who only refer a lot
// are left alone; and people have the last word.
func TestFraud(t *testing.T) {
	w := &fraudWorld{server: newHome(t).up(t, "--trusted-proxies=127.0.0.1/32"), random: rand.New(rand.NewPCG(6, 6))}
	w.mustCall(http.StatusOK, "PUT", w.admin, "/v1/programs/deals", map[string]any{
		"effective_from": "2026-01-01T00:00:00Z",
		"rewards":        map[string]any{"rules": []map[string]any{{"name": "share", "on": "converted", "each": "every", "percent": "10"}}},
	}, nil)
	w.plant()
	referrals := len(w.held) + 1 + 40 + 4 + 9 // and the one of mirror's own
	slices.Sort(w.held)
	w.waitFor("every referral to be assessed", "SELECT count() FROM waymark.fraud", fmt.Sprint(referrals))
	w.waitFor("the planted cheats to be held, and nobody else", "SELECT referee FROM waymark.fraud WHERE action = 'hold' ORDER BY referee", strings.Join(w.held, "\n"))
	// The first account of that one browser was referred by somebody honest.
	w.waitFor("the account that shares a browser to be reviewed", "SELECT referee, action, signals FROM waymark.fraud WHERE action NOT IN ('approve', 'hold')", "mirror review ['shared_device']")
	w.waitFor("rewards to wait for it", "SELECT state, count(), sum(amount) FROM waymark.rewards GROUP BY state ORDER BY state",
		fmt.Sprintf("eligible %d %d\npending %d %d", referrals-len(w.held), 10*(referrals-len(w.held)), len(w.held), 10*len(w.held)))
	w.checkEvidence()
	w.decide()
	w.interrupt()
}

func (w *fraudWorld) idOf(referee string) string {
	w.t.Helper()
	return w.mustSQL("SELECT id FROM waymark.fraud WHERE referee = '" + referee + "'")[0][0]
}

func (w *fraudWorld) checkEvidence() {
	var found fraudReferral
	w.mustCall(http.StatusOK, "GET", w.admin, "/v1/fraud/"+w.idOf("fake-5"), nil, &found)
	rows := map[string]int{}
	for _, e := range found.Evidence {
		rows[e.Signal]++
		if e.Time.Month() != time.March || e.Time.Day() != 4 {
			w.t.Errorf("evidence of another day: %+v", e)
		}
	}
	want := map[string]int{"velocity": 12, "similarity": 11, "address": 12, "regularity": 12, "speed": 2}
	for signal, n := range want {
		if rows[signal] != n {
			w.t.Errorf("%d rows of evidence of %s, want %d", rows[signal], signal, n)
		}
	}
	if len(rows) != len(want) || found.Score != 1 || found.Risk != "high" || found.Action != "hold" {
		w.t.Errorf("the referral is %+v with evidence %v", found.fraudRow, rows)
	}
	var mirrored fraudReferral
	w.mustCall(http.StatusOK, "GET", w.admin, "/v1/fraud/"+w.idOf(w.held[len(w.held)-1]), nil, &mirrored)
	if !slices.ContainsFunc(mirrored.Evidence, func(e struct {
		Signal, Party, Event, Action, Detail string
		Time                                 time.Time
	}) bool {
		return e.Signal == "self_referral" && e.Party == "mirror"
	}) {
		w.t.Errorf("no action of the referrer's own is among the evidence: %+v", mirrored.Evidence)
	}
}

// decide lets one cheat pass, rejects another, and thinks again.
func (w *fraudWorld) decide() {
	w.t.Helper()
	state := func(referee, want string) {
		w.t.Helper()
		w.waitFor("the reward for "+referee+" to be "+want, "SELECT state FROM waymark.rewards WHERE referee = '"+referee+"'", want)
	}
	for _, step := range []struct{ referee, decision, action, reward string }{
		{"fake-1", "approve", "approve", "eligible"}, {"fake-2", "reject", "reject", "cancelled"},
		{"fake-2", "withdraw", "hold", "pending"}, {"fake-1", "reject", "reject", "cancelled"},
	} {
		var answer struct{ Action string }
		w.mustCall(http.StatusOK, "POST", w.admin, "/v1/fraud/"+w.idOf(step.referee)+"/decision", map[string]string{"decision": step.decision, "reason": "because"}, &answer)
		if answer.Action != step.action {
			w.t.Errorf("%s of %s: action %s, want %s", step.decision, step.referee, answer.Action, step.action)
		}
		state(step.referee, step.reward)
	}
	w.mustCall(http.StatusConflict, "POST", w.admin, "/v1/fraud/"+w.idOf("fake-2")+"/decision", map[string]string{"decision": "withdraw"}, nil)
	w.mustCall(http.StatusUnprocessableEntity, "POST", w.admin, "/v1/fraud/"+w.idOf("fake-2")+"/decision", map[string]string{"decision": "hold"}, nil)
	w.waitFor("the log", "SELECT referee, n, decision, actor, reason FROM waymark.fraud_log WHERE entry = 'decision' ORDER BY referee, n",
		"fake-1 0 approve bootstrap because\nfake-1 1 reject bootstrap because\nfake-2 0 reject bootstrap because\nfake-2 1 withdraw bootstrap because")
}
