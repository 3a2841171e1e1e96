package pipeline

import (
	"cmp"
	"crypto/sha256"
	"encoding/base64"
	"encoding/csv"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"waymark/tracker"
)

// importField is a field of an imported row: those of an action as POST
// /v1/events takes it, and what a redirect would have seen of a hit.
type importField uint8

const (
	fieldID importField = iota
	fieldEvent
	fieldTime
	fieldProgram
	fieldClickID
	fieldVisitorID
	fieldUserID
	fieldCode
	fieldDomain
	fieldReferrerID
	fieldReferrerType
	fieldRefereeType
	fieldOrderID
	fieldValue
	fieldCurrency
	fieldPlan
	fieldCampaign
	fieldChannel
	fieldCountry
	fieldRegion
	fieldCity
	fieldDevice
	fieldBrowser
	fieldOS
	fieldLanguage
	fieldReferrerHost
	fieldReferer
	fieldUTMSource
	fieldUTMMedium
	fieldUTMCampaign
	fieldUTMTerm
	fieldUTMContent
	fieldUserAgent
	fieldQuery
	fieldAddress
	fieldReasons
	fieldBot
	importFields  // how many there are
	fieldProperty // one of properties, named apart
	fieldNone     // a column that is not taken
)

const fieldNameProperty = "properties."

// importNames are the names of the fields, as the header of a CSV file and the
// members of an NDJSON object have them.
var importNames = [importFields]string{
	fieldID: "id", fieldEvent: "event", fieldTime: "time", fieldProgram: "program", fieldClickID: "click_id",
	fieldVisitorID: "visitor_id", fieldUserID: "user_id", fieldCode: "code", fieldDomain: "domain",
	fieldReferrerID: "referrer.id", fieldReferrerType: "referrer.type", fieldRefereeType: "referee_type",
	fieldOrderID: "order_id", fieldValue: "value", fieldCurrency: "currency", fieldPlan: "plan",
	fieldCampaign: "campaign", fieldChannel: "channel", fieldCountry: "country", fieldRegion: "region", fieldCity: "city",
	fieldDevice: "device", fieldBrowser: "browser", fieldOS: "os", fieldLanguage: "language",
	fieldReferrerHost: "referrer_host", fieldReferer: "referer",
	fieldUTMSource: "utm_source", fieldUTMMedium: "utm_medium", fieldUTMCampaign: "utm_campaign",
	fieldUTMTerm: "utm_term", fieldUTMContent: "utm_content",
	fieldUserAgent: "user_agent", fieldQuery: "query", fieldAddress: "address", fieldReasons: "reasons", fieldBot: "bot",
}

// importAliases are other names of fields: a CSV header that writes objects
// flat, as `waymark links export` does, and UTM as a link has it.
var importAliases = map[string]importField{
	"referrer": fieldReferrerID, "referrer_id": fieldReferrerID, "referrer_type": fieldReferrerType,
	"utm.source": fieldUTMSource, "utm.medium": fieldUTMMedium, "utm.campaign": fieldUTMCampaign,
	"utm.term": fieldUTMTerm, "utm.content": fieldUTMContent,
}

var importByName = func() map[string]importField {
	byName := maps.Clone(importAliases)
	for field, name := range importNames {
		byName[name] = importField(field)
	}
	return byName
}()

// importRow is a row as it was read: text by field, "" where it was not given.
type importRow struct {
	line       int   // where it begins, from 1
	end        int64 // bytes of the input up to its end
	texts      [importFields]string
	properties map[string]string
	identity   string // once it is known

	// As it was written, for the report of a row that is refused: a line of
	// NDJSON or the cells of CSV. Valid as long as the row is.
	json  []byte
	cells []string
}

// text is the row as it was written or, of CSV, as it was understood.
func (r *importRow) text() string {
	if r.json != nil {
		return strings.ToValidUTF8(string(r.json[:min(len(r.json), importLineMax)]), "\uFFFD")
	}
	if len(r.cells) == 0 {
		return ""
	}
	var line strings.Builder
	w := csv.NewWriter(&line)
	w.Write(r.cells) // to a Builder, which takes everything
	w.Flush()
	return strings.ToValidUTF8(strings.TrimSuffix(line.String(), "\n"), "\uFFFD")
}

// clone is a row that stays valid. Its fields are texts of their own already.
func (r *importRow) clone() *importRow {
	kept := *r
	kept.json, kept.cells = slices.Clone(r.json), slices.Clone(r.cells)
	return &kept
}

// refuse is the report of the row. err may be a *tracker.FieldError.
func (r *importRow) refuse(err error) *RowError {
	refused := &RowError{Line: r.line, Detail: err.Error(), Row: r.text(), end: r.end}
	if field := (*tracker.FieldError)(nil); errors.As(err, &field) {
		refused.Field, refused.Detail = field.Field, field.Detail
	}
	return refused
}

// set gives the row a field. The error is a *FieldError.
func (r *importRow) set(column importColumn, text string) error {
	if text == "" {
		return nil
	}
	switch column.field {
	case fieldNone:
		return nil
	case fieldProperty:
		if _, twice := r.properties[column.property]; twice {
			return &tracker.FieldError{Field: fieldNameProperty + column.property, Detail: "is given twice"}
		}
		if r.properties == nil {
			r.properties = make(map[string]string)
		}
		r.properties[column.property] = text
		return nil
	}
	if r.texts[column.field] != "" {
		return &tracker.FieldError{Field: importNames[column.field], Detail: "is given twice"}
	}
	r.texts[column.field] = text
	return nil
}

