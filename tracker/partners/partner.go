package partners

import (
	"fmt"
	"net/mail"
	"slices"
	"strings"
	"time"

	"github.com/shopspring/decimal"

	"waymark/tracker"
)

// Status is that of a partner. Who is suspended or terminated earns nothing for
// what happens from then on; what was earned before stays.
type Status string

const (
	Active     Status = "active"
	Inactive   Status = "inactive" // does not refer at present
	Suspended  Status = "suspended"
	Terminated Status = "terminated"
)

// Statuses are all there are.
var Statuses = []Status{Active, Inactive, Suspended, Terminated}

// Earns reports whether a partner of that status earns commission.
func (s Status) Earns() bool { return s != Suspended && s != Terminated }

// Partner is the record of a partner.
type Partner struct {
	Program string
	ID      string // the party, as links name it as their referrer
	Code    string // unique in the programme, in any case of letters
	Type    string // of the party
	Name    string
	Email   string
	Status  Status
	// CommissionRate is in per cent; nil for that of the reward rule.
	CommissionRate *decimal.Decimal
	JoinedAt       time.Time
}

const (
	textMax         = 255 // bytes
	rateDecimalsMax = 6
)

var rateMax = decimal.NewFromInt(100)

// Validate returns a *tracker.FieldError if the record cannot be one of its
// programme, whose document is given.
func (p *Partner) Validate(program *tracker.Program) error {
	if p.ID == "" {
		return &tracker.FieldError{Field: "id", Detail: "is missing: the id of the party, as links name it as their referrer"}
	}
	for _, text := range []struct{ field, value string }{{"id", p.ID}, {"name", p.Name}, {"email", p.Email}} {
		if err := tracker.CheckText(text.field, text.value, textMax); err != nil {
			return err
		}
	}
	if err := tracker.CheckCode(p.Code); err != nil {
		return err
	}
	if p.Type != "" && len(program.PartyTypes) > 0 && !slices.Contains(program.PartyTypes, p.Type) {
		return &tracker.FieldError{Field: "type", Detail: fmt.Sprintf("%q is no type of party of the programme; it has %s", p.Type, strings.Join(program.PartyTypes, ", "))}
	}
	if err := tracker.CheckText("type", p.Type, textMax); err != nil {
		return err
	}
	if address, err := mail.ParseAddress(p.Email); p.Email != "" && (err != nil || address.Address != p.Email) {
		return &tracker.FieldError{Field: "email", Detail: "must be an address such as ann@example.com"}
	}
	if !slices.Contains(Statuses, p.Status) {
		return &tracker.FieldError{Field: "status", Detail: "must be active, inactive, suspended or terminated"}
	}
	if rate := p.CommissionRate; rate != nil && (rate.IsNegative() || rate.GreaterThan(rateMax) || rate.Exponent() < -rateDecimalsMax) {
		return &tracker.FieldError{Field: "commission_rate", Detail: "must be per cent between 0 and 100, with at most 6 decimals"}
	}
	return nil
}

// rateText is the commission rate as events have it, "" for none.
func (p *Partner) rateText() string {
	if p.CommissionRate == nil {
		return ""
	}
	return p.CommissionRate.String()
}

// ParseRate reads what rateText wrote.
func ParseRate(text string) (*decimal.Decimal, error) {
	if text == "" {
		return nil, nil
	}
	rate, err := decimal.NewFromString(text)
	if err != nil {
		return nil, fmt.Errorf("read the commission rate %q: %w", text, err)
	}
	return &rate, nil
}

// same reports whether two records say the same.
func (p *Partner) same(o *Partner) bool {
	return p.Program == o.Program && p.ID == o.ID && p.Code == o.Code && p.Type == o.Type && p.Name == o.Name && p.Email == o.Email &&
		p.Status == o.Status && p.rateText() == o.rateText() && p.JoinedAt.Equal(o.JoinedAt)
}
