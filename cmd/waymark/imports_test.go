package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// The folders at the top and what each may import of the others: data flows
// one way, and the stages meet in cmd/waymark alone.
var mayImport = map[string][]string{
	"cmd":        {"tracker", "pipeline", "clickhouse", "loadtest", "deploy"},
	"tracker":    {},
	"pipeline":   {"tracker"},
	"clickhouse": {"tracker"},
	"bench":      {"cmd", "tracker", "pipeline", "clickhouse", "loadtest", "deploy"},
	"loadtest":   {},
	"deploy":     {},
}

func TestImportTable(t *testing.T) {
	list := exec.Command("go", "list", "-json=ImportPath,Imports,TestImports", "waymark/...")
	list.Dir = filepath.Join("..", "..")
	list.Stderr = os.Stderr
	output, err := list.Output()
	if err != nil {
		t.Fatal(err)
	}
	packages := 0
	for decoder := json.NewDecoder(strings.NewReader(string(output))); decoder.More(); packages++ {
		var pkg struct {
			ImportPath           string
			Imports, TestImports []string
		}
		if err := decoder.Decode(&pkg); err != nil {
			t.Fatal(err)
		}
		folder := folderOf(pkg.ImportPath)
		allowed, known := mayImport[folder]
		if !known {
			t.Errorf("package %s: %q is none of the project's folders", pkg.ImportPath, folder)
		}
		for _, imported := range slices.Concat(pkg.Imports, pkg.TestImports) {
			other := folderOf(imported)
			if other != "" && other != folder && !slices.Contains(allowed, other) {
				t.Errorf("package %s imports %s, which %s must not", pkg.ImportPath, imported, folder)
			}
		}
	}
	if packages < 5 {
		t.Fatalf("go list found %d packages, so this test has seen nothing", packages)
	}
}

// folderOf is the top folder of a package of this module, "" for others.
func folderOf(path string) string {
	rest, ours := strings.CutPrefix(path, "waymark/")
	if !ours {
		return ""
	}
	folder, _, _ := strings.Cut(rest, "/")
	return folder
}

// TestFolders: nothing stands at the top besides what the layout names.
func TestFolders(t *testing.T) {
	known := []string{
		"cmd", "tracker", "pipeline", "clickhouse", "bench", "loadtest", "deploy",
		"go.mod", "go.sum", "Makefile", "README.md", "LICENSE", "CHANGELOG.md", ".ci", ".gitignore",
	}
	list := exec.Command("git", "ls-files")
	list.Dir = filepath.Join("..", "..")
	output, err := list.Output()
	if err != nil {
		t.Skipf("no git here: %v", err)
	}
	for file := range strings.Lines(string(output)) {
		top, _, _ := strings.Cut(strings.TrimSpace(file), "/")
		if !slices.Contains(known, top) {
			t.Errorf("%s: %q is none of the project's folders", strings.TrimSpace(file), top)
		}
	}
}
