//go:build !linux

package engine

import (
	"errors"
	"os"
	"os/exec"
)

// libchdb is published for Linux on x86-64 alone, so elsewhere FindLibrary ends matters before any of these is reached.
// They exist so that the rest of waymark builds and runs there against a ClickHouse server.

func memoryFile() (*os.File, error) { return nil, errors.ErrUnsupported }
func nullStdin() error              { return errors.ErrUnsupported }
func keepSignals(f func())          { f() }
func lockFile(*os.File) error       { return errors.ErrUnsupported }
func bindLife(*exec.Cmd)            {}
