package admin

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"strings"

	"waymark/tracker"
)

// jsonBody cuts a body down to the JSON object or array that it must be.
func jsonBody(body []byte) ([]byte, error) {
	body = bytes.TrimSpace(bytes.TrimPrefix(body, []byte("\xEF\xBB\xBF")))
	if len(body) == 0 || body[0] != '{' && body[0] != '[' || !json.Valid(body) {
		return nil, fieldProblem(http.StatusBadRequest, "body", "", "the body must be JSON")
	}
	return body, nil
}

// decodeStrict reads an object in which every member must be a field of v. The
// error is a *tracker.FieldError.
func decodeStrict(object []byte, v any) error {
	if object[0] != '{' { // jsonBody lets arrays pass, for those who take them
		return &tracker.FieldError{Detail: "must be a JSON object"}
	}
	dec := json.NewDecoder(bytes.NewReader(object))
	dec.DisallowUnknownFields()
	err := dec.Decode(v)
	if err == nil {
		return nil
	}
	if wrong, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		return &tracker.FieldError{Field: wrong.Field, Detail: "must be a " + wrong.Type.Kind().String() + ", not a " + wrong.Value}
	}
	// The package has no type for this one.
	if quoted, ok := strings.CutPrefix(err.Error(), "json: unknown field "); ok {
		if field, err := strconv.Unquote(quoted); err == nil {
			return &tracker.FieldError{Field: field, Detail: "unknown field; remove it"}
		}
	}
	return &tracker.FieldError{Detail: err.Error()}
}
