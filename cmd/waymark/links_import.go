package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/schollz/progressbar/v3"
)

type linksImportCommand struct {
	adminFlags
	File         string `arg:"" help:"File to read, - for standard input."`
	Format       string `help:"csv or ndjson; by the file's ending without it." enum:",csv,ndjson" default:""`
	SkipExisting bool   `help:"Pass over codes that exist already instead of reporting them."`
}

// importBatch is how many links one request creates: enough to make the
// request's own cost vanish, few enough for a lively progress display.
const importBatch = 1000

func (c *linksImportCommand) Run(ctx context.Context) error {
	client, err := c.client()
	if err != nil {
		return err
	}
	input, size := io.ReadCloser(os.Stdin), int64(-1)
	if c.File != "-" {
		file, err := os.Open(c.File)
		if err != nil {
			return fmt.Errorf("open the file to import: %w", err)
		}
		defer file.Close()
		if info, err := file.Stat(); err == nil {
			size = info.Size()
		}
		input = file
	}
	bar := newProgress("importing links", "B", size)
	reader, err := newLinkReader(io.TeeReader(input, bar), linkFormat(c.Format, c.File))
	if err != nil {
		return fmt.Errorf("read %s: %w", c.File, err)
	}
	result := linkImport{client: client, skipExisting: c.SkipExisting, bar: bar}
	err = result.run(ctx, reader)
	bar.Exit()
	fmt.Fprintf(os.Stderr, "%d created, %d skipped, %d failed\n", result.created, result.skipped, result.failed)
	if err != nil {
		return fmt.Errorf("import %s: %w", c.File, err)
	}
	if result.failed > 0 {
		return fmt.Errorf("import %s: %d links were refused, see above; correct them and import again with --skip-existing", c.File, result.failed)
	}
	return nil
}

// linkFormat is the format asked for, or the one that the file's ending tells.
func linkFormat(asked, file string) string {
	if asked != "" {
		return asked
	}
	if strings.HasSuffix(file, ".ndjson") || strings.HasSuffix(file, ".jsonl") {
		return "ndjson"
	}
	return "csv"
}

// linkImport sends links in batches and reports the refused ones by line.
type linkImport struct {
	client                   *apiClient
	skipExisting             bool
	bar                      *progressbar.ProgressBar
	created, skipped, failed int

	batch []map[string]any
	lines []int
}

func (i *linkImport) run(ctx context.Context, reader *linkReader) error {
	for {
		link, line, err := reader.next()
		var bad *lineError
		switch {
		case errors.Is(err, io.EOF):
			return i.flush(ctx)
		case errors.As(err, &bad):
			i.report(bad.line, bad.err.Error())
			continue
		case err != nil:
			return err
		}
		i.batch, i.lines = append(i.batch, link), append(i.lines, line)
		if len(i.batch) == importBatch {
			if err := i.flush(ctx); err != nil {
				return err
			}
		}
	}
}

func (i *linkImport) flush(ctx context.Context) error {
	if len(i.batch) == 0 {
		return nil
	}
	var answer struct {
		Created int `json:"created"`
		Failed  []struct {
			Index  int    `json:"index"`
			Field  string `json:"field"`
			Detail string `json:"detail"`
			Status int    `json:"status"`
		} `json:"failed"`
	}
	if err := i.client.call(ctx, "POST", "/v1/links", i.batch, &answer); err != nil {
		return fmt.Errorf("create the links of lines %d to %d: %w", i.lines[0], i.lines[len(i.lines)-1], err)
	}
	i.created += answer.Created
	for _, failure := range answer.Failed {
		if i.skipExisting && failure.Field == "code" && strings.Contains(failure.Detail, "exists") {
			i.skipped++
			continue
		}
		i.report(i.lines[failure.Index], failure.Field+": "+failure.Detail)
	}
	i.batch, i.lines = i.batch[:0], i.lines[:0]
	return nil
}

func (i *linkImport) report(line int, text string) {
	i.failed++
	i.bar.Clear()
	fmt.Fprintf(os.Stderr, "line %d: %s\n", line, text)
}
