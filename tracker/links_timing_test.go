package tracker

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"waymark/tracker/wire"
)

// manyCode is the code of the n-th link of a large table.
func manyCode(n uint32) string { return "LOVE-" + strconv.FormatUint(uint64(n)*2654435761%(1<<32), 36) }

// manyLink is a link of ordinary size.
func manyLink(n uint32) *wire.Link {
	return &wire.Link{
		Number: n, Code: manyCode(n), Url: "https://shop.example/landing?partner=" + strconv.Itoa(int(n)),
		Program: "wedding", Channel: "qr", ReferrerId: "s-" + strconv.Itoa(int(n)), ReferrerType: "supplier",
		RefereeType: "couple", CreatedAtMs: 1_790_000_000_000, UpdatedAtMs: 1_790_000_000_000,
	}
}

// applyMany writes or deletes the links from first to last without keeping a
// log.
func applyMany(b *linksBench, first, last uint32, deleted bool) {
	b.Helper()
	offset := b.Offset()
	var key, value []byte
	for n := first; n <= last; n++ {
		link := manyLink(n)
		link.Deleted = deleted
		key = append(append(key[:0], '/'), link.Code...)
		value = append(value[:0], make([]byte, link.SizeVT())...)
		link.MarshalToSizedBufferVT(value)
		if err := b.Apply(key, value, offset); err != nil {
			b.Fatal(err)
		}
		offset++
	}
}

var timingSizes = []uint32{1_000, 100_000, 1_000_000}

func BenchmarkApply(b *testing.B) {
	link := manyLink(1)
	size := link.SizeVT()
	b.SetBytes(int64(size))
	b.ReportAllocs()
	bench := newLinksBench(b)
	values := make([][]byte, b.N)
	keys := make([][]byte, b.N)
	for i := range values {
		link := manyLink(uint32(i + 1))
		values[i], _ = link.MarshalVT()
		keys[i] = []byte("/" + link.Code)
	}
	b.ResetTimer()
	for i := range b.N {
		if err := bench.Apply(keys[i], values[i], int64(i)); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkResolve(b *testing.B) {
	for _, size := range timingSizes {
		bench := newLinksBench(b)
		applyMany(bench, 1, size, false)
		codes := func(prefix string, n uint32) [][]byte {
			all := make([][]byte, 1<<12)
			for i := range all {
				all[i] = []byte(prefix + manyCode(1+rand.Uint32N(n)))
			}
			return all
		}
		for _, c := range []struct {
			name  string
			codes [][]byte
		}{{"hot", codes("", 100)}, {"cold", codes("", size)}, {"unknown", codes("no-", size)}} {
			for i := range 1000 {
				bench.Resolve(nil, c.codes[i%len(c.codes)])
			}
			bench.cache.Wait()
			b.Run(fmt.Sprintf("%s/links=%d", c.name, size), func(b *testing.B) {
				b.ReportAllocs()
				b.RunParallel(func(pb *testing.PB) {
					for i := 0; pb.Next(); i++ {
						bench.Resolve(nil, c.codes[i&(1<<12-1)])
					}
				})
			})
		}
	}
}

// BenchmarkMemory reports the resident bytes that a link costs, everything
// included, and the time to write and load a snapshot of them. The size comes
// from the environment, ten million take two gigabytes of disk.
func BenchmarkMemory(b *testing.B) {
	size := uint32(1_000_000)
	if text := os.Getenv("WAYMARK_TIMING_LINKS"); text != "" {
		n, err := strconv.ParseUint(text, 10, 32)
		if err != nil {
			b.Fatal(err)
		}
		size = uint32(n)
	}
	path := filepath.Join(b.TempDir(), "snapshot")
	b.Run("fill", func(b *testing.B) {
		for b.Loop() {
			before := residentBytes(b)
			bench := newLinksBench(b)
			applyMany(bench, 1, size, false)
			b.ReportMetric((residentBytes(b)-before)/float64(size), "resident-B/link")
			if err := bench.WriteSnapshot(path, [16]byte{}); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(float64(size)*float64(b.N)/b.Elapsed().Seconds(), "links/s")
	})
	b.Run("load", func(b *testing.B) {
		for b.Loop() {
			before := residentBytes(b)
			bench := newLinksBench(b)
			if _, err := bench.LoadSnapshot(path); err != nil {
				b.Fatal(err)
			}
			b.ReportMetric((residentBytes(b)-before)/float64(size), "resident-B/link")
		}
		b.ReportMetric(float64(size)*float64(b.N)/b.Elapsed().Seconds(), "links/s")
	})
}

// residentBytes is the resident size of this process after a collection.
func residentBytes(b *testing.B) float64 {
	runtime.GC()
	time.Sleep(500 * time.Millisecond) // regions that were dropped are unmapped in the background
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		b.Skip("no /proc here")
	}
	for line := range strings.Lines(string(status)) {
		if rest, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			kib, err := strconv.Atoi(strings.Fields(rest)[0])
			if err != nil {
				b.Fatal(err)
			}
			return float64(kib) * 1024
		}
	}
	b.Fatal("no VmRSS in /proc/self/status")
	return 0
}
