package admin

import (
	"bytes"
	"cmp"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/shopspring/decimal"

	"waymark/tracker"
	"waymark/tracker/partners"
)

// PartnerKeeper changes the records of partners; *partners.Keeper does.
type PartnerKeeper interface {
	Create(ctx context.Context, partner partners.Partner, actor string) (partners.Change, error)
	Update(ctx context.Context, program, id, actor string, change func(*partners.Partner) error) (partners.Change, error)
}

// PartnerReader reads the records of partners.
type PartnerReader interface {
	Partners(ctx context.Context, query partners.Query) ([]partners.Partner, error)
	PartnerChanges(ctx context.Context, program, id string) ([]partners.Change, error)
}

const partnerBodyMax = 16 << 10 // bytes

// Partner is a record as the API shows it; it is exported as LinkPath is.
type Partner struct {
	ID             string    `json:"id" doc:"The party, as links name it as their referrer." example:"agent-17"`
	Program        string    `json:"program"`
	Code           string    `json:"code" doc:"Unique in the programme, in any case of letters."`
	Type           string    `json:"type" doc:"Type of the party."`
	Name           string    `json:"name"`
	Email          string    `json:"email"`
	Status         string    `json:"status" enum:"active,inactive,suspended,terminated" doc:"Who is suspended or terminated earns nothing for what happens from then on."`
	CommissionRate *string   `json:"commission_rate" doc:"In per cent, for rules that pay the partner's own rate; null for the rate of the rule." example:"12.5"`
	JoinedAt       time.Time `json:"joined_at"`
}

// PartnerChange is a record with who changed it, and since when it holds; it is
// exported as LinkPath is.
type PartnerChange struct {
	Partner
	Since      time.Time `json:"since" doc:"It says so from then on."`
	Actor      string    `json:"actor" doc:"Id of the key that wrote it."`
	RecordedAt time.Time `json:"recorded_at"`
}

// newPartner is what a POST asks for, and what a PATCH changes.
type newPartner struct {
	ID             *string         `json:"id,omitempty" doc:"The party, as links name it as their referrer."`
	Program        *string         `json:"program,omitempty" doc:"May be left out with a key that is good for one only."`
	Code           *string         `json:"code,omitempty" doc:"Default: a random one, with the prefix of the programme."`
	Type           *string         `json:"type,omitempty" doc:"Type of the party."`
	Name           *string         `json:"name,omitempty"`
	Email          *string         `json:"email,omitempty"`
	Status         *string         `json:"status,omitempty" enum:"active,inactive,suspended,terminated" doc:"Default: active."`
	CommissionRate json.RawMessage `json:"commission_rate,omitempty" doc:"In per cent, a decimal as text or number; null for the rate of the rule."`
	JoinedAt       *time.Time      `json:"joined_at,omitempty" doc:"From which on the record holds. Default: now."`
}

type createPartnerInput struct {
	RawBody []byte `contentType:"application/json"`
}

// PartnerPath names a partner; it is exported as LinkPath is.
type PartnerPath struct {
	ID      string `path:"id" doc:"Id of the party."`
	Program string `query:"program" doc:"The programme; may be left out where the party is a partner of one only."`
}

type patchPartnerInput struct {
	PartnerPath
	RawBody []byte `contentType:"application/json"`
}

type listPartnersInput struct {
	Program string `query:"program" doc:"Only this programme. Default: all that the key is good for."`
	Status  string `query:"status" enum:"active,inactive,suspended,terminated" doc:"Only partners of this status."`
	Cursor  string `query:"cursor" doc:"The cursor of the page before."`
	Limit   int    `query:"limit" default:"100" minimum:"1" maximum:"1000" doc:"Partners on a page."`
}

type partnerOutput struct{ Body PartnerChange }

type partnerHistoryOutput struct {
	Body struct {
		PartnerChange
		History []PartnerChange `json:"history" doc:"All that the record ever said, in order."`
	}
}

type listPartnersOutput struct {
	Body struct {
		Partners []Partner `json:"partners"`
		Cursor   string    `json:"cursor" doc:"Of the next page; empty on the last one."`
	}
}

