package main

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"testing"
)

// A list is read to its end, page after page, and a failure on the way is not
// taken for the end.
func TestListAll(t *testing.T) {
	var asked []string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked = append(asked, r.URL.RawQuery)
		switch r.URL.Query().Get("cursor") {
		case "":
			fmt.Fprint(w, `{"rows":[{"id":"a"},{"id":"b"}],"cursor":"b&"}`)
		case "b&":
			fmt.Fprint(w, `{"rows":[{"id":"c"}],"cursor":"c"}`)
		default:
			w.WriteHeader(http.StatusServiceUnavailable)
			fmt.Fprint(w, `{"status":503,"detail":"away"}`)
		}
	}))
	defer server.Close()
	client := &apiClient{base: server.URL}
	var got []string
	for row, err := range listAll[struct{ ID string }](t.Context(), client, "/v1/x", "rows", url.Values{"program": {"p q"}, "state": {""}}) {
		got = append(got, fmt.Sprint(row.ID, err))
	}
	if want := []string{"a<nil>", "b<nil>", "c<nil>", "away"}; !slices.Equal(got, want) {
		t.Errorf("the list is %q, want %q", got, want)
	}
	if want := []string{"limit=1000&program=p+q", "cursor=b%26&limit=1000&program=p+q", "cursor=c&limit=1000&program=p+q"}; !slices.Equal(asked, want) {
		t.Errorf("the requests are %q, want %q", asked, want)
	}
}
