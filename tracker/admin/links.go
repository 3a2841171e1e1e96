package admin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"reflect"
	"strconv"

	"github.com/danielgtaylor/huma/v2"

	"waymark/tracker"
	"waymark/tracker/wire"
)

const (
	linksMax     = 10_000   // links in one POST
	linksBodyMax = 64 << 20 // bytes of its body
	linkBodyMax  = 64 << 10 // bytes of one link
	pageMax      = 1000     // links on a page
)

// LinkPath names a link. It is exported because huma cannot fill an embedded
// struct that is not.
type LinkPath struct {
	Code   string `path:"code" doc:"Code of the link; a slash in it may be written as %2F." example:"LOVE-7G2K9Q"`
	Domain string `query:"domain" doc:"Domain of the link, if it answers on one only."`
}

type linkOutput struct{ Body tracker.Link }

// batchResult says which links of a batch could not be created.
type batchResult struct {
	Created int           `json:"created" doc:"Number of links created."`
	Failed  []batchFailed `json:"failed" doc:"The others."`
}

type batchFailed struct {
	Index  int    `json:"index" doc:"Place in the request, from 0."`
	Field  string `json:"field" doc:"The field at fault, empty if it is none."`
	Detail string `json:"detail" doc:"What is wrong and what to do about it."`
}

type createLinksInput struct {
	RawBody []byte `contentType:"application/json"`
}

type createLinksOutput struct {
	Status int
	Body   any
}

type listLinksInput struct {
	Cursor   string `query:"cursor" doc:"The cursor of the page before."`
	Limit    int    `query:"limit" default:"100" minimum:"1" maximum:"1000" doc:"Links on a page."`
	Referrer string `query:"referrer" doc:"Only links of the referrer with this id."`
	Program  string `query:"program" doc:"Only links of this programme."`
}

type listLinksOutput struct {
	Body linkPage
}

type linkPage struct {
	Links  []tracker.Link `json:"links"`
	Cursor string         `json:"cursor" doc:"Where the next page begins, empty on the last one."`
}

func (s *server) registerLinks() {
	link := s.linkSchema("Link", nil)
	change := s.linkSchema("LinkChange", []string{})
	input := s.linkSchema("LinkInput", []string{"url"})

	op := operation("POST", "/v1/links", "create-links", "Create a link, or up to 10,000", keeper, 400, 409, 413, 503)
	op.DefaultStatus = http.StatusCreated
	op.SkipValidateBody = true // by ParseLink, which names the field
	op.MaxBodyBytes = linksBodyMax
	op.Description = "An object creates one link and is answered with it. An array creates those of its links that are valid."
	op.Responses = map[string]*huma.Response{
		"201": jsonResponse("The link", link),
		"207": jsonResponse("What became of the links of an array", s.schema(reflect.TypeFor[batchResult]())),
	}
	route(s, op, "body", s.createLinks)
	maxLinks := linksMax
	s.describeBody(op, &huma.Schema{OneOf: []*huma.Schema{input, {Type: huma.TypeArray, Items: input, MaxItems: &maxLinks}}})

	route(s, operation("GET", "/v1/links", "list-links", "List links in the order of their creation", reader), "query", s.listLinks)
	route(s, operation("GET", "/v1/links/{code}", "get-link", "Read a link", reader, 404), "path", s.getLink)

	op = operation("PATCH", "/v1/links/{code}", "change-link", "Change fields of a link", keeper, 400, 404, 413, 503)
	op.SkipValidateBody = true
	op.MaxBodyBytes = linkBodyMax
	op.Description = "A JSON merge patch (RFC 7396). Code and domain cannot be changed."
	route(s, op, "body", s.changeLink)
	s.describeBody(op, change)

	route(s, operation("DELETE", "/v1/links/{code}", "delete-link", "Delete a link", keeper, 404, 503), "path", s.deleteLink)
}

func (s *server) createLinks(ctx context.Context, in *createLinksInput) (*createLinksOutput, error) {
	body, err := jsonBody(in.RawBody)
	if err != nil {
		return nil, err
	}
	if body[0] == '[' {
		result, err := s.createBatch(ctx, body)
		if err == nil {
			noted(ctx).subject = fmt.Sprintf("/v1/links: %d created", result.Created)
			noted(ctx).nothing = result.Created == 0
		}
		return &createLinksOutput{Status: http.StatusMultiStatus, Body: result}, err
	}
	link, err := s.newLink(caller(ctx), body)
	if err != nil {
		return nil, err
	}
	links := []tracker.Link{link}
	if err := s.LinkWriter.CreateLinks(ctx, links)[0]; err != nil {
		return nil, err
	}
	noted(ctx).subject = "/v1/links/" + url.PathEscape(links[0].Code)
	if links[0].Domain != "" {
		noted(ctx).subject += "?domain=" + url.QueryEscape(links[0].Domain)
	}
	return &createLinksOutput{Status: http.StatusCreated, Body: links[0]}, nil
}

// newLink reads and checks one link of a POST.
func (s *server) newLink(key *tracker.APIKey, object []byte) (tracker.Link, error) {
	link, err := tracker.ParseLink(object)
	if err != nil {
		return link, err
	}
	if key.Program != "" && !namesProgram(object) {
		link.Program = key.Program
	}
	return link, s.checkLink(key, &link)
}