func (s *server) registerPartners() {
	op := operation("POST", "/v1/partners", "create-partner", "Create a partner", keeper, 400, 409, 413, 503)
	op.DefaultStatus = http.StatusCreated
	op.SkipValidateBody, op.MaxBodyBytes = true, partnerBodyMax
	route(s, op, "body", s.createPartner)
	s.describePartnerBody(op.Path, op.Method)

	route(s, operation("GET", "/v1/partners", "list-partners", "List partners in the order of programme and id", reader, 503), "query", s.listPartners)
	route(s, operation("GET", "/v1/partners/{id}", "get-partner", "Read a partner with its history", reader, 404, 503), "path", s.getPartner)

	op = operation("PATCH", "/v1/partners/{id}", "change-partner", "Change a partner", keeper, 400, 404, 409, 413, 503)
	op.Description = "What is left out stays. A new rate or status holds from now on."
	op.SkipValidateBody, op.MaxBodyBytes = true, partnerBodyMax
	route(s, op, "body", s.patchPartner)
	s.describePartnerBody(op.Path, op.Method)
}

func (s *server) describePartnerBody(path, method string) {
	schema := s.schema(reflect.TypeFor[newPartner]())
	rate := s.api.OpenAPI().Components.Schemas.SchemaFromRef(schema.Ref).Properties["commission_rate"]
	rate.Type, rate.Items = "", nil // RawMessage would be an array of bytes
	s.describeBody(operation(method, path, "", "", keeper), schema)
}

func partnerOf(p *partners.Partner) Partner {
	out := Partner{ID: p.ID, Program: p.Program, Code: p.Code, Type: p.Type, Name: p.Name, Email: p.Email, Status: string(p.Status), JoinedAt: p.JoinedAt.UTC()}
	if p.CommissionRate != nil {
		rate := p.CommissionRate.String()
		out.CommissionRate = &rate
	}
	return out
}

func changeOf(c *partners.Change) PartnerChange {
	return PartnerChange{Partner: partnerOf(&c.Partner), Since: c.Time.UTC(), Actor: c.Actor, RecordedAt: c.RecordedAt.UTC()}
}

// partnerProblem makes the errors of a PartnerKeeper that are the caller's into
// problems.
func partnerProblem(err error) error {
	switch {
	case errors.Is(err, partners.ErrExists):
		return fieldProblem(http.StatusConflict, "body", "id", err.Error())
	case errors.Is(err, partners.ErrCodeTaken):
		return fieldProblem(http.StatusConflict, "body", "code", err.Error())
	case errors.Is(err, partners.ErrLost):
		return newProblem(http.StatusConflict, err.Error())
	}
	return err
}

func (s *server) createPartner(ctx context.Context, in *createPartnerInput) (*partnerOutput, error) {
	asked, err := readPartner(in.RawBody)
	if err != nil {
		return nil, err
	}
	name, err := chooseProgram(caller(ctx), "body", deref(asked.Program))
	if err != nil {
		return nil, err
	}
	program, known := s.Links.Program(name)
	if !known {
		return nil, &tracker.FieldError{Field: "program", Detail: "there is no programme " + strconv.Quote(name)}
	}
	p := partners.Partner{Program: name, ID: deref(asked.ID), Status: partners.Active, Code: tracker.NewCode(program.CodePrefix)}
	if err := s.apply(asked, &p); err != nil {
		return nil, err
	}
	if err := p.Validate(program); err != nil {
		return nil, err
	}
	change, err := s.PartnerKeeper.Create(ctx, p, caller(ctx).ID)
	if err != nil {
		return nil, partnerProblem(err)
	}
	return &partnerOutput{Body: changeOf(&change)}, nil
}

func (s *server) patchPartner(ctx context.Context, in *patchPartnerInput) (*partnerOutput, error) {
	asked, err := readPartner(in.RawBody)
	if err != nil {
		return nil, err
	}
	for _, fixed := range []struct {
		field string
		given bool
	}{{"id", asked.ID != nil}, {"program", asked.Program != nil}, {"joined_at", asked.JoinedAt != nil}} {
		if fixed.given {
			return nil, &tracker.FieldError{Field: fixed.field, Detail: "cannot change"}
		}
	}
	name, err := s.programOfPartner(ctx, &in.PartnerPath)
	if err != nil {
		return nil, err
	}
	program, known := s.Links.Program(name)
	if !known {
		return nil, noPartner()
	}
	change, err := s.PartnerKeeper.Update(ctx, name, in.ID, caller(ctx).ID, func(p *partners.Partner) error {
		if err := s.apply(asked, p); err != nil {
			return err
		}
		return p.Validate(program)
	})
	if errors.Is(err, tracker.ErrNotFound) {
		return nil, noPartner()
	}
	if err != nil {
		return nil, partnerProblem(err)
	}
	return &partnerOutput{Body: changeOf(&change)}, nil
}

