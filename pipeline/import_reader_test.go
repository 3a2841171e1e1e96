package pipeline

import (
	"errors"
	"io"
	"reflect"
	"strings"
	"testing"
)

func testMapper(t testing.TB, m ImportMapping) *importMapper {
	t.Helper()
	mapper, err := newImportMapper(m)
	if err != nil {
		t.Fatal(err)
	}
	return mapper
}

// readTexts reads all rows as maps; refused ones are there by their error.
func readTexts(t testing.TB, reader importRowReader) (rows []map[string]string, refused []string, lines []int) {
	t.Helper()
	for {
		row, err := reader.next()
		var bad *RowError
		switch {
		case errors.Is(err, io.EOF):
			return rows, refused, lines
		case errors.As(err, &bad):
			refused = append(refused, bad.Error())
			continue
		case err != nil:
			t.Fatal(err)
		}
		texts := map[string]string{}
		for field, text := range row.texts {
			if text != "" {
				texts[importNames[field]] = text
			}
		}
		for name, text := range row.properties {
			texts["properties."+name] = text
		}
		rows, lines = append(rows, texts), append(lines, row.line)
	}
}

// TestImportReadersAgree: the same history in each format gives the same rows.
func TestImportReadersAgree(t *testing.T) {
	want := []map[string]string{
		{"event": "click", "time": "2025-01-02 03:04:05", "visitor_id": "a;b", "referrer.id": "s-1", "referrer.type": "supplier", "properties.page": "x,\"y\"\nz"},
		{"event": "purchase", "time": "2025-01-02 03:04:06", "value": "19.90"},
	}
	for name, text := range map[string]string{
		"CSV": "\ufeffevent,time,cookie,value,referrer_id,referrer.type,landing\n" +
			"click,2025-01-02 03:04:05,a;b,,s-1,supplier,\"x,\"\"y\"\"\nz\"\npurchase,2025-01-02 03:04:06,,19.90,,,\n",
		"semicolons": "event;time;cookie;value;referrer_id;referrer.type;landing\r\n" +
			"click;2025-01-02 03:04:05;\"a;b\";;s-1;supplier;\"x,\"\"y\"\"\nz\"\r\npurchase;2025-01-02 03:04:06;;19.90;;;\r\n",
		"tabs": "event\ttime\tcookie\tvalue\treferrer_id\treferrer.type\tlanding\n" +
			"click\t2025-01-02 03:04:05\ta;b\t\ts-1\tsupplier\t\"x,\"\"y\"\"\nz\"\npurchase\t2025-01-02 03:04:06\t\t19.90\t\t\t\n",
		"NDJSON": "\n" + `{"event":"click","time":"2025-01-02 03:04:05","cookie":"a;b","referrer":{"id":"s-1","type":"supplier"},"landing":"x,\"y\"\nz"}` + "\r\n\n" +
			`{"value":19.90,"cookie":null,"time":"2025-01-02 03:04:06","event":"purchase"}`,
	} {
		t.Run(name, func(t *testing.T) {
			mapper := testMapper(t, ImportMapping{Columns: map[string]string{"visitor_id": "cookie", "properties.page": "landing"}})
			reader, err := newImportRowReader(strings.NewReader(text), "", mapper)
			if err != nil {
				t.Fatal(err)
			}
			got, refused, _ := readTexts(t, reader)
			if !reflect.DeepEqual(got, want) || refused != nil {
				t.Errorf("read %q and refused %q, expected %q", got, refused, want)
			}
		})
	}
}

// TestImportRefusals: a broken row costs itself alone, and is named by its line.
func TestImportRefusals(t *testing.T) {
	long := `{"event":"` + strings.Repeat("x", importLineMax) + `"}`
	for _, c := range []struct {
		name, text string
		lines      []int    // of the rows that are read
		refused    []string // beginnings
	}{
		{"CSV", "event,time\nclick,1\nclick\n\"a\nb\",2\nx\"y,3\nclick,\xff\nclick,4\n", []int{2, 4, 8}, []string{
			"line 3: wrong number of fields", "line 6: bare", "line 7: it is not valid UTF-8"}},
		{"NDJSON", "{\"event\":\"click\"}\n{\"event\":\n[]\n{\"event\":\"a\",\"event\":\"b\"}\n{\"event\":\"\xff\"}\n{\"event\":[\"a\"]}\n" + long + "\n{\"nonsense\":1}\n{\"event\":\"scan\"}",
			[]int{1, 9}, []string{
				"line 2: it is no JSON object", "line 3: it is no JSON object", "line 4: event: is given twice", "line 5: it is not valid UTF-8",
				"line 6: event: must be a text", "line 7: the line has more than", "line 8: nonsense: there is no such field; name the one that it is with --map FIELD=nonsense"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			reader, err := newImportRowReader(strings.NewReader(c.text), "", testMapper(t, ImportMapping{}))
			if err != nil {
				t.Fatal(err)
			}
			_, refused, lines := readTexts(t, reader)
			if !reflect.DeepEqual(lines, c.lines) {
				t.Errorf("read the rows of lines %v, expected %v", lines, c.lines)
			}
			for i, got := range refused {
				if i >= len(c.refused) || !strings.HasPrefix(got, c.refused[i]) {
					t.Errorf("refused %q, expected %q", got, c.refused)
				}
			}
			if len(refused) != len(c.refused) {
				t.Errorf("refused %d rows, expected %d", len(refused), len(c.refused))
			}
		})
	}
}

func TestImportHeaderErrors(t *testing.T) {
	for text, want := range map[string]string{
		"event,tyme\n":         `column "tyme"`,
		"event,time\n":         `column "cookie", which field visitor_id is mapped from, is not in the header`,
		"":                     "header line",
		` [{"event":"click"}]`: "JSON array",
	} {
		_, err := newImportRowReader(strings.NewReader(text), "", testMapper(t, ImportMapping{Columns: map[string]string{"visitor_id": "cookie"}}))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q gives the error %v, expected one that says %q", text, err, want)
		}
	}
}

// FuzzImportRows: whatever the bytes, reading ends, without a panic, and goes
// forward row by row.
func FuzzImportRows(f *testing.F) {
	f.Add([]byte("event,time\nclick,1\n\"x\ny\",2"), false)
	f.Add([]byte("{\"event\":\"click\"}\n\n{\"referrer\":{\"id\":\"a\"}}"), true)
	f.Add([]byte("\ufeffevent;time\r\nclick;\"1"), false)
	f.Fuzz(func(t *testing.T, text []byte, ndjson bool) {
		format := ImportCSV
		if ndjson {
			format = ImportNDJSON
		}
		reader, err := newImportRowReader(strings.NewReader(string(text)), format, testMapper(t, ImportMapping{IgnoreUnknown: true}))
		if err != nil {
			return
		}
		end, line := int64(0), 0
		for {
			row, err := reader.next()
			var bad *RowError
			if errors.As(err, &bad) {
				if bad.end < end || bad.end > int64(len(text)) {
					t.Fatalf("a refused row ends at byte %d of %d, after one that ends at %d", bad.end, len(text), end)
				}
				end = bad.end
				continue
			}
			if err != nil {
				return
			}
			if row.end <= end || row.end > int64(len(text)) || row.line <= line {
				t.Fatalf("row of line %d ends at byte %d of %d, after line %d which ends at %d", row.line, row.end, len(text), line, end)
			}
			end, line = row.end, row.line
			_ = row.text()
		}
	})
}