// namesProgram reports whether a link in JSON says its programme: only one
// that does not gets the key's.
func namesProgram(object []byte) bool {
	var named struct{ Program string }
	return json.Unmarshal(object, &named) == nil && named.Program != ""
}

// checkLink checks a link against its programme and the key that writes it.
func (s *server) checkLink(key *tracker.APIKey, link *tracker.Link) error {
	if _, err := chooseProgram(key, "body", link.Program); err != nil {
		return err
	}
	program, ok := s.Links.Program(link.Program)
	if !ok {
		return link.Validate(nil)
	}
	checked := *link
	if checked.Code == "" {
		checked.Code = tracker.NewCode(program.CodePrefix) // the writer draws one that is free
	}
	return checked.Validate(program)
}

func (s *server) createBatch(ctx context.Context, body []byte) (*batchResult, error) {
	var items []json.RawMessage
	if err := json.Unmarshal(body, &items); err != nil {
		return nil, fieldProblem(http.StatusBadRequest, "body", "", "the body must be JSON")
	}
	if len(items) > linksMax {
		return nil, newProblem(http.StatusRequestEntityTooLarge, "at most 10,000 links are created at once; split the array")
	}
	key := caller(ctx)
	faults := make([]error, len(items))
	links := make([]tracker.Link, 0, len(items))
	places := make([]int, 0, len(items)) // of links among items
	for i, item := range items {
		link, err := s.newLink(key, item)
		if err != nil {
			faults[i] = err
			continue
		}
		links, places = append(links, link), append(places, i)
	}
	created, unavailable := 0, 0
	if len(links) > 0 {
		for i, err := range s.LinkWriter.CreateLinks(ctx, links) {
			faults[places[i]] = err
			switch {
			case err == nil:
				created++
			case errors.Is(err, tracker.ErrUnavailable):
				unavailable++
			}
		}
	}
	if unavailable > 0 && created == 0 {
		return nil, tracker.ErrUnavailable
	}
	result := &batchResult{Created: created, Failed: []batchFailed{}}
	for i, err := range faults {
		if err != nil {
			p := problemOf(err, "body")
			result.Failed = append(result.Failed, batchFailed{Index: i, Field: p.Field, Detail: p.Detail})
		}
	}
	return result, nil
}

func (s *server) listLinks(ctx context.Context, in *listLinksInput) (*listLinksOutput, error) {
	after := tracker.LinkNumber(0)
	if in.Cursor != "" {
		n, err := strconv.ParseUint(in.Cursor, 10, 32)
		if err != nil {
			return nil, queryProblem("cursor", "must be the cursor of another page")
		}
		after = tracker.LinkNumber(n)
	}
	program, err := chooseProgram(caller(ctx), "query", in.Program)
	if err != nil {
		return nil, err
	}
	match := func(l *wire.Link) bool {
		return (program == "" || l.Program == program) && (in.Referrer == "" || l.ReferrerId == in.Referrer)
	}
	page := linkPage{Links: []tracker.Link{}}
	for {
		// Each call looks at a bounded number of links, so that a filter that
		// matches few of millions ends when the client does.
		found, next := s.Links.List(after, in.Limit-len(page.Links), match)
		page.Links = append(page.Links, found...)
		if next == 0 {
			break
		}
		if len(page.Links) >= in.Limit {
			page.Cursor = strconv.FormatUint(uint64(next), 10)
			break
		}
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		after = next
	}
	return &listLinksOutput{Body: page}, nil
}

// find returns the link that a path names, if the caller may know of it.
func (s *server) find(ctx context.Context, path *LinkPath) (tracker.Link, error) {
	link, ok := s.Links.Get(path.Domain, path.Code)
	if !ok || !sees(caller(ctx), link.Program) {
		return link, noLink(path)
	}
	return link, nil
}

func noLink(path *LinkPath) *Problem {
	return fieldProblem(http.StatusNotFound, "path", "code", "there is no link with the code "+strconv.Quote(path.Code)+" on the domain "+strconv.Quote(path.Domain))
}

func (s *server) getLink(ctx context.Context, in *LinkPath) (*linkOutput, error) {
	link, err := s.find(ctx, in)
	return &linkOutput{Body: link}, err
}

type changeLinkInput struct {
	LinkPath
	RawBody []byte `contentType:"application/json"`
}

func (s *server) changeLink(ctx context.Context, in *changeLinkInput) (*linkOutput, error) {
	body, err := jsonBody(in.RawBody)
	if err != nil {
		return nil, err
	}
	if _, err := s.find(ctx, &in.LinkPath); err != nil {
		return nil, err
	}
	link, err := s.LinkWriter.UpdateLink(ctx, in.Domain, in.Code, func(link *tracker.Link) error {
		if !sees(caller(ctx), link.Program) {
			return noLink(&in.LinkPath) // it has moved since it was found
		}
		noted(ctx).before = digestOf(link)
		changed, err := tracker.PatchLink(*link, body)
		if err != nil {
			return err
		}
		if err := s.checkLink(caller(ctx), &changed); err != nil {
			return err
		}
		*link = changed
		return nil
	})
	return &linkOutput{Body: link}, err
}

func (s *server) deleteLink(ctx context.Context, in *LinkPath) (*struct{}, error) {
	link, err := s.find(ctx, in)
	if err != nil {
		return nil, err
	}
	noted(ctx).program, noted(ctx).before = link.Program, digestOf(link)
	return nil, s.LinkWriter.DeleteLink(ctx, in.Domain, in.Code)
}
