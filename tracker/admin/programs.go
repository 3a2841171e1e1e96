package admin

import (
	"context"
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

	op := operation("PUT", "/v1/programs/{name}", "put-program", "Create or replace a programme", keeper, 400, 413, 503)
	op.SkipValidateBody = true
	op.MaxBodyBytes = programBodyMax
	op.Description = "Settings that are left out get their defaults. The name may be left out of the body."
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
	return &programOutput{Body: program}, s.ProgramWriter.PutProgram(ctx, program)
}
