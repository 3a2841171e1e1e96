package admin

import (
	"context"
	"encoding/json"
	"maps"
	"net/http"
	"reflect"
	"slices"

	"github.com/danielgtaylor/huma/v2"

	"waymark/tracker"
)

// schema is the schema of a type, by reference.
func (s *server) schema(t reflect.Type) *huma.Schema {
	return s.api.OpenAPI().Components.Schemas.Schema(t, true, t.Name())
}

// linkSchema is the schema of a link, or a variant of it for requests, in
// which only the fields of required must be given.
func (s *server) linkSchema(name string, required []string) *huma.Schema {
	registry := s.api.OpenAPI().Components.Schemas
	ref := s.schema(reflect.TypeFor[tracker.Link]())
	if required == nil {
		return ref
	}
	variant := *registry.SchemaFromRef(ref.Ref)
	variant.Required = required
	variant.Properties = maps.Clone(variant.Properties)
	for _, given := range []string{"number", "created_at", "updated_at"} {
		field := *variant.Properties[given]
		field.ReadOnly = true
		variant.Properties[given] = &field
	}
	registry.Map()[name] = &variant
	return &huma.Schema{Ref: "#/components/schemas/" + name}
}

// describeBody says what a body that the handler parses itself looks like;
// huma would call it a string.
func (s *server) describeBody(op huma.Operation, body *huma.Schema) {
	registered := operationAt(s.api.OpenAPI().Paths[op.Path], op.Method)
	registered.RequestBody.Content = map[string]*huma.MediaType{"application/json": {Schema: body}}
}

// operationAt is the operation of a path for a method, nil for none.
func operationAt(path *huma.PathItem, method string) *huma.Operation {
	switch method {
	case http.MethodGet:
		return path.Get
	case http.MethodPost:
		return path.Post
	case http.MethodPut:
		return path.Put
	case http.MethodPatch:
		return path.Patch
	case http.MethodDelete:
		return path.Delete
	}
	return nil
}

// jsonResponse describes an answer with a JSON body.
func jsonResponse(description string, body *huma.Schema) *huma.Response {
	return contentResponse(description, map[string]*huma.Schema{"application/json": body})
}

// contentResponse describes an answer whose body has one of some types.
func contentResponse(description string, bodies map[string]*huma.Schema) *huma.Response {
	content := make(map[string]*huma.MediaType, len(bodies))
	for _, contentType := range slices.Sorted(maps.Keys(bodies)) {
		content[contentType] = &huma.MediaType{Schema: bodies[contentType]}
	}
	return &huma.Response{Description: description, Content: content}
}

// bytesOutput is an answer that is no JSON of huma's.
type bytesOutput struct {
	ContentType  string `header:"Content-Type" hidden:"true"`
	CacheControl string `header:"Cache-Control" hidden:"true"`
	Status       int
	Body         []byte
}

// registerDocument serves the description of the API, of this route, too.
func (s *server) registerDocument() {
	op := operation("GET", "/openapi.json", "openapi", "This document", public)
	op.Responses = map[string]*huma.Response{"200": jsonResponse("OpenAPI 3.1", &huma.Schema{Type: huma.TypeObject, AdditionalProperties: true})}
	var document []byte
	route(s, op, "query", func(context.Context, *struct{}) (*bytesOutput, error) {
		return &bytesOutput{ContentType: "application/json", Status: http.StatusOK, Body: document}, nil
	})
	var err error
	if document, err = json.Marshal(s.api.OpenAPI()); err != nil {
		panic("BUG: encode the OpenAPI document: " + err.Error())
	}
}
