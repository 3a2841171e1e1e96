package tracker

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Bounds of what a link may hold, in bytes unless they count. They keep a
// record far below recordBytesMax.
const (
	linkTextMax   = 255
	linkTagsMax   = 50 // count
	linkTagMax    = 64
	clickParamMax = 64
)

// linkTimeMax is the end of the times that a click id can express.
var linkTimeMax = time.UnixMilli(1<<42 - 1).UTC()

// Validate returns a *FieldError that says what is wrong with a link, which
// has its code and belongs to the programme p; nil stands for a programme that
// does not exist.
func (l *Link) Validate(p *Program) error {
	if p == nil || p.Name != l.Program {
		return fieldErrorf("program", "%q does not exist: create it first with PUT /v1/programs/%s", l.Program, l.Program)
	}
	if err := CheckCode(l.Code); err != nil {
		return err
	}
	if l.Domain != "" {
		if err := checkDomain("domain", l.Domain); err != nil {
			return err
		}
	}
	if err := checkDestination("url", l.URL, p); err != nil {
		return err
	}
	if l.ExpiredURL != "" {
		if err := checkDestination("expired_url", l.ExpiredURL, p); err != nil {
			return err
		}
	}
	if !slices.Contains([]int{301, 302, 307, 308}, l.Status) {
		return fieldErrorf("status", "must be 301, 302, 307 or 308, not %d", l.Status)
	}
	for _, check := range []func() error{l.checkTimes, l.checkClickParam, l.checkTexts, l.checkAbsent} {
		if err := check(); err != nil {
			return err
		}
	}
	return l.checkParties(p)
}

func (l *Link) checkTimes() error {
	for _, t := range []struct {
		field string
		time  *time.Time
	}{{"starts_at", l.StartsAt}, {"expires_at", l.ExpiresAt}} {
		if t.time != nil && (t.time.UnixMilli() <= 0 || t.time.After(linkTimeMax)) {
			return fieldErrorf(t.field, "must lie between 1970 and %d", linkTimeMax.Year())
		}
	}
	if l.StartsAt != nil && l.ExpiresAt != nil && !l.ExpiresAt.After(*l.StartsAt) {
		return fieldErrorf("expires_at", "must be after starts_at")
	}
	return nil
}

// checkClickParam keeps the click id from being lost among the parameters that
// the destination has, or from taking the place of one.
func (l *Link) checkClickParam() error {
	name := l.ClickParam
	switch {
	case name == "":
		return nil
	case len(name) > clickParamMax || strings.ContainsFunc(name, func(r rune) bool { return !isASCIILetterOrDigit(r) && !strings.ContainsRune("_-.", r) }):
		return fieldErrorf("click_param", "must have at most %d letters, digits and _ - . only; \"\" for no click id", clickParamMax)
	case name == "qr" || strings.HasPrefix(name, "utm_"):
		return fieldErrorf("click_param", "must not be %s, which has a meaning of its own", name)
	case destinationHas(l.URL, name):
		return fieldErrorf("click_param", "the url has a parameter %s already: remove it there or choose another name", name)
	}
	return nil
}

func (l *Link) checkTexts() error {
	for _, text := range []struct{ field, value string }{
		{"campaign", l.Campaign}, {"channel", l.Channel}, {"referee_type", l.RefereeType},
		{"referrer.id", l.Referrer.ID}, {"referrer.type", l.Referrer.Type},
	} {
		if err := checkText(text.field, text.value, linkTextMax); err != nil {
			return err
		}
	}
	for name, value := range l.UTM {
		if !slices.Contains(utmNames, name) {
			return fieldErrorf("utm."+name, "unknown field; there are %s", strings.Join(utmNames, ", "))
		}
		if err := checkText("utm."+name, value, linkTextMax); err != nil {
			return err
		}
	}
	return checkList("tags", l.Tags, linkTagsMax, linkTagMax)
}

// checkList checks short names, of which none is empty or there twice.
func checkList(field string, values []string, countMax, bytesMax int) error {
	if len(values) > countMax {
		return fieldErrorf(field, "has %d entries, at most %d are allowed", len(values), countMax)
	}
	for i, value := range values {
		at := fmt.Sprintf("%s[%d]", field, i)
		if err := checkText(at, value, bytesMax); err != nil {
			return err
		}
		if strings.TrimSpace(value) == "" {
			return fieldErrorf(at, "must not be empty")
		}
		if slices.Contains(values[:i], value) {
			return fieldErrorf(at, "%q is given twice", value)
		}
	}
	return nil
}

// checkAbsent refuses the members that this version knows by name only. To
// accept and ignore them would send visitors to the wrong place.
func (l *Link) checkAbsent() error {
	for _, member := range []struct {
		field string
		given bool
	}{
		{"rules", len(l.Rules) > 0}, {"variants", len(l.Variants) > 0}, {"preview", len(l.Preview) > 0},
		{"password", l.Password != ""}, {"ios_url", l.IOSURL != ""}, {"android_url", l.AndroidURL != ""},
	} {
		if member.given {
			return fieldErrorf(member.field, "is not supported by this version: leave it out")
		}
	}
	return nil
}

func (l *Link) checkParties(p *Program) error {
	for _, party := range []struct{ field, kind string }{{"referrer.type", l.Referrer.Type}, {"referee_type", l.RefereeType}} {
		if party.kind != "" && len(p.PartyTypes) > 0 && !slices.Contains(p.PartyTypes, party.kind) {
			return fieldErrorf(party.field, "%q is none of the programme's party types: %s", party.kind, strings.Join(p.PartyTypes, ", "))
		}
	}
	if !p.Allows(l.Referrer.Type, l.RefereeType) {
		return fieldErrorf("referee_type", "the programme has no flow from %q to %q", l.Referrer.Type, l.RefereeType)
	}
	return nil
}

// isASCIILetterOrDigit reports whether a name may contain r anywhere.
func isASCIILetterOrDigit(r rune) bool {
	return 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9'
}
