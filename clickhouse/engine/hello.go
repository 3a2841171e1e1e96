package engine

import (
	"fmt"
	"strings"

	chproto "github.com/ClickHouse/ch-go/proto"
	"github.com/ClickHouse/clickhouse-go/v2/lib/column"
	"github.com/ClickHouse/clickhouse-go/v2/lib/proto"
)

// helloQuery is what clickhouse-go asks before anything else, as Native at its own protocol revision.
const helloQuery = "SELECT displayName(), version(), revision(), timezone()"

// isHello tells whether the request is clickhouse-go's hello.
func (q *request) isHello() bool {
	return q.helloRevision > 0 && q.format == "Native" && strings.TrimSpace(q.statement.text) == helloQuery
}

// hello is the answer to helloQuery at the client's revision. The engine can write Native at revision 0 only, which lacks
// the block header that the client expects here; so the block is made by hand, and the revision it names is 0, which
// makes the client read everything after it as the engine writes it.
func (s *storage) hello(revision int) ([]byte, error) {
	columns := []struct {
		name, kind string
		value      any
	}{
		{"displayName()", "String", s.displayName},
		{"version()", "String", s.version},
		{"revision()", "UInt32", uint32(0)},
		{"timezone()", "String", s.timezone},
	}
	block := proto.NewBlock()
	values := make([]any, 0, len(columns))
	for _, c := range columns {
		if err := block.AddColumn(c.name, column.Type(c.kind)); err != nil {
			return nil, fmt.Errorf("answer the client's hello: %w", err)
		}
		values = append(values, c.value)
	}
	if err := block.Append(values...); err != nil {
		return nil, fmt.Errorf("answer the client's hello: %w", err)
	}
	var buf chproto.Buffer
	if err := block.Encode(&buf, uint64(revision)); err != nil {
		return nil, fmt.Errorf("answer the client's hello: %w", err)
	}
	return buf.Buf, nil
}
