package tracker

import (
	"strconv"
	"time"

	"waymark/tracker/wire"
)

// DefaultClickParam is the query parameter that carries the click id to the
// destination, unless the link names another or none.
const DefaultClickParam = "wm_click"

// Party is one side of a referral: a person or company that the customer
// knows by its own id.
type Party struct {
	ID   string `json:"id" doc:"The customer's own id of the party." example:"s-17"`
	Type string `json:"type" doc:"Type of the party within the programme." example:"supplier"`
}

// Link is a code and where it leads, as the API shows it. The zero value is no
// valid link: NewLink has the defaults.
type Link struct {
	Code         string            `json:"code"`
	Domain       string            `json:"domain"`
	URL          string            `json:"url"`
	Program      string            `json:"program"`
	Campaign     string            `json:"campaign"`
	Channel      string            `json:"channel"`
	Referrer     Party             `json:"referrer"`
	RefereeType  string            `json:"referee_type"`
	Tags         []string          `json:"tags"`
	Status       int               `json:"status"`
	Active       bool              `json:"active"`
	StartsAt     *time.Time        `json:"starts_at"`
	ExpiresAt    *time.Time        `json:"expires_at"`
	ExpiredURL   string            `json:"expired_url"`
	ForwardQuery bool              `json:"forward_query"`
	ClickParam   string            `json:"click_param"`
	UTM          map[string]string `json:"utm"`
	NoIndex      bool              `json:"noindex"`

	// Accepted with their default only; see Validate.
	Password   string         `json:"password"`
	Rules      []any          `json:"rules"`
	Variants   []any          `json:"variants"`
	Preview    map[string]any `json:"preview"`
	IOSURL     string         `json:"ios_url"`
	AndroidURL string         `json:"android_url"`

	// Given by Waymark; ignored when a link is written.
	Number    LinkNumber `json:"number"`
	CreatedAt time.Time  `json:"created_at"`
	UpdatedAt time.Time  `json:"updated_at"`
}

// LinkNumber identifies a link for ever: numbers start at 1, are given at
// creation and never reused, also when a code is.
type LinkNumber uint32

// NewLink returns a link with the default of every setting.
func NewLink() Link {
	return Link{
		Program: DefaultProgram, Status: 302, Active: true, ForwardQuery: true,
		ClickParam: DefaultClickParam, NoIndex: true,
		Tags: []string{}, UTM: map[string]string{}, Rules: []any{}, Variants: []any{}, Preview: map[string]any{},
	}
}

// Key is the link's key in waymark.links: domain, a slash, code. A domain
// holds no slash, so the key is unambiguous.
func (l *Link) Key() string { return l.Domain + "/" + l.Code }

// RetiredKey is the key of the record that keeps a deleted link once its code
// belongs to another: Kafka's compaction leaves one record of a key, and the
// number must go on to resolve, since click ids and conversions carry it. It
// holds no slash, so it is no link's Key.
func RetiredKey(n LinkNumber) string { return "#" + strconv.FormatUint(uint64(n), 10) }

// Wire returns the link as it is stored.
func (l *Link) Wire() *wire.Link {
	w := &wire.Link{
		Number: uint32(l.Number), Code: l.Code, Domain: l.Domain, Url: l.URL, Program: l.Program,
		Campaign: l.Campaign, Channel: l.Channel, ReferrerId: l.Referrer.ID, ReferrerType: l.Referrer.Type,
		RefereeType: l.RefereeType, Tags: l.Tags, Status: uint32(l.Status), Inactive: !l.Active,
		StartsAtMs: unixMilli(l.StartsAt), ExpiresAtMs: unixMilli(l.ExpiresAt), ExpiredUrl: l.ExpiredURL,
		DropQuery: !l.ForwardQuery, Index: !l.NoIndex,
		UtmSource: l.UTM["source"], UtmMedium: l.UTM["medium"], UtmCampaign: l.UTM["campaign"],
		UtmTerm: l.UTM["term"], UtmContent: l.UTM["content"],
		CreatedAtMs: uint64(l.CreatedAt.UnixMilli()), UpdatedAtMs: uint64(l.UpdatedAt.UnixMilli()),
	}
	if l.Status == 302 {
		w.Status = 0
	}
	if l.ClickParam != DefaultClickParam {
		w.ClickParam = &l.ClickParam
	}
	return w
}

// LinkFromWire is the inverse of Wire.
func LinkFromWire(w *wire.Link) Link {
	l := NewLink()
	l.Number, l.Code, l.Domain, l.URL, l.Program = LinkNumber(w.Number), w.Code, w.Domain, w.Url, w.Program
	l.Campaign, l.Channel, l.RefereeType = w.Campaign, w.Channel, w.RefereeType
	l.Referrer = Party{ID: w.ReferrerId, Type: w.ReferrerType}
	l.Tags = append(l.Tags, w.Tags...)
	if w.Status != 0 {
		l.Status = int(w.Status)
	}
	l.Active, l.ForwardQuery, l.NoIndex = !w.Inactive, !w.DropQuery, !w.Index
	l.StartsAt, l.ExpiresAt, l.ExpiredURL = timeOf(w.StartsAtMs), timeOf(w.ExpiresAtMs), w.ExpiredUrl
	if w.ClickParam != nil {
		l.ClickParam = *w.ClickParam
	}
	for name, value := range map[string]string{
		"source": w.UtmSource, "medium": w.UtmMedium, "campaign": w.UtmCampaign, "term": w.UtmTerm, "content": w.UtmContent,
	} {
		if value != "" {
			l.UTM[name] = value
		}
	}
	l.CreatedAt = time.UnixMilli(int64(w.CreatedAtMs)).UTC()
	l.UpdatedAt = time.UnixMilli(int64(w.UpdatedAtMs)).UTC()
	return l
}

// unixMilli is the stored form of an optional time, 0 for none.
func unixMilli(t *time.Time) uint64 {
	if t == nil {
		return 0
	}
	return uint64(t.UnixMilli())
}

func timeOf(ms uint64) *time.Time {
	if ms == 0 {
		return nil
	}
	t := time.UnixMilli(int64(ms)).UTC()
	return &t
}