func readPartner(body []byte) (*newPartner, error) {
	body, err := jsonBody(body)
	if err != nil {
		return nil, err
	}
	asked := &newPartner{}
	return asked, decodeStrict(body, asked)
}

// apply sets what was given.
func (s *server) apply(asked *newPartner, p *partners.Partner) error {
	for _, field := range []struct {
		from *string
		to   *string
	}{{asked.Code, &p.Code}, {asked.Type, &p.Type}, {asked.Name, &p.Name}, {asked.Email, &p.Email}} {
		if field.from != nil {
			*field.to = *field.from
		}
	}
	if asked.Status != nil {
		p.Status = partners.Status(*asked.Status)
	}
	if asked.JoinedAt != nil {
		if asked.JoinedAt.After(s.Now()) || asked.JoinedAt.Before(time.Unix(0, 0)) {
			return &tracker.FieldError{Field: "joined_at", Detail: "must lie between 1970 and now"}
		}
		p.JoinedAt = *asked.JoinedAt
	}
	if asked.CommissionRate == nil {
		return nil
	}
	p.CommissionRate = nil
	if text := bytes.Trim(asked.CommissionRate, `"`); string(text) != "null" {
		rate, err := decimal.NewFromString(string(text))
		if err != nil || len(text) > 30 {
			return &tracker.FieldError{Field: "commission_rate", Detail: "must be a decimal such as 12.5, or null"}
		}
		p.CommissionRate = &rate
	}
	return nil
}

func deref(s *string) string { return *cmp.Or(s, new(string)) }

func noPartner() error {
	return fieldProblem(http.StatusNotFound, "path", "id", "there is no partner of this id")
}

// programOfPartner is the programme that a path means: the one that it names,
// else the key's own, else the only one that has such a partner.
func (s *server) programOfPartner(ctx context.Context, in *PartnerPath) (string, error) {
	program, err := chooseProgram(caller(ctx), "query", in.Program)
	if err != nil || program != "" {
		return program, err
	}
	found, err := s.PartnerReader.Partners(ctx, partners.Query{ID: in.ID, Limit: 2})
	switch {
	case err != nil:
		return "", err
	case len(found) == 0:
		return "", noPartner()
	case len(found) > 1:
		return "", queryProblem("program", "is missing: the party is a partner of several programmes")
	}
	return found[0].Program, nil
}

func (s *server) getPartner(ctx context.Context, in *PartnerPath) (*partnerHistoryOutput, error) {
	program, err := s.programOfPartner(ctx, in)
	if err != nil {
		return nil, err
	}
	changes, err := s.PartnerReader.PartnerChanges(ctx, program, in.ID)
	if err != nil {
		return nil, err
	}
	if len(changes) == 0 {
		return nil, noPartner()
	}
	out := &partnerHistoryOutput{}
	for i := range changes {
		out.Body.History = append(out.Body.History, changeOf(&changes[i]))
	}
	out.Body.PartnerChange = out.Body.History[len(changes)-1]
	return out, nil
}

func (s *server) listPartners(ctx context.Context, in *listPartnersInput) (*listPartnersOutput, error) {
	query := partners.Query{Status: in.Status, Limit: in.Limit}
	var err error
	if query.Program, err = chooseProgram(caller(ctx), "query", in.Program); err != nil {
		return nil, err
	}
	if query.After, err = readPairCursor(in.Cursor); err != nil {
		return nil, err
	}
	found, err := s.PartnerReader.Partners(ctx, query)
	if err != nil {
		return nil, err
	}
	out := &listPartnersOutput{}
	out.Body.Partners = []Partner{}
	for i := range found {
		out.Body.Partners = append(out.Body.Partners, partnerOf(&found[i]))
	}
	if len(found) == in.Limit {
		last := found[len(found)-1]
		out.Body.Cursor = pairCursor(last.Program, last.ID)
	}
	return out, nil
}

// pairCursor is a cursor that names two texts. A zero byte, which no text of
// ours has, divides them.
func pairCursor(a, b string) string {
	return base64.RawURLEncoding.EncodeToString([]byte(a + "\x00" + b))
}

func readPairCursor(cursor string) (pair [2]string, err error) {
	if cursor == "" {
		return pair, nil
	}
	text, err := base64.RawURLEncoding.DecodeString(cursor)
	a, b, found := strings.Cut(string(text), "\x00")
	if err != nil || !found {
		return pair, queryProblem("cursor", "is none that this list gave")
	}
	return [2]string{a, b}, nil
}
