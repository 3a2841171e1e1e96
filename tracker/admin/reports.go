package admin

import (
	"bytes"
	"context"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"waymark/tracker"
)

const (
	reportDays     = 30 // a report covers these by default
	reportDeadline = time.Minute
)

type listReportsOutput struct {
	Body struct {
		Reports []tracker.ReportInfo `json:"reports"`
	}
}

type reportInput struct {
	Name        string `path:"name" doc:"Name of the report, see /v1/reports." example:"funnel"`
	From        string `query:"from" doc:"Start of the period, included: RFC 3339, or a date, which begins at midnight of tz. Default: 30 days before to."`
	To          string `query:"to" doc:"End of the period, excluded. Default: the end of today."`
	Program     string `query:"program" doc:"Only this programme. Default: all that the key is good for."`
	By          string `query:"by" doc:"Dimension to break down by, one of those that /v1/reports lists."`
	Hits        string `query:"hits" enum:"valid,gross,unique" default:"valid" doc:"Which clicks count: those of people, everything answered to GET, or one per visitor and link."`
	Granularity string `query:"granularity" enum:"hour,day,week,month" default:"day" doc:"Length of a step, where the report has a time axis."`
	TZ          string `query:"tz" default:"UTC" doc:"IANA time zone of dates and steps." example:"Europe/Vienna"`
	Limit       int    `query:"limit" default:"1000" minimum:"1" maximum:"100000" doc:"Rows at most, the largest first."`

	Campaign     string `query:"campaign" doc:"Only this campaign. This and the following are for reports that have the dimension."`
	Channel      string `query:"channel" doc:"Only this channel."`
	Link         string `query:"link" doc:"Only this link: its code, after the domain and a slash unless that is the default one."`
	Referrer     string `query:"referrer" doc:"Only links of this referrer."`
	ReferrerType string `query:"referrer_type" doc:"Only links of referrers of this type."`
	Country      string `query:"country" doc:"Only visitors from this country, ISO 3166-1 alpha-2."`
	Device       string `query:"device" doc:"Only visitors on this kind of device."`

	Model  string `query:"model" enum:"first,last,linear,time_decay,position,markov,shapley" doc:"How the report attribution divides a conversion between the touches before it. Default: the programme's, and last for all programmes."`
	Mode   string `query:"mode" enum:"activity,cohort" doc:"Of the report funnel: who was active at each stage in the period, or how far those came in order who entered in it. Default: activity."`
	Stages string `query:"stages" doc:"Of the report funnel with mode=cohort: the stages in order, of which the first is the entry. Default: clicked,signed_up,activated,converted,retained." example:"clicked,signed_up,converted"`
	View   string `query:"view" enum:"quantiles,histogram" doc:"Of the report time_to_convert. Default: quantiles."`

	Measure string `query:"measure" enum:"clicks,signups,conversions" doc:"What the report forecast counts. Default: clicks."`
	Weeks   int    `query:"weeks" minimum:"1" maximum:"13" doc:"How many weeks the report forecast looks ahead. Default: 4."`

	Format string `query:"format" enum:"json,csv,ndjson" default:"json" doc:"csv and ndjson have the rows only."`

	HalfLifeDays float64 `query:"half_life_days" exclusiveMinimum:"0" doc:"Of the model time_decay: a touch so many days before another gets half its credit. Default: 7."`
	FirstShare   float64 `query:"first_share" exclusiveMinimum:"0" maximum:"1" doc:"Of the model position: the share of the first touch. Default: 0.4."`
	LastShare    float64 `query:"last_share" exclusiveMinimum:"0" maximum:"1" doc:"Of the model position: the share of the last touch; the rest is for those between. Default: 0.4."`
}

func (s *server) registerReports() {
	route(s, operation("GET", "/v1/reports", "list-reports", "List the reports", reader), "query",
		func(context.Context, *struct{}) (*listReportsOutput, error) {
			out := &listReportsOutput{}
			out.Body.Reports = []tracker.ReportInfo{}
			for _, info := range s.Reporter.Reports() {
				// Never null: a report may have no dimension.
				info.By = append([]string{}, info.By...)
				info.Columns = append([]string{}, info.Columns...)
				out.Body.Reports = append(out.Body.Reports, info)
			}
			return out, nil
		})

	op := operation("GET", "/v1/reports/{name}", "read-report", "Read a report", reader, 404, 503)
	rows := &huma.Schema{
		Type: huma.TypeObject, Required: []string{"rows"}, AdditionalProperties: true,
		Properties: map[string]*huma.Schema{"rows": {
			Type:  huma.TypeArray,
			Items: &huma.Schema{Type: huma.TypeObject, AdditionalProperties: true, Description: "The columns that /v1/reports lists."},
		}},
		Description: "The rows, and beside them what the report says as a whole.",
	}
	text := &huma.Schema{Type: huma.TypeString}
	op.Responses = map[string]*huma.Response{"200": contentResponse("The report", map[string]*huma.Schema{
		"application/json": rows, "text/csv": text, "application/x-ndjson": text,
	})}
	route(s, op, "query", s.report)
}

