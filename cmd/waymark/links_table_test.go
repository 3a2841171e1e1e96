package main

import (
	"errors"
	"io"
	"strings"
	"testing"
)

func readLinks(t *testing.T, input, format string) (links []map[string]any, lines []int, bad []int) {
	t.Helper()
	reader, err := newLinkReader(strings.NewReader(input), format)
	if err != nil {
		t.Fatal(err)
	}
	for {
		link, line, err := reader.next()
		var lineErr *lineError
		switch {
		case errors.Is(err, io.EOF):
			return links, lines, bad
		case errors.As(err, &lineErr):
			bad = append(bad, lineErr.line)
		case err != nil:
			t.Fatal(err)
		default:
			links, lines = append(links, link), append(lines, line)
		}
	}
}

func TestLinkReaderCSV(t *testing.T) {
	input := "\ufeff\"code\",url,referrer_id,utm_source,tags,status,click_param\n" +
		"a,https://example.com/a,ada,news,x;y,301,-\n" +
		"b,\"https://example.com/b,c\",,,,,\n" +
		"c,https://example.com/c,,,,many,\n" +
		"d,too,few\n" +
		"e,https://example.com/e,,,,,cid\n"
	links, lines, bad := readLinks(t, input, "csv")
	if len(links) != 3 || lines[0] != 2 || lines[1] != 3 || lines[2] != 6 {
		t.Fatalf("links %v of lines %v", links, lines)
	}
	if len(bad) != 2 || bad[0] != 4 || bad[1] != 5 {
		t.Errorf("bad lines %v, want 4 and 5", bad)
	}
	first := links[0]
	if first["status"] != 301 || first["click_param"] != "" || first["referrer"].(map[string]any)["id"] != "ada" ||
		first["utm"].(map[string]any)["source"] != "news" || len(first["tags"].([]string)) != 2 {
		t.Errorf("first link is %v", first)
	}
	if _, set := links[1]["click_param"]; set || links[1]["url"] != "https://example.com/b,c" {
		t.Errorf("second link is %v: an empty cell must leave the default", links[1])
	}
	if links[2]["click_param"] != "cid" {
		t.Errorf("third link is %v", links[2])
	}
}

func TestLinkReaderNDJSON(t *testing.T) {
	links, lines, bad := readLinks(t, "{\"url\":\"https://example.com\"}\n\nnonsense\n{\"url\":\"https://example.org\"}\n", "ndjson")
	if len(links) != 2 || lines[1] != 4 || len(bad) != 1 || bad[0] != 3 {
		t.Errorf("links %v of lines %v, bad %v", links, lines, bad)
	}
}

func TestLinkReaderUnknownColumn(t *testing.T) {
	if _, err := newLinkReader(strings.NewReader("code,uri\n"), "csv"); err == nil || !strings.Contains(err.Error(), `"uri"`) {
		t.Errorf("error is %v, want one that names the column", err)
	}
}

// TestRecordOfLink: what export writes, import reads back.
func TestRecordOfLink(t *testing.T) {
	link := map[string]any{
		"code": "a", "url": "https://example.com", "status": float64(307), "active": false, "click_param": "", "tags": []any{"x", "y"},
		"referrer": map[string]any{"id": "ada", "type": "user"}, "utm": map[string]any{"term": "t"}, "starts_at": nil,
	}
	back, err := linkOfRecord(linkColumns, recordOfLink(link))
	if err != nil {
		t.Fatal(err)
	}
	if back["status"] != 307 || back["active"] != false || back["click_param"] != "" || back["referrer"].(map[string]any)["type"] != "user" ||
		back["utm"].(map[string]any)["term"] != "t" || back["starts_at"] != nil {
		t.Errorf("read back %v", back)
	}
}
