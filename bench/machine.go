package main

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"runtime/debug"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// machine describes where and with what something was measured, a line each.
func machine(binary string) []string {
	var system unix.Utsname
	kernel := "unknown"
	if unix.Uname(&system) == nil {
		kernel = unix.ByteSliceToString(system.Release[:])
	}
	return []string{
		fmt.Sprintf("%s, %d cores, Linux %s, %s", processor(), onlineCores(), kernel, runtime.GOARCH),
		fmt.Sprintf("%s, fasthttp %s, waymark %s, commit %s", runtime.Version(), versionOf("github.com/valyala/fasthttp"),
			output(binary, "version"), output("git", "rev-parse", "--short", "HEAD")),
		time.Now().UTC().Format("2006-01-02 15:04 MST"),
	}
}

// processor is the model that the kernel names.
func processor() string {
	content, _ := os.ReadFile("/proc/cpuinfo")
	for line := range strings.Lines(string(content)) {
		if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return "unknown processor"
}

// onlineCores is how many cores the machine has, whatever this process may use.
func onlineCores() int {
	content, _ := os.ReadFile("/proc/cpuinfo")
	return max(strings.Count(string(content), "processor\t:"), 1)
}

// versionOf is the version of a module in this program.
func versionOf(module string) string {
	info, ok := debug.ReadBuildInfo()
	if ok {
		for _, dependency := range info.Deps {
			if dependency.Path == module {
				return dependency.Version
			}
		}
	}
	return "unknown"
}

// output is the first line that a command prints, "unknown" if it fails.
func output(name string, args ...string) string {
	text, err := exec.Command(name, args...).CombinedOutput()
	line, _, _ := strings.Cut(strings.TrimSpace(string(text)), "\n")
	if err != nil || line == "" {
		return "unknown"
	}
	return line
}
