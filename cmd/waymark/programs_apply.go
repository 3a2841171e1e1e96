package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"waymark/tracker"
)

type programsApplyCommand struct {
	adminFlags
	Files  []string `arg:"" help:"Files to read, one programme each; - for standard input." placeholder:"FILE"`
	DryRun bool     `help:"Check the files and write nothing; needs no installation."`
}

// Run checks all files before it writes one, so that a mistake in the last
// leaves everything as it was.
func (c *programsApplyCommand) Run(ctx context.Context) error {
	documents := make([]*programDocument, len(c.Files))
	var faults []error
	for i, file := range c.Files {
		var err error
		if documents[i], err = readProgramDocument(file); err != nil {
			faults = append(faults, fmt.Errorf("read the programme in %s: %w", file, err))
		} else if c.DryRun {
			fmt.Printf("%s: %s is valid\n", file, documents[i].name)
		}
	}
	if err := errors.Join(faults...); err != nil || c.DryRun {
		return err
	}
	client, err := c.client()
	if err != nil {
		return err
	}
	for _, document := range documents {
		if err := document.apply(ctx, client); err != nil {
			return fmt.Errorf("write the programme in %s: %w", document.file, err)
		}
	}
	return nil
}

// programDocument is a file with a programme that is valid in itself.
type programDocument struct {
	file, name string
	json       []byte
	lines      tracker.DocumentLines
}

func readProgramDocument(file string) (*programDocument, error) {
	input := io.ReadCloser(os.Stdin)
	if file != "-" {
		opened, err := os.Open(file)
		if err != nil {
			return nil, err
		}
		input = opened
	}
	defer input.Close()
	content, err := io.ReadAll(input)
	if err != nil {
		return nil, err
	}
	return parseProgramDocument(file, content)
}

// parseProgramDocument takes the name from the document, else from the file's.
func parseProgramDocument(file string, content []byte) (*programDocument, error) {
	d := &programDocument{file: file, json: content}
	if !bytes.HasPrefix(bytes.TrimSpace(content), []byte("{")) {
		var err error
		if d.json, d.lines, err = tracker.JSONFromYAML(content); err != nil {
			return nil, err
		}
	}
	var named struct{ Name string }
	_ = json.Unmarshal(d.json, &named) // ParseProgram says what is wrong with it
	if d.name = named.Name; d.name == "" && file != "-" {
		d.name = strings.TrimSuffix(filepath.Base(file), filepath.Ext(file))
	}
	program, err := tracker.ParseProgram(d.name, d.json)
	if err == nil {
		err = program.Validate()
	}
	return d, d.lines.Locate(err)
}

// apply writes the programme and prints what came of it.
func (d *programDocument) apply(ctx context.Context, client *apiClient) error {
	path := "/v1/programs/" + url.PathEscape(d.name)
	var before, after json.RawMessage
	err := client.call(ctx, "GET", path, nil, &before)
	if p, ok := errors.AsType[*problem](err); err != nil && !(ok && p.Status == http.StatusNotFound) {
		return err
	}
	err = client.call(ctx, "PUT", path, json.RawMessage(d.json), &after)
	if p, ok := errors.AsType[*problem](err); ok && p.Field != "" {
		return d.lines.Locate(&tracker.FieldError{Field: p.Field, Detail: p.Detail})
	}
	if err != nil {
		return err
	}
	var written tracker.Program
	if err := json.Unmarshal(after, &written); err != nil {
		return fmt.Errorf("read the answer: %w", err)
	}
	if bytes.Equal(before, after) {
		fmt.Printf("%s: unchanged, in force since %s\n", d.name, shownTime(written.EffectiveFrom))
		return nil
	}
	fmt.Printf("%s: in force from %s\n", d.name, shownTime(written.EffectiveFrom))
	return nil
}
