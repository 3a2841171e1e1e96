package engine

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Rows are what a user may see where that is not everything. The engine has neither users nor row policies of its own: every
// session is the same user to it. What it has is additional_table_filters, a setting of the session that it puts behind
// every reading of a table, in subqueries and inside views, too. So the front sets it, together with what keeps it
// first (see filtersFirst), closes the session to changes, and refuses what would read around it (see guardRows).
//
// Row policies in a users.xml were rejected, though the engine reads one: they hold for all sessions alike, and a table that
// has one loses PREWHERE, counts from metadata and the like for everybody.
type Rows struct {
	// Prepare are statements that the session runs first, with every row in sight: they make the temporary tables that
	// Filters name.
	Prepare []string
	// Filters have an expression for each table, by database.table. A table without one has no rows for the user,
	// the engine's own (system.processes would show the queries of others) included.
	Filters map[string]string
}

// openTables are the tables of the engine that have no rows but what the query itself asks for.
const openTables = "'system.one', 'system.numbers', 'system.numbers_mt', 'system.zeros', 'system.zeros_mt'"

// filtersFirst keeps the engine from changing its plan, in which the filter comes right behind the table. Merged with the
// query's own conditions, moved to PREWHERE among them, or passed by the filter that a join makes at run time, it may come
// second, and a function that fails on a row of somebody else would tell what is in it. Indexes serve all the same. The
// condition cache knows nothing of the filter.
const filtersFirst = "enable_analyzer = 1, query_plan_enable_optimizations = 0, enable_join_runtime_filters = 0, " +
	"optimize_move_to_prewhere = 0, use_query_condition_cache = 0"

// confine makes a session see nothing but the rows. It comes before the settings of the user, which could cut its own queries
// short, and the session must be closed with readonly = 1 after them.
func (r *Rows) confine(c *connection) error {
	for _, sql := range r.Prepare {
		if err := c.exec(sql); err != nil {
			return err
		}
	}
	pairs := make([]string, 0, len(r.Filters))
	for _, table := range slices.Sorted(maps.Keys(r.Filters)) {
		pairs = append(pairs, quoteString(table)+", "+quoteString(r.Filters[table]))
	}
	// A view has the filters of what it reads, so it has none itself; what it reads may be a table function.
	filters, err := c.run(fmt.Sprintf(`
		SELECT toString(mapUpdate(mapFromArrays(groupArray(name), groupArray('0')), map(%s)))
		FROM
		(
			SELECT concat(database, '.', name) AS name FROM system.tables WHERE engine != 'View' AND NOT is_temporary
			UNION ALL
			SELECT concat('_table_function.', name) FROM system.table_functions WHERE lower(name) NOT IN (%s)
		)
		WHERE name NOT IN (%s)`, strings.Join(pairs, ", "), quoteStrings(slices.Sorted(maps.Keys(rowTableFunctions))), openTables), "TSVRaw", nil)
	if err != nil {
		return err
	}
	defer filters.free()
	return c.exec(fmt.Sprintf("SET %s, additional_table_filters = %s", filtersFirst, filters.bytes()))
}

func quoteStrings(list []string) string {
	quoted := make([]string, len(list))
	for i, s := range list {
		quoted[i] = quoteString(s)
	}
	return strings.Join(quoted, ", ")
}

// rowSettings are the settings that a user of some rows may send along, by name or by what their names begin with. Any other one
// could undo filtersFirst, this year or with the next engine.
var rowSettings = []string{
	"output_format_", "date_time_output_format", "enable_http_compression", "network_compression_method", "extremes", "max_execution_time",
	"max_result_rows", "max_result_bytes", "result_overflow_mode", "max_threads", "max_block_size", "join_use_nulls", "session_timezone",
}

// rowVerbs begin the statements that a user of some rows may send: EXPLAIN would tell how many rows others have.
var rowVerbs = map[string]bool{"SELECT": true, "WITH": true, "FROM": true, "(": true, "DESCRIBE": true, "DESC": true, "EXISTS": true, "SHOW": true}

// rowTableFunctions are the table functions that read no table.
var rowTableFunctions = map[string]bool{
	"numbers": true, "numbers_mt": true, "zeros": true, "zeros_mt": true, "generateseries": true, "generate_series": true, "values": true, "null": true,
}

// rowWords are refused wherever they stand: PREWHERE and SETTINGS come before the filter or go around it, and an Identifier
// parameter names what the front does not see. So is a name with a dot in it: the tables that the engine makes for a
// moment (`.tmp…`) may come after the filters, and an alias should never look like the name of a table.
var rowWords = map[string]bool{"prewhere": true, "settings": true, "identifier": true}

// guardRows refuses what a user of some rows must not do, beyond what guard refuses to all who only read. Functions are refused
// by name, called or not: arrayMap(f, …) calls f. The names of the engine's functions are in lower case.
func guardRows(q *request, functions, tableFunctions map[string]bool) error {
	refuse := func(what string) error {
		return exceptionf(codeAccessDenied, "ACCESS_DENIED", "Not enough privileges: %s is not for a key of one programme", what)
	}
	if !rowVerbs[q.statement.verb] {
		return refuse(q.statement.verb)
	}
	for _, id := range q.statement.identifier {
		name := strings.ToLower(id.name)
		function := functions[name] && !rowFunctions[name]
		tableFunction := id.called && tableFunctions[name] && !rowTableFunctions[name]
		if function || tableFunction || rowWords[name] || strings.Contains(name, ".") {
			return refuse(id.name)
		}
	}
	for _, s := range q.settings {
		if !slices.ContainsFunc(rowSettings, func(allowed string) bool { return strings.HasPrefix(s.name, allowed) }) {
			return refuse("the setting " + s.name)
		}
	}
	return nil
}
