package tracker

import (
	"encoding/json"
	"slices"
	"strings"
)

// Bounds of what a programme may hold.
const (
	programNameMax        = 64
	programTypesMax       = 50
	programSchemesMax     = 20
	attributionDaysMax    = 3650
	cookieDaysMax         = 400 // browsers shorten what is longer
	uniqueHoursMax        = 24 * 366
	programCodePrefixMax  = 32
	programListEntryBytes = 64
)

// Validate returns a *FieldError that says what is wrong with a programme.
func (p *Program) Validate() error {
	if !programNameOK(p.Name) {
		return fieldErrorf("name", "must begin with a lower-case letter or digit and have at most %d of a–z, 0–9, - and _", programNameMax)
	}
	if err := checkList("party_types", p.PartyTypes, programTypesMax, programListEntryBytes); err != nil {
		return err
	}
	if code, err := parseCurrency(p.Currency); err != nil || code == "" || code != p.Currency {
		return fieldErrorf("currency", "must be an ISO 4217 code of three capital letters, such as EUR")
	}
	for _, number := range []struct {
		field                  string
		value, lowest, highest int
	}{
		{"attribution_window_days", p.AttributionWindowDays, 1, attributionDaysMax},
		{"cookie_lifetime_days", p.CookieLifetimeDays, 1, cookieDaysMax},
		{"unique_window_hours", p.UniqueWindowHours, 0, uniqueHoursMax},
	} {
		if number.value < number.lowest || number.value > number.highest {
			return fieldErrorf(number.field, "must lie between %d and %d, not %d", number.lowest, number.highest, number.value)
		}
	}
	if err := checkCodePrefix(p.CodePrefix); err != nil {
		return err
	}
	if err := checkAppSchemes(p.AppSchemes); err != nil {
		return err
	}
	if err := p.ProgramRules.validate(p.PartyTypes); err != nil {
		return err
	}
	return p.checkSize()
}

// checkSize bounds the record, which every node holds in memory and which must
// pass through Kafka. A member that is left out counts with its default.
func (p *Program) checkSize() error {
	encoded, err := json.Marshal(p)
	if err != nil {
		return fieldErrorf("", "cannot be written as JSON: %v", err)
	}
	if len(encoded) > programBytesMax {
		return fieldErrorf("", "has %d bytes with every default written out, at most %d are allowed", len(encoded), programBytesMax)
	}
	return nil
}

func programNameOK(name string) bool {
	if name == "" || len(name) > programNameMax || name[0] == '-' || name[0] == '_' {
		return false
	}
	return !strings.ContainsFunc(name, func(r rune) bool {
		return !('a' <= r && r <= 'z' || '0' <= r && r <= '9' || r == '-' || r == '_')
	})
}

func checkCodePrefix(prefix string) error {
	if prefix == "" {
		return nil
	}
	if len(prefix) > programCodePrefixMax {
		return fieldErrorf("code_prefix", "has %d bytes, at most %d are allowed", len(prefix), programCodePrefixMax)
	}
	if err := CheckCode(NewCode(prefix)); err != nil {
		return fieldErrorf("code_prefix", "%s", err.(*FieldError).Detail)
	}
	return nil
}

// checkAppSchemes refuses the schemes that run in the page that they are
// opened from, or that read the visitor's machine.
func checkAppSchemes(schemes []string) error {
	if err := checkList("app_schemes", schemes, programSchemesMax, programListEntryBytes); err != nil {
		return err
	}
	for _, scheme := range schemes {
		switch {
		case !schemeOK(scheme):
			return fieldErrorf("app_schemes", "%q must begin with a lower-case letter and have a–z, 0–9, +, - and . only, without ://", scheme)
		case scheme == "http" || scheme == "https":
			return fieldErrorf("app_schemes", "%s is allowed always: leave it out", scheme)
		case slices.Contains(schemesRefused, scheme):
			return fieldErrorf("app_schemes", "%s is not allowed: it opens no app", scheme)
		}
	}
	return nil
}

// schemeOK checks the syntax of RFC 3986, section 3.1, in lower case.
func schemeOK(scheme string) bool {
	if scheme == "" || scheme[0] < 'a' || scheme[0] > 'z' {
		return false
	}
	return !strings.ContainsFunc(scheme, func(r rune) bool {
		return !('a' <= r && r <= 'z' || '0' <= r && r <= '9' || strings.ContainsRune("+-.", r))
	})
}
