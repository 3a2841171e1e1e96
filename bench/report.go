package main

import (
	"encoding/csv"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"unicode/utf8"
)

// report is what a suite publishes: NAME.md for people, NAME.csv for programs,
// and NAME.svg.
type report struct {
	name   string
	title  string
	notes  []string // a paragraph each, of Markdown
	tables []table
	csv    [][]string            // header and a line for each measurement
	plot   func(io.Writer) error // writes SVG; nil: there is none
}

// table is printed with its columns aligned, so that it is as readable on a
// terminal as where Markdown is rendered.
type table struct {
	title string
	head  []string
	rows  [][]string
}

// publish prints the report and writes its files into a directory.
func (r report) publish(dir string, w io.Writer) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("create the directory of the results: %w", err)
	}
	text := r.markdown()
	if _, err := io.WriteString(w, "\n"+text); err != nil {
		return fmt.Errorf("print the report: %w", err)
	}
	files := []struct {
		ending string
		write  func(io.Writer) error
	}{
		{".md", func(w io.Writer) error { _, err := io.WriteString(w, text); return err }},
		{".csv", func(w io.Writer) error { return csv.NewWriter(w).WriteAll(r.csv) }},
		{".svg", r.plot},
	}
	for _, file := range files {
		if file.write == nil {
			continue
		}
		if err := writeFile(filepath.Join(dir, r.name+file.ending), file.write); err != nil {
			return err
		}
	}
	return nil
}

func writeFile(path string, write func(io.Writer) error) error {
	file, err := os.Create(path)
	if err != nil {
		return fmt.Errorf("create a file of results: %w", err)
	}
	if err := write(file); err != nil {
		file.Close()
		return fmt.Errorf("write %s: %w", path, err)
	}
	if err := file.Close(); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return nil
}

func (r report) markdown() string {
	var b strings.Builder
	fmt.Fprintf(&b, "# %s\n", r.title)
	for _, note := range r.notes {
		fmt.Fprintf(&b, "\n%s\n", note)
	}
	for _, t := range r.tables {
		fmt.Fprintf(&b, "\n%s\n\n%s", t.title, t.markdown())
	}
	if r.plot != nil {
		fmt.Fprintf(&b, "\n![%s](%s.svg)\n", r.title, r.name)
	}
	return b.String()
}

// markdown has the first column to the left and the others to the right.
func (t table) markdown() string {
	widths := make([]int, len(t.head))
	for _, row := range append([][]string{t.head}, t.rows...) {
		for i, cell := range row {
			widths[i] = max(widths[i], utf8.RuneCountInString(cell), 3)
		}
	}
	var b strings.Builder
	line := func(cell func(i int) string) {
		for i := range widths {
			b.WriteString("| " + cell(i) + " ")
		}
		b.WriteString("|\n")
	}
	pad := func(row []string) func(int) string {
		return func(i int) string {
			space := strings.Repeat(" ", widths[i]-utf8.RuneCountInString(row[i]))
			if i == 0 {
				return row[i] + space
			}
			return space + row[i]
		}
	}
	line(pad(t.head))
	line(func(i int) string {
		if i == 0 {
			return strings.Repeat("-", widths[i])
		}
		return strings.Repeat("-", widths[i]-1) + ":"
	})
	for _, row := range t.rows {
		line(pad(row))
	}
	return b.String()
}
