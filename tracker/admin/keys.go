package admin

import (
	"context"
	"net/http"
	"reflect"
	"strconv"

	"waymark/tracker"
)

type listKeysOutput struct {
	Body struct {
		Keys []tracker.APIKey `json:"keys"`
	}
}

type ownKeyOutput struct{ Body tracker.APIKey }

type createKeyInput struct {
	RawBody []byte `contentType:"application/json"`
}

// newKey is what a POST asks for.
type newKey struct {
	Role    tracker.Role `json:"role" enum:"admin,event,read" doc:"What the key may do: everything, report actions, or read."`
	Program string       `json:"program,omitempty" doc:"The one programme that the key is good for; empty for all."`
}

// createdKey is a key with its secret, which is shown once.
type createdKey struct {
	Secret string `json:"secret" doc:"The key itself. It is shown this once and stored nowhere."`
	tracker.APIKey
}

type createKeyOutput struct{ Body createdKey }

type keyPath struct {
	ID string `path:"id" doc:"Id of the key."`
}

type keyQuery struct {
	ID string `query:"id" required:"true" doc:"Id of the key."`
}

func (s *server) registerKeys() {
	route(s, operation("GET", "/v1/keys", "list-keys", "List keys, revoked ones too", keeper), "query", s.listKeys)

	route(s, operation("GET", "/v1/key", "read-own-key", "Read what the key of the request may do", reader), "query",
		func(ctx context.Context, _ *struct{}) (*ownKeyOutput, error) {
			key := *caller(ctx)
			key.Hash = ""
			return &ownKeyOutput{Body: key}, nil
		})

	op := operation("POST", "/v1/keys", "create-key", "Create a key", keeper, 400, 413, 503)
	op.DefaultStatus = http.StatusCreated
	op.SkipValidateBody = true
	op.MaxBodyBytes = 4 << 10
	route(s, op, "body", s.createKey)
	s.describeBody(op, s.schema(reflect.TypeFor[newKey]()))

	route(s, operation("DELETE", "/v1/keys/{id}", "revoke-key", "Revoke a key", keeper, 404, 503), "path",
		func(ctx context.Context, in *keyPath) (*struct{}, error) { return nil, s.revokeKey(ctx, in.ID) })
	route(s, operation("DELETE", "/v1/keys", "revoke-key-by-query", "Revoke a key", keeper, 404, 503), "query",
		func(ctx context.Context, in *keyQuery) (*struct{}, error) { return nil, s.revokeKey(ctx, in.ID) })
}

func (s *server) listKeys(ctx context.Context, _ *struct{}) (*listKeysOutput, error) {
	out := &listKeysOutput{}
	out.Body.Keys = []tracker.APIKey{}
	for _, key := range s.Keys.List() {
		if sees(caller(ctx), key.Program) {
			out.Body.Keys = append(out.Body.Keys, key)
		}
	}
	return out, nil
}

func (s *server) createKey(ctx context.Context, in *createKeyInput) (*createKeyOutput, error) {
	body, err := jsonBody(in.RawBody)
	if err != nil {
		return nil, err
	}
	var asked newKey
	if err := decodeStrict(body, &asked); err != nil {
		return nil, err
	}
	program, err := chooseProgram(caller(ctx), "body", asked.Program)
	if err != nil {
		return nil, err
	}
	if _, ok := s.Links.Program(program); program != "" && !ok {
		return nil, &tracker.FieldError{Field: "program", Detail: "there is no programme " + strconv.Quote(program) + "; create it first"}
	}
	secret, key, err := tracker.NewAPIKey(asked.Role, program)
	if err != nil {
		return nil, err
	}
	if err := s.KeyWriter.PutKey(ctx, key); err != nil {
		return nil, err
	}
	key.Hash = ""
	noted(ctx).subject, noted(ctx).after = "/v1/keys/"+key.ID, digestOf(key)
	return &createKeyOutput{Body: createdKey{Secret: secret, APIKey: key}}, nil
}

func (s *server) revokeKey(ctx context.Context, id string) error {
	key, ok := s.Keys.Get(id)
	if !ok || !sees(caller(ctx), key.Program) {
		return newProblem(http.StatusNotFound, "there is no key "+strconv.Quote(id)+"; the admin key of the installation is no such key and is changed where it is configured")
	}
	if key.RevokedAt != nil {
		noted(ctx).nothing = true
		return nil
	}
	public := key
	public.Hash = ""
	noted(ctx).program, noted(ctx).before = key.Program, digestOf(public)
	now := s.Now().UTC()
	key.RevokedAt = &now
	return s.KeyWriter.PutKey(ctx, key)
}
