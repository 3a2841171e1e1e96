package tracker

import "time"

// DefaultProgram is the programme that every installation has.
const DefaultProgram = "general"

// Program is a referral programme: the settings that its links share. It is
// the value, as JSON, of a record of waymark.programs, whose key is its name.
type Program struct {
	Name string `json:"name" doc:"Name of the programme, as links and events refer to it." example:"wedding"`
	// PartyTypes are the types a referrer or referee may have. Empty: any.
	PartyTypes []string `json:"party_types" doc:"Types that a referrer or referee may have; empty for any."`
	// Currency is the ISO 4217 code of every value of the programme.
	Currency string `json:"currency" doc:"ISO 4217 code of every value in the programme." example:"EUR"`
	// AttributionWindowDays is how long before a conversion a click may lie.
	AttributionWindowDays int `json:"attribution_window_days" doc:"A click may lie this many days before the conversion that it is credited with."`
	// CookieLifetimeDays is the Max-Age of the attribution cookie.
	CookieLifetimeDays int `json:"cookie_lifetime_days" doc:"Lifetime of the attribution cookie in days."`
	// UniqueWindowHours: a visitor's clicks on one link within this time of
	// the last one that was counted as unique are repeats.
	UniqueWindowHours int `json:"unique_window_hours" doc:"A visitor is counted once per link within this many hours."`
	// CodePrefix starts generated codes: LOVE gives LOVE-7G2K9Q.
	CodePrefix string `json:"code_prefix" doc:"Prefix of generated codes." example:"LOVE"`
	// CaseInsensitive makes the programme's codes match in any case.
	CaseInsensitive bool `json:"case_insensitive" doc:"Codes of this programme match in upper and lower case."`
	// TrustPixel takes what the pixel reports for as good as what the
	// customer's server reports: it is not marked unverified.
	TrustPixel bool `json:"trust_pixel" doc:"What the pixel reports counts as if the server had reported it. Visitors control the pixel, so they can then earn by it."`
	// AppSchemes are the URL schemes allowed besides https and http.
	AppSchemes []string `json:"app_schemes" doc:"URL schemes that destinations may have besides https and http." example:"[\"myapp\"]"`

	ProgramRules
}

// NewProgram returns a programme with the defaults of every setting.
func NewProgram(name string) Program {
	return Program{
		Name:                  name,
		PartyTypes:            []string{},
		Currency:              "EUR",
		AttributionWindowDays: 30,
		CookieLifetimeDays:    90,
		UniqueWindowHours:     24,
		AppSchemes:            []string{},
		ProgramRules:          newProgramRules(),
	}
}

// AttributionWindow is how long before a conversion a click may lie.
func (p *Program) AttributionWindow() time.Duration {
	return time.Duration(p.AttributionWindowDays) * 24 * time.Hour
}

// CookieLifetime is the Max-Age of the attribution cookie.
func (p *Program) CookieLifetime() time.Duration {
	return time.Duration(p.CookieLifetimeDays) * 24 * time.Hour
}

// UniqueWindow is the time in which a visitor counts once per link.
func (p *Program) UniqueWindow() time.Duration {
	return time.Duration(p.UniqueWindowHours) * time.Hour
}
