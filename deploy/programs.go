// Package deploy holds what ships beside the binary: example programmes.
package deploy

import "embed"

// Programs are the example programmes, one YAML document a file, named after
// the programme.
//
//go:embed programs/*.yaml
var Programs embed.FS
