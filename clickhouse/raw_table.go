package clickhouse

import (
	"slices"
	"strings"
	"sync"

	"github.com/ClickHouse/ch-go/proto"
	"github.com/ClickHouse/clickhouse-go/v2"

	"waymark/tracker"
)

// rawTable is a table that ingest inserts events into. Everything else is made
// of these by views.
type rawTable struct {
	name    string
	columns []column
	// insert and types describe the insert to the client, which would otherwise
	// ask the server for the types before each.
	insert string
	types  []clickhouse.ColumnNameAndType
	blocks sync.Pool // of *nativeBlock
}

// rawTables are those that the audit goes through, too.
var (
	eventsTable    = newRawTable("events", eventColumns)
	decisionsTable = newRawTable("decisions", decisionColumns)
	rawTables      = []*rawTable{eventsTable, decisionsTable}
)

// decisionColumns are the stored columns of decisions.
var decisionColumns = slices.DeleteFunc(slices.Clone(eventColumns), func(c column) bool {
	return !slices.Contains([]string{
		"event", "time", "program", "user_id", "id", "value", "currency", "properties", "source", "partition", "offset",
	}, c.name)
})

func newRawTable(name string, columns []column) *rawTable {
	t := &rawTable{name: name, columns: columns}
	var names []string
	for _, c := range columns {
		names = append(names, "`"+c.name+"`")
		t.types = append(t.types, clickhouse.ColumnNameAndType{Name: c.name, Type: c.kind})
	}
	t.insert = "INSERT INTO waymark." + name + " (" + strings.Join(names, ", ") + ")"
	t.blocks.New = func() any {
		n := &nativeBlock{table: t, columns: make([]values, len(columns))}
		for i, c := range columns {
			n.columns[i].items = make([]values, c.items)
		}
		n.reader = proto.NewReader(&n.source)
		return n
	}
	return t
}

// rawTableOf is the table that a block goes to.
func rawTableOf(block *tracker.Block) *rawTable {
	if block.Decisions {
		return decisionsTable
	}
	return eventsTable
}
