package partners_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/shopspring/decimal"

	"waymark/tracker"
	"waymark/tracker/partners"
	"waymark/tracker/partners/partnerstest"
)

var now = time.Date(2026, 11, 20, 12, 0, 0, 123456789, time.UTC)

func newKeeper(records *partnerstest.Records) *partners.Keeper {
	return &partners.Keeper{Store: records, Sink: records, Now: func() time.Time { return now }, Patience: 50 * time.Millisecond}
}

func agent(id, code string) partners.Partner {
	return partners.Partner{Program: "insurance", ID: id, Code: code, Type: "agent", Name: "Ann", Email: "ann@example.com", Status: partners.Active}
}

func TestKeeper(t *testing.T) {
	k := newKeeper(partnerstest.New())
	created, err := k.Create(t.Context(), agent("a", "Ann-1"), "key")
	if err != nil || created.N != 0 || created.Actor != "key" || !created.Time.Equal(now.Truncate(time.Millisecond)) || !created.Partner.JoinedAt.Equal(created.Time) {
		t.Fatalf("created %+v, %v", created, err)
	}
	for _, test := range []struct {
		partner partners.Partner
		want    error
	}{{agent("a", "other"), partners.ErrExists}, {agent("b", "ANN-1"), partners.ErrCodeTaken}} {
		if _, err := k.Create(t.Context(), test.partner, "key"); !errors.Is(err, test.want) {
			t.Errorf("created %+v: %v, want %v", test.partner, err, test.want)
		}
	}
	rate := decimal.RequireFromString("12.5")
	changed, err := k.Update(t.Context(), "insurance", "a", "key2", func(p *partners.Partner) error {
		p.Status, p.CommissionRate, p.Code = partners.Suspended, &rate, "Ann-2"
		return nil
	})
	if err != nil || changed.N != 1 || changed.Partner.Name != "Ann" {
		t.Fatalf("changed %+v, %v", changed, err)
	}
	same, err := k.Update(t.Context(), "insurance", "a", "key3", func(*partners.Partner) error { return nil })
	if err != nil || same.N != 1 || same.Actor != "key2" {
		t.Errorf("a change of nothing: %+v, %v", same, err)
	}
	// The old code stays the partner's: it is printed on cards.
	if _, err := k.Create(t.Context(), agent("b", "ann-1"), "key"); !errors.Is(err, partners.ErrCodeTaken) {
		t.Errorf("somebody else got the old code: %v", err)
	}
	if _, err := k.Update(t.Context(), "insurance", "nobody", "key", nil); !errors.Is(err, tracker.ErrNotFound) {
		t.Errorf("changed nobody: %v", err)
	}
	mine := errors.New("mine")
	if _, err := k.Update(t.Context(), "insurance", "a", "key", func(*partners.Partner) error { return mine }); err != mine {
		t.Errorf("an error of the change became %v", err)
	}
}

// Of many who create the same partner, or others with the same code, and change
// them, one succeeds at a time.
func TestKeeperRaces(t *testing.T) {
	records := partnerstest.New()
	var group sync.WaitGroup
	var mu sync.Mutex
	created, changed := map[string]int{}, 0
	for i := range 8 {
		group.Go(func() {
			id := fmt.Sprint("p", i%2)
			_, err := newKeeper(records).Create(context.Background(), agent(id, "CODE"), fmt.Sprint("key", i))
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				created[id]++
			} else if !errors.Is(err, partners.ErrExists) && !errors.Is(err, partners.ErrCodeTaken) {
				t.Error(err)
			}
		})
	}
	group.Wait()
	if len(created) != 1 || created["p0"]+created["p1"] != 1 {
		t.Fatalf("created %v", created)
	}
	id := "p0"
	if created[id] == 0 {
		id = "p1"
	}
	for i := range 8 {
		group.Go(func() {
			_, err := newKeeper(records).Update(context.Background(), "insurance", id, fmt.Sprint("key", i), func(p *partners.Partner) error {
				p.Name += "!"
				return nil
			})
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				changed++
			} else if !errors.Is(err, partners.ErrLost) {
				t.Error(err)
			}
		})
	}
	group.Wait()
	changes, _ := records.PartnerChanges(t.Context(), "insurance", id)
	if last := changes[len(changes)-1].Partner.Name; len(changes) != changed+1 || strings.Count(last, "!") != changed || changed == 0 {
		t.Errorf("%d changes made %d entries and the name %q", changed, len(changes), last)
	}
}

