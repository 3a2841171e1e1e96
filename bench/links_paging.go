package main

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// pageOutEvery is how often the pages of the store are taken away: a link that
// is asked for less often than that comes from the disk each time.
const pageOutEvery = 100 * time.Millisecond

// keepPagingOut takes the pages of a file from a process and from the page cache
// again and again, as if the machine had no memory for them. A limit of the
// cgroup would do it too, but it can rarely be set from inside a container, and
// it would take the program's own pages as well.
func keepPagingOut(ctx context.Context, pid int, path string) error {
	process, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return fmt.Errorf("open process %d: %w", pid, err)
	}
	defer unix.Close(process)
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	mapped, err := mappings(pid, path)
	if err != nil {
		return err
	}
	if len(mapped) == 0 {
		return fmt.Errorf("process %d has not mapped %s", pid, path)
	}
	for ctx.Err() == nil {
		for i := range mapped {
			if _, _, errno := unix.Syscall6(unix.SYS_PROCESS_MADVISE, uintptr(process), uintptr(unsafe.Pointer(&mapped[i])), 1, unix.MADV_PAGEOUT, 0, 0); errno != 0 {
				return fmt.Errorf("take pages from process %d, which needs root: %w", pid, errno)
			}
		}
		if err := unix.Fadvise(int(file.Fd()), 0, 0, unix.FADV_DONTNEED); err != nil {
			return fmt.Errorf("drop %s from the page cache: %w", path, err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(pageOutEvery):
		}
	}
	return nil
}

// span is a struct iovec with an address in another process.
type span struct{ start, length uintptr }

// mappings lists where a process has mapped a file (proc(5), maps).
func mappings(pid int, path string) ([]span, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/maps", pid))
	if err != nil {
		return nil, fmt.Errorf("list the mappings of process %d: %w", pid, err)
	}
	var spans []span
	for line := range strings.Lines(string(text)) {
		if !strings.HasSuffix(strings.TrimSpace(line), path) {
			continue
		}
		addresses, _, _ := strings.Cut(line, " ")
		from, to, _ := strings.Cut(addresses, "-")
		start, err := strconv.ParseUint(from, 16, 64)
		if err != nil {
			return nil, fmt.Errorf("read the mappings of process %d: %w", pid, err)
		}
		end, err := strconv.ParseUint(to, 16, 64)
		if err != nil {
			return nil, fmt.Errorf("read the mappings of process %d: %w", pid, err)
		}
		spans = append(spans, span{uintptr(start), uintptr(end - start)})
	}
	return spans, nil
}