func (s *server) report(ctx context.Context, in *reportInput) (*bytesOutput, error) {
	query, err := s.reportQuery(caller(ctx), in)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, reportDeadline)
	defer cancel()
	report, err := s.Reporter.Report(ctx, query)
	if err != nil {
		return nil, err
	}
	out := &bytesOutput{Status: http.StatusOK, CacheControl: "no-store"}
	switch in.Format {
	case "csv":
		var b bytes.Buffer
		err = writeCSV(&b, report)
		out.ContentType, out.Body = "text/csv; charset=utf-8; header=present", b.Bytes()
	case "ndjson":
		out.ContentType = "application/x-ndjson"
		out.Body, err = appendLines(nil, report)
	default:
		out.ContentType = "application/json"
		out.Body, err = appendReport(nil, report)
	}
	return out, err
}

// reportQuery checks the parameters of a report and fills in the defaults.
func (s *server) reportQuery(key *tracker.APIKey, in *reportInput) (query tracker.ReportQuery, err error) {
	reports := s.Reporter.Reports()
	at := slices.IndexFunc(reports, func(info tracker.ReportInfo) bool { return info.Name == in.Name })
	if at < 0 {
		names := make([]string, len(reports))
		for i, info := range reports {
			names[i] = info.Name
		}
		return query, fieldProblem(http.StatusNotFound, "path", "name", "there is no report "+strconv.Quote(in.Name)+", but "+strings.Join(names, ", "))
	}
	if by := reports[at].By; in.By != "" && !slices.Contains(by, in.By) {
		if len(by) == 0 {
			return query, queryProblem("by", "the report %s has no breakdown; leave by out", in.Name)
		}
		return query, queryProblem("by", "must be one of %s", strings.Join(by, ", "))
	}
	query = tracker.ReportQuery{Name: in.Name, By: in.By, Hits: in.Hits, Granularity: in.Granularity, TZ: in.TZ, Limit: in.Limit,
		Model: in.Model, HalfLifeDays: in.HalfLifeDays, FirstShare: in.FirstShare, LastShare: in.LastShare,
		Mode: in.Mode, Stages: in.Stages, View: in.View, Measure: in.Measure, Weeks: in.Weeks}
	query.Filters = in.filters()
	if query.Program, err = chooseProgram(key, "query", in.Program); err != nil {
		return query, err
	}
	if query.Program != "" {
		program, ok := s.Links.Program(query.Program)
		if !ok {
			return query, queryProblem("program", "there is no programme %q", query.Program)
		}
		if in.Name == "attribution" && in.Model == "" {
			query.Model = program.AttributionModel
		}
	}
	query.From, query.To, err = s.period(in)
	return query, err
}

// filters are those that were given, nil for none.
func (in *reportInput) filters() map[string]string {
	all := map[string]string{
		"campaign": in.Campaign, "channel": in.Channel, "link": in.Link, "referrer": in.Referrer,
		"referrer_type": in.ReferrerType, "country": in.Country, "device": in.Device,
	}
	maps.DeleteFunc(all, func(_, value string) bool { return value == "" })
	if len(all) == 0 {
		return nil
	}
	return all
}

// period is the time that a report covers, whole days unless times are given.
func (s *server) period(in *reportInput) (from, to time.Time, err error) {
	zone, err := time.LoadLocation(in.TZ)
	if err != nil || in.TZ == "Local" {
		return from, to, queryProblem("tz", "%q is no IANA time zone, such as UTC or Europe/Vienna", in.TZ)
	}
	if to, err = periodEnd("to", in.To, zone); err != nil {
		return from, to, err
	}
	if to.IsZero() {
		year, month, day := s.Now().In(zone).Date()
		to = time.Date(year, month, day+1, 0, 0, 0, 0, zone)
	}
	if from, err = periodEnd("from", in.From, zone); err != nil {
		return from, to, err
	}
	if from.IsZero() {
		from = to.In(zone).AddDate(0, 0, -reportDays)
	}
	if !from.Before(to) {
		return from, to, queryProblem("from", "must lie before to, and %s does not lie before %s", from.Format(time.RFC3339), to.Format(time.RFC3339))
	}
	return from.UTC(), to.UTC(), nil
}

// periodEnd reads one end of a period, the zero time if it is not given.
func periodEnd(name, text string, zone *time.Location) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	if t, err := time.Parse(time.RFC3339, text); err == nil && sane(t) {
		return t, nil
	}
	if t, err := time.ParseInLocation(time.DateOnly, text, zone); err == nil && sane(t) {
		return t, nil
	}
	return time.Time{}, queryProblem(name, "must be RFC 3339, such as 2026-11-20T10:00:00Z (a + is written %%2B), or a date between 1970 and 2100")
}

// sane reports whether ClickHouse can hold a time.
func sane(t time.Time) bool { return t.Year() >= 1970 && t.Year() <= 2100 }
