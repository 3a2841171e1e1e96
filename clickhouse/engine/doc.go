// Package engine is the embedded ClickHouse: libchdb, the engine as a shared library, behind an HTTP server that speaks
// ClickHouse's own interface, so that clickhouse-go, curl, Grafana and any other client talk to it as to a server.
//
// `waymark up` runs it in a child process (Supervise), which calls Serve. A request goes this way:
//
//	server.go     admit it, or refuse it when too many are there already
//	auth.go       who is it; what a read-only user must not do
//	rows.go       what a user who may see some rows must not do (rows_functions.go), and how its session sees no others
//	request.go    parameters, headers and body → database, settings, statement, data
//	statement.go  one statement, cut from its data (lexer.go)
//	upload.go     an INSERT's data, whole, in memory or on disk, before the engine sees any of it
//	storage.go    a session of its own (binding.go calls the library)
//	stream.go     rows as they come, or all at once
//	reply.go      headers, compression (compress.go), exceptions (errors.go)
//
// Invariants:
//   - There is one engine in a process, for the life of the process: the library cannot be unloaded.
//   - A session belongs to one request and runs one statement at a time. It is never closed while a statement runs on it:
//     the library would abort the process.
//   - Data directories are opened only after repair.go has been over them. A killed engine may have noted an insert as done
//     that it never finished, and would skip its replay.
//   - Go's signal handlers are put back after every boot and shutdown of the library (platform_linux.go).
//
// What a server has and this has not: native protocol, sessions over several requests, SQL users (CREATE USER), system
// log tables such as system.query_log. The library is published for Linux on x86-64; elsewhere, and when it is outgrown,
// waymark is pointed at a ClickHouse server.
package engine
