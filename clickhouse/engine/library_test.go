package engine

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// fetch runs fetch-library.sh with nothing on its PATH but what it may rely on, and the programs given as shell scripts.
func fetch(t *testing.T, cache string, programs map[string]string) (stdout, stderr string, ok bool) {
	t.Helper()
	bin := t.TempDir()
	for _, name := range []string{"sh", "uname", "mkdir", "df", "awk", "mktemp", "rm", "cat", "cut", "tail", "du", "sha512sum", "tar", "gzip", "chmod", "mv", "sleep", "find"} {
		path, err := exec.LookPath(name)
		if err != nil {
			t.Skipf("this machine has no %s", name)
		}
		if err := os.Symlink(path, filepath.Join(bin, name)); err != nil {
			t.Fatal(err)
		}
	}
	for name, script := range programs {
		path := filepath.Join(bin, name)
		os.Remove(path)
		if err := os.WriteFile(path, []byte("#!/bin/sh\n"+script), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	var out, errs strings.Builder
	cmd := exec.Command("/bin/sh", "fetch-library.sh")
	cmd.Env = []string{"PATH=" + bin, "WAYMARK_CACHE=" + cache}
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	return out.String(), errs.String(), err == nil
}

func TestFetchLibrary(t *testing.T) {
	if _, err := os.Stat("/usr/local/lib/libchdb.so"); err == nil {
		t.Skip("libchdb is installed, so the script has nothing to do")
	}
	wrongPackage := "echo not the engine > lib.tgz; echo lib.tgz"
	cases := []struct {
		name     string
		programs map[string]string
		says     string
	}{
		{"without npm", nil, "npm is missing"},
		{"npm fails", map[string]string{"npm": "echo ENOTFOUND >&2; exit 1"}, "could not download"},
		{"another package", map[string]string{"npm": wrongPackage}, "not the expected"},
		{"another platform", map[string]string{"uname": "echo Plan9"}, "not published for Plan9/Plan9"},
		{"disk full", map[string]string{"npm": "exit 1", "df": "echo header; echo / 9 9 1024 9 /"}, "has 1 MB free"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			cache := t.TempDir()
			stdout, stderr, ok := fetch(t, cache, c.programs)
			lines := strings.Split(strings.TrimSpace(stderr), "\n")
			if last := lines[len(lines)-1]; ok || stdout != "" || !strings.HasPrefix(last, "fetch-library: ") || !strings.Contains(last, c.says) {
				t.Errorf("ok %v, stdout %q, last line %q; want a failure that says %q", ok, stdout, last, c.says)
			}
			if left, _ := filepath.Glob(filepath.Join(cache, "*", "*")); len(left) > 0 {
				t.Errorf("left behind: %v", left)
			}
		})
	}
}

func TestFetchLibraryWithOneThere(t *testing.T) {
	cache := t.TempDir()
	library := filepath.Join(cache, "chdb-"+libraryVersion, "libchdb.so")
	if err := os.MkdirAll(filepath.Dir(library), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(library, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if stdout, stderr, ok := fetch(t, cache, nil); !ok || stdout != library+"\n" || stderr != "" {
		t.Errorf("ok %v, stdout %q, stderr %q", ok, stdout, stderr)
	}
	// The program looks in the same places as the script.
	t.Setenv("CHDB_LIB_PATH", "")
	t.Setenv("WAYMARK_CACHE", cache)
	if path, err := FindLibrary(); path != library || err != nil {
		t.Errorf("FindLibrary gives %q, %v; want %q", path, err, library)
	}
}

func TestFindLibraryNamedButMissing(t *testing.T) {
	t.Setenv("CHDB_LIB_PATH", filepath.Join(t.TempDir(), "nothing.so"))
	if _, err := FindLibrary(); err == nil || !strings.Contains(err.Error(), "CHDB_LIB_PATH") {
		t.Errorf("the error does not name the variable: %v", err)
	}
}