// importColumn is what becomes of a column.
type importColumn struct {
	field    importField
	property string // of fieldProperty
}

// ImportMapping says which columns the fields are taken from.
type ImportMapping struct {
	// Columns has the column of each field whose own has another name. ""
	// leaves the field out although a column has its name.
	Columns map[string]string
	// Events translates the values of event; "-" skips the row.
	Events map[string]string
	// Constants are values of fields that a row leaves empty.
	Constants map[string]string
	// IgnoreUnknown passes over columns that are no field.
	IgnoreUnknown bool
}

// importMapper resolves columns by their names.
type importMapper struct {
	ImportMapping
	known     map[string][]importColumn // by column
	mapped    map[importColumn]bool     // fields that Columns speaks of
	constants [importFields]string
	always    map[string]string // properties
}

// newImportMapper checks a mapping. The error names the flag's entry at fault.
func newImportMapper(m ImportMapping) (*importMapper, error) {
	mapper := &importMapper{ImportMapping: m, known: map[string][]importColumn{}, mapped: map[importColumn]bool{}}
	for field, column := range m.Columns {
		target, ok := parseImportField(field)
		if !ok {
			return nil, fmt.Errorf("map field %q: there is none; the fields are %s", field, strings.Join(ImportFieldNames(), ", "))
		}
		mapper.mapped[target] = true
		if column != "" {
			mapper.known[column] = append(mapper.known[column], target)
		}
	}
	for field, text := range m.Constants {
		target, ok := parseImportField(field)
		switch {
		case !ok:
			return nil, fmt.Errorf("set field %q: there is none; the fields are %s", field, strings.Join(ImportFieldNames(), ", "))
		case target.field == fieldProperty:
			if mapper.always == nil {
				mapper.always = map[string]string{}
			}
			mapper.always[target.property] = text
		default:
			mapper.constants[target.field] = text
		}
	}
	return mapper, nil
}

// ImportFieldNames lists the fields of an imported row.
func ImportFieldNames() []string {
	return append(slices.Clone(importNames[:]), fieldNameProperty+"NAME")
}

func parseImportField(name string) (importColumn, bool) {
	if property, ok := strings.CutPrefix(name, fieldNameProperty); ok && property != "" {
		return importColumn{fieldProperty, strings.Clone(property)}, true
	}
	field, ok := importByName[name]
	return importColumn{field: field}, ok
}

// columns are the fields that a column gives. The error is a *FieldError.
func (m *importMapper) columns(name string) ([]importColumn, error) {
	if known, ok := m.known[name]; ok {
		return known, nil
	}
	target, ok := parseImportField(name)
	switch {
	case ok && m.mapped[target]:
		target = importColumn{field: fieldNone} // taken from elsewhere
	case !ok && !m.IgnoreUnknown:
		return nil, &tracker.FieldError{Field: name, Detail: "there is no such field; name the one that it is with --map FIELD=" + name +
			", keep it with --map properties." + name + "=" + name + ", or pass over such columns with --ignore-unknown"}
	case !ok:
		target = importColumn{field: fieldNone}
	}
	columns := []importColumn{target}
	if len(m.known) < importColumnsMax { // names are the file's, so remembering them is bounded
		m.known[strings.Clone(name)] = columns
	}
	return columns, nil
}

// importColumnsMax bounds the names of columns that are remembered.
const importColumnsMax = 1000

// complete fills in the constants and translates the event. It reports false
// for a row that the mapping skips.
func (m *importMapper) complete(r *importRow) bool {
	for field, text := range m.constants {
		if r.texts[field] == "" {
			r.texts[field] = text
		}
	}
	for name, text := range m.always {
		if r.properties == nil {
			r.properties = map[string]string{}
		}
		if r.properties[name] == "" {
			r.properties[name] = text
		}
	}
	if event, ok := m.Events[r.texts[fieldEvent]]; ok {
		r.texts[fieldEvent] = event
	}
	return r.texts[fieldEvent] != "-"
}

// rowDigest is the identity of a row that brings none: 96 bits of SHA-256 over
// its fields, whatever order or format they were written in. time and value
// come in their one canonical form, so that 10.0 and 10.00 are the same row.
func rowDigest(r *importRow, timeMS int64, value string) [12]byte {
	buf := make([]byte, 0, 512)
	member := func(name, text string) {
		if text != "" {
			buf = append(append(append(append(buf, name...), 0), text...), 0)
		}
	}
	for field, text := range r.texts {
		switch importField(field) {
		case fieldTime:
			text = strconv.FormatInt(timeMS, 10)
		case fieldValue:
			text = value
		}
		member(importNames[field], text)
	}
	for _, name := range slices.SortedFunc(maps.Keys(r.properties), cmp.Compare[string]) {
		member(fieldNameProperty+name, r.properties[name])
	}
	sum := sha256.Sum256(buf)
	return [12]byte(sum[:12])
}

// rowID is the id that a digest gives, and its k-th occurrence: rows may well
// be the same twice, where times are whole seconds.
func rowID(digest [12]byte, occurrence uint32) string {
	id := "row:" + base64.RawURLEncoding.EncodeToString(digest[:])
	if occurrence > 1 {
		id += fmt.Sprint("~", occurrence)
	}
	return id
}