// Who comes second to a place is told so.
func TestKeeperLost(t *testing.T) {
	records := partnerstest.New()
	k := newKeeper(records)
	if _, err := k.Create(t.Context(), agent("a", "X"), "key"); err != nil {
		t.Fatal(err)
	}
	rename := func(name string) func(*partners.Partner) error {
		return func(p *partners.Partner) error { p.Name = name; return nil }
	}
	records.Fault = func() error {
		records.Fault = nil
		_, err := newKeeper(records).Update(context.Background(), "insurance", "a", "faster", rename("first"))
		return err
	}
	if _, err := k.Update(t.Context(), "insurance", "a", "slower", rename("second")); !errors.Is(err, partners.ErrLost) {
		t.Errorf("got %v", err)
	}
	changes, _ := records.PartnerChanges(t.Context(), "insurance", "a")
	if last := changes[len(changes)-1]; len(changes) != 2 || last.Partner.Name != "first" {
		t.Errorf("kept %+v", changes)
	}
}

// An interruption between claiming the code and the record leaves nothing that
// asking again does not mend.
func TestKeeperInterrupted(t *testing.T) {
	records := partnerstest.New()
	k := newKeeper(records)
	written := 0
	records.Fault = func() error {
		if written++; written == 2 {
			return tracker.ErrUnavailable
		}
		return nil
	}
	if _, err := k.Create(t.Context(), agent("a", "X"), "key"); !errors.Is(err, tracker.ErrUnavailable) {
		t.Fatalf("interrupted: %v", err)
	}
	if _, err := k.Create(t.Context(), agent("a", "X"), "key"); err != nil {
		t.Errorf("asked again: %v", err)
	}
}

type drain struct{}

func (drain) Append(context.Context, ...[]byte) error { return nil }

func TestKeeperNotIngested(t *testing.T) {
	k := newKeeper(partnerstest.New())
	k.Sink = drain{}
	if _, err := k.Create(t.Context(), agent("a", "X"), "key"); !errors.Is(err, tracker.ErrUnavailable) {
		t.Errorf("got %v", err)
	}
}

func TestValidate(t *testing.T) {
	program := tracker.NewProgram("insurance")
	program.PartyTypes = []string{"agent", "lead"}
	rate := func(text string) *decimal.Decimal { d := decimal.RequireFromString(text); return &d }
	for field, spoil := range map[string]func(*partners.Partner){
		"":                func(p *partners.Partner) { p.CommissionRate = rate("100") },
		"id":              func(p *partners.Partner) { p.ID = "" },
		"code":            func(p *partners.Partner) { p.Code = "" },
		"type":            func(p *partners.Partner) { p.Type = "couple" },
		"name":            func(p *partners.Partner) { p.Name = strings.Repeat("x", 256) },
		"email":           func(p *partners.Partner) { p.Email = "Ann <ann@example.com>" },
		"status":          func(p *partners.Partner) { p.Status = "gone" },
		"commission_rate": func(p *partners.Partner) { p.CommissionRate = rate("100.01") },
	} {
		p := agent("a", "X")
		spoil(&p)
		err := p.Validate(&program)
		fault, _ := errors.AsType[*tracker.FieldError](err)
		if field == "" && err != nil || field != "" && (fault == nil || fault.Field != field) {
			t.Errorf("%s: %v", field, err)
		}
	}
}
