// Package admin is the HTTP API by which links, programmes and keys are kept
// and reports are read. It reads from what every edge holds in memory, and
// writes through the interfaces in admin.go.
//
// The routes are declared with huma, which derives /openapi.json from the same
// declarations; a test compares that document with what the server does.
package admin
