package admin

import (
	"context"
	"fmt"
	"net/http"
	"reflect"
	"strconv"

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
	RawBody []byte `contentType:"application/json"`
}

func (s *server) registerPrograms() {
	route(s, operation("GET", "/v1/programs", "list-programs", "List programmes", reader), "query", s.listPrograms)
	route(s, operation("GET", "/v1/programs/{name}", "get-program", "Read a programme", reader, 404), "path", s.getProgram)

	op := operation("PUT", "/v1/programs/{name}", "put-program", "Create or replace a programme", keeper, 400, 409, 413, 503)
	op.SkipValidateBody = true
	op.MaxBodyBytes = programBodyMax
	op.Description = "Settings that are left out get their defaults. The name may be left out of the body. " +
		"The currency cannot change once actions of the programme have a value, nor can its codes become case-insensitive while two differ in case only."
	route(s, op, "body", s.putProgram)
	registry := s.api.OpenAPI().Components.Schemas
	input := *registry.SchemaFromRef(s.schema(reflect.TypeFor[tracker.Program]()).Ref)
	input.Required = nil
	registry.Map()["ProgramInput"] = &input
	s.describeBody(op, &huma.Schema{Ref: "#/components/schemas/ProgramInput"})
}

func (s *server) listPrograms(ctx context.Context, _ *struct{}) (*listProgramsOutput, error) {
	out := &listProgramsOutput{}
	out.Body.Programs = []tracker.Program{}
	for _, program := range s.Links.Programs() {
		if sees(caller(ctx), program.Name) {
			out.Body.Programs = append(out.Body.Programs, program)
		}
	}
	return out, nil
}

func (s *server) getProgram(ctx context.Context, in *ProgramPath) (*programOutput, error) {
	program, ok := s.Links.Program(in.Name)
	if !ok || !sees(caller(ctx), in.Name) {
		return nil, fieldProblem(http.StatusNotFound, "path", "name", "there is no programme "+strconv.Quote(in.Name))
	}
	return &programOutput{Body: *program}, nil
}

func (s *server) putProgram(ctx context.Context, in *putProgramInput) (*programOutput, error) {
	body, err := jsonBody(in.RawBody)
	if err != nil {
		return nil, err
	}
	if _, err := chooseProgram(caller(ctx), "path", in.Name); err != nil {
		return nil, err
	}
	program, err := tracker.ParseProgram(in.Name, body)
	if err != nil {
		return nil, err
	}
	if err := program.Validate(); err != nil {
		return nil, err
	}
	if before, ok := s.Links.Program(in.Name); ok {
		if err := s.checkChange(ctx, before, &program); err != nil {
			return nil, err
		}
	}
	return &programOutput{Body: program}, s.ProgramWriter.PutProgram(ctx, program)
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
