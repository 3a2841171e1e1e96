package admin

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"mime"
	"net/http"
	"reflect"
	"slices"
	"strconv"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"waymark/tracker"
)

const programBodyMax = 64 << 10 // bytes

type ProgramPath struct {
	Name string `path:"name" doc:"Name of the programme." example:"wedding"`
}

type programOutput struct{ Body tracker.Program }

type listProgramsOutput struct {
	Body struct {
		Programs []tracker.Program `json:"programs"`
	}
}

type putProgramInput struct {
	ProgramPath
	ContentType string `header:"Content-Type" hidden:"true"`
	RawBody     []byte `contentType:"application/json"`
}

func (s *server) registerPrograms() {
	route(s, operation("GET", "/v1/programs", "list-programs", "List programmes", reader), "query", s.listPrograms)
	route(s, operation("GET", "/v1/programs/{name}", "get-program", "Read a programme", reader, 404), "path", s.getProgram)

	op := operation("PUT", "/v1/programs/{name}", "put-program", "Create or replace a programme", keeper, 400, 409, 413, 503)
	op.SkipValidateBody = true
	op.MaxBodyBytes = programBodyMax
	op.Description = "Settings that are left out get their defaults. Decimals may be written as numbers, too. The name may be left out of the body. " +
		"The rules hold for what happens from effective_from on, which is now if it is left out; a date in the past, also that of the version as it was read, changes what was earned since. " +
		"A document that changes nothing makes no version. " +
		"Secrets of webhooks are shown as ***, and kept where *** is written back. " +
		"The currency cannot change once actions of the programme have a value, nor can its codes become case-insensitive while two differ in case only."
	route(s, op, "body", s.putProgram)
	s.describeProgramBody(op)

	route(s, operation("GET", "/v1/programs/{name}/versions", "list-program-versions", "List the versions of a programme", reader, 404, 503), "path", s.listVersions)
}

// describeProgramBody says that a body may be JSON or YAML and leave out what it likes.
func (s *server) describeProgramBody(op huma.Operation) {
	registry := s.api.OpenAPI().Components.Schemas
	input := *registry.SchemaFromRef(s.schema(reflect.TypeFor[tracker.Program]()).Ref)
	input.Required = nil
	registry.Map()["ProgramInput"] = &input
	for _, part := range []reflect.Type{
		reflect.TypeFor[tracker.ReferralRules](), reflect.TypeFor[tracker.RewardRules](), reflect.TypeFor[tracker.RewardRule](),
		reflect.TypeFor[tracker.Condition](), reflect.TypeFor[tracker.Multiplier](), reflect.TypeFor[tracker.Milestone](),
		reflect.TypeFor[tracker.Tier](), reflect.TypeFor[tracker.Campaign](), reflect.TypeFor[tracker.Season](),
		reflect.TypeFor[tracker.CampaignTargets](), reflect.TypeFor[tracker.FraudRules](), reflect.TypeFor[tracker.FraudSignal](),
		reflect.TypeFor[tracker.FraudActions](), reflect.TypeFor[tracker.MessageRules](), reflect.TypeFor[tracker.Webhook](),
	} {
		registry.SchemaFromRef(s.schema(part).Ref).Required = nil
	}
	body := &huma.Schema{Ref: "#/components/schemas/ProgramInput"}
	s.describeBody(op, body)
	operationAt(s.api.OpenAPI().Paths[op.Path], op.Method).RequestBody.Content["application/yaml"] = &huma.MediaType{Schema: body}
}

func (s *server) listPrograms(ctx context.Context, _ *struct{}) (*listProgramsOutput, error) {
	out := &listProgramsOutput{}
	out.Body.Programs = []tracker.Program{}
	for _, program := range s.Links.Programs() {
		if sees(caller(ctx), program.Name) {
			out.Body.Programs = append(out.Body.Programs, program.Masked())
		}
	}
	return out, nil
}

func (s *server) getProgram(ctx context.Context, in *ProgramPath) (*programOutput, error) {
	program, ok := s.Links.Program(in.Name)
	if !ok || !sees(caller(ctx), in.Name) {
		return nil, fieldProblem(http.StatusNotFound, "path", "name", "there is no programme "+strconv.Quote(in.Name))
	}
	return &programOutput{Body: program.Masked()}, nil
}

func (s *server) putProgram(ctx context.Context, in *putProgramInput) (*programOutput, error) {
	if _, err := chooseProgram(caller(ctx), "path", in.Name); err != nil {
		return nil, err
	}
	before, known := s.Links.Program(in.Name)
	program, err := readProgram(in, before)
	if err != nil {
		return nil, err
	}
	if known {
		if err := s.checkChange(ctx, before, &program); err != nil {
			return nil, err
		}
	}
	if known && changesNothing(before, program) {
		return &programOutput{Body: before.Masked()}, nil
	}
	if program.EffectiveFrom.IsZero() {
		program.EffectiveFrom = s.Now().UTC().Truncate(time.Millisecond)
	}
	if err := s.ProgramWriter.PutProgram(ctx, program); err != nil {
		return nil, err
	}
	return &programOutput{Body: program.Masked()}, nil
}

// readProgram reads and checks a document, in YAML if it says so. before is
// the programme as it is, nil for none.
func readProgram(in *putProgramInput, before *tracker.Program) (tracker.Program, error) {
	document, lines := in.RawBody, tracker.DocumentLines{}
	var err error
	if isYAML(in.ContentType) {
		document, lines, err = tracker.JSONFromYAML(document)
	} else {
		document, err = jsonBody(document)
	}
	if err != nil {
		return tracker.Program{}, err
	}
	program, err := tracker.ParseProgram(in.Name, document)
	if err == nil {
		err = program.KeepSecrets(before)
	}
	if err == nil {
		err = program.Validate()
	}
	return program, lines.Locate(err)
}

// isYAML knows the registered type (RFC 9512) and those that were in use before it.
func isYAML(contentType string) bool {
	media, _, err := mime.ParseMediaType(contentType)
	return err == nil && slices.Contains([]string{"application/yaml", "application/x-yaml", "text/yaml"}, media)
}

// changesNothing reports whether a document, with the date of the programme or
// without one, says what the programme says already. One that was never
// written, only assumed, has no date, and gets one.
func changesNothing(before *tracker.Program, program tracker.Program) bool {
	if before.EffectiveFrom.IsZero() {
		return false
	}
	if program.EffectiveFrom.IsZero() {
		program.EffectiveFrom = before.EffectiveFrom
	}
	was, err := json.Marshal(before)
	if err != nil {
		return false
	}
	is, err := json.Marshal(program)
	return err == nil && bytes.Equal(was, is)
}

// checkChange refuses changes that would give what there is another meaning.
func (s *server) checkChange(ctx context.Context, before, program *tracker.Program) error {
	if program.CaseInsensitive && !before.CaseInsensitive {
		if a, b := s.Links.FoldingClash(program.Name); a != "" {
			return fieldProblem(http.StatusConflict, "body", "case_insensitive",
				fmt.Sprintf("the codes %q and %q differ in case only; delete one of them first", a, b))
		}
	}
	if program.Currency == before.Currency {
		return nil
	}
	valued, err := s.ValueFinder.HasValue(ctx, program.Name)
	if err != nil {
		return fmt.Errorf("look for values of the programme: %w: %w", tracker.ErrUnavailable, err)
	}
	if valued {
		return fieldProblem(http.StatusUnprocessableEntity, "body", "currency",
			fmt.Sprintf("is %s, and what was reported has values in it, so it cannot change; make a new programme", before.Currency))
	}
	return nil
}
