package engine

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
)

// libraryVersion is the release of chdb that this package is written and tested for.
const libraryVersion = "26.5.3"

// FindLibrary gives the path of libchdb.so: $CHDB_LIB_PATH, the cache that `make build` fills, or an installed one, in that
// order. The error says how to get it.
func FindLibrary() (string, error) {
	if path := os.Getenv("CHDB_LIB_PATH"); path != "" {
		if !isFile(path) {
			return "", fmt.Errorf("find the engine library: CHDB_LIB_PATH names %s, which is not a file", path)
		}
		return path, nil
	}
	places := []string{"/usr/local/lib/libchdb.so", "/usr/lib/libchdb.so"}
	if dir := cacheDir(); dir != "" {
		places = append([]string{filepath.Join(dir, "chdb-"+libraryVersion, "libchdb.so")}, places...)
	}
	for _, path := range places {
		if isFile(path) {
			return path, nil
		}
	}
	if runtime.GOOS != "linux" || runtime.GOARCH != "amd64" {
		return "", fmt.Errorf("find the engine library: it is not published for %s/%s; use a ClickHouse server of your own with --clickhouse", runtime.GOOS, runtime.GOARCH)
	}
	return "", fmt.Errorf("find the engine library: libchdb.so is not in %v; run `make build`, set CHDB_LIB_PATH, or use a ClickHouse server of your own with --clickhouse", places)
}

// cacheDir is where the build keeps what it downloads; the rule is the same as in fetch-library.sh.
func cacheDir() string {
	if dir := os.Getenv("WAYMARK_CACHE"); dir != "" {
		return dir
	}
	if dir := os.Getenv("XDG_CACHE_HOME"); dir != "" {
		return filepath.Join(dir, "waymark")
	}
	if home := os.Getenv("HOME"); home != "" {
		return filepath.Join(home, ".cache", "waymark")
	}
	return ""
}

func isFile(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular()
}
