package tracker

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"waymark/tracker/wire"
)

// writtenSnapshot is a snapshot of two chunks, two programmes and offset 100.
func writtenSnapshot(t testing.TB) []byte {
	t.Helper()
	b := newLinksBench(t)
	if err := b.ApplyProgram(foldingProgram("wedding")); err != nil {
		t.Fatal(err)
	}
	for n := uint32(1); n <= 90; n++ {
		link := &wire.Link{Number: n, Code: fmt.Sprint("C", n), Url: strings.Repeat("u", 60_000), Program: "wedding", Deleted: n == 5}
		value, _ := link.MarshalVT()
		if err := b.Apply([]byte("/"+link.Code), value, int64(n)+9); err != nil {
			t.Fatal(err)
		}
	}
	return snapshotOf(t, b.Links)
}

func snapshotOf(t testing.TB, l *Links) []byte {
	t.Helper()
	path := filepath.Join(t.TempDir(), "links.snapshot")
	if err := l.WriteSnapshot(path, [16]byte{1, 2, 3}); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path + ".tmp"); !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("the temporary file is left: %v", err)
	}
	file, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return file
}

// loadedSnapshot loads bytes as a file into empty Links.
func loadedSnapshot(t testing.TB, file []byte) (*Links, [16]byte, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "links.snapshot")
	if err := os.WriteFile(path, file, 0o600); err != nil {
		t.Fatal(err)
	}
	l := NewLinks(LinksOptions{CacheBytes: 1 << 20})
	t.Cleanup(l.Close)
	topic, err := l.LoadSnapshot(path)
	return l, topic, err
}

func TestSnapshotGolden(t *testing.T) {
	b := newLinksBench(t)
	b.apply(&wire.Link{Number: 2, Code: "a"})
	file := snapshotOf(t, b.Links)
	programs := `[{"name":"general","party_types":[],"currency":"EUR","attribution_window_days":30,"cookie_lifetime_days":90,` +
		`"unique_window_hours":24,"code_prefix":"","case_insensitive":false,"trust_pixel":false,"app_schemes":[],` +
		`"flows":[],"attribution_model":"last","stages":{},"referrals":{"acceptance":"automatic","expires_after_days":0,"sources":[]},` +
		`"rewards":{"decimals":2,"hold_days":0,"approval":"automatic","expires_after_days":0,"unverified":false,"rules":[],"milestones":[]},` +
		`"tiers":[],"campaigns":[],"fraud":{"signals":{"address":{"weight":0.2,"threshold":5},"datacenter":{"weight":0.5,"threshold":1},` +
		`"flooding":{"weight":0.5,"threshold":200},"injection":{"weight":0.5,"threshold":10},"regularity":{"weight":0.15,"threshold":0.9},` +
		`"self_referral":{"weight":1,"threshold":1},"shared_device":{"weight":0.5,"threshold":2},"shared_network":{"weight":0.15,"threshold":10},` +
		`"similarity":{"weight":0.25,"threshold":0.8},"speed":{"weight":0.1,"threshold":5},"velocity":{"weight":0.3,"threshold":10}},` +
		`"medium":0.4,"high":0.7,"actions":{"low":"approve","medium":"review","high":"hold"}},` +
		`"messages":{"open_rate":0,"click_rate":0,"conversion_rate":0,"bounce_rate":0},"webhooks":[]}]`
	if len(programs) != 0x48a {
		t.Fatalf("the programmes have %#x bytes", len(programs))
	}
	record := "0500" + "0802120161"
	header := "7761796d61726b01" + // magic
		"01020300000000000000000000000000" + // topic
		"0100000000000000" + // next
		"0100000000000000" + // records
		"01000000" + // chunks
		"92040000" // tail: 8 + 0x48a
	if got := hex.EncodeToString(file[:48]); got != header {
		t.Errorf("header\n%s, want\n%s", got, header)
	}
	rest := file[snapshotHeaderBytes:]
	if got := hex.EncodeToString(rest[:7]); got != record {
		t.Errorf("record %s, want %s", got, record)
	}
	tail := rest[7:]
	if used, crc := binary.LittleEndian.Uint32(tail), binary.LittleEndian.Uint32(tail[4:]); used != 7 || crc != crc32.Checksum(rest[:7], castagnoli) {
		t.Errorf("chunk of %d bytes, CRC %x", used, crc)
	}
	if string(tail[8:]) != programs {
		t.Errorf("programmes %s", tail[8:])
	}
	// CRC-32C as in RFC 3720, appendix B.4: of 32 zero bytes.
	if crc := crc32.Checksum(make([]byte, 32), castagnoli); crc != 0x8a9136aa {
		t.Errorf("CRC of zeros %x", crc)
	}
}

func TestSnapshotRoundTrip(t *testing.T) {
	l, topic, err := loadedSnapshot(t, writtenSnapshot(t))
	if err != nil || topic != [16]byte{1, 2, 3} {
		t.Fatal(topic, err)
	}
	if l.Offset() != 100 || l.Len() != 89 || l.MaxNumber() != 90 {
		t.Fatalf("Offset %d, Len %d, MaxNumber %d", l.Offset(), l.Len(), l.MaxNumber())
	}
	if resolved(l, "", "c7") != 7 || resolved(l, "", "C5") != 0 || l.ByNumber(5) == nil {
		t.Fatal("not the links that were written")
	}
	if p, ok := l.Program("wedding"); !ok || !p.CaseInsensitive {
		t.Fatalf("the programme is %+v", p)
	}
	// A changed link leaves its mapped chunk, a chunk that empties goes.
	for n := uint32(1); n <= 90; n++ {
		value, _ := (&wire.Link{Number: n, Code: fmt.Sprint("C", n), Url: "https://new.ex"}).MarshalVT()
		if err := l.Apply(fmt.Appendf(nil, "/C%d", n), value, 100+int64(n)); err != nil {
			t.Fatal(err)
		}
	}
	arena := &l.set.Load().store.arena
	if len(arena.chunks) != 3 || len(arena.vacant) != 2 || arena.live.Load() > 5_000 {
		t.Errorf("%d chunks of which %d are vacant, %d bytes current", len(arena.chunks), len(arena.vacant), arena.live.Load())
	}
	if p := l.Resolve(nil, []byte("C5")); p == nil || p.Link.Url != "https://new.ex" {
		t.Fatalf("C5 is %v", p)
	}
}

func TestSnapshotOfNothing(t *testing.T) {
	l, _, err := loadedSnapshot(t, snapshotOf(t, newLinksBench(t).Links))
	if err != nil || l.Len() != 0 || l.Offset() != 0 {
		t.Fatal(l.Len(), err)
	}
	if _, err := l.LoadSnapshot(filepath.Join(t.TempDir(), "none")); !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("no file gives %v", err)
	}
}

// resealed is a snapshot with its checksums made right again, as if it had
// been written so.
func resealed(file []byte) []byte {
	chunks := int(binary.LittleEndian.Uint32(file[40:]))
	tail := file[len(file)-int(binary.LittleEndian.Uint32(file[44:])):]
	for i := range chunks {
		used := binary.LittleEndian.Uint32(tail[i*chunkSumBytes:])
		binary.LittleEndian.PutUint32(tail[i*chunkSumBytes+4:], crc32.Checksum(file[snapshotHeaderBytes+i*chunkBytes:][:used], castagnoli))
	}
	binary.LittleEndian.PutUint32(file[48:], crc32.Checksum(tail, castagnoli))
	binary.LittleEndian.PutUint32(file[52:], crc32.Checksum(file[:52], castagnoli))
	return file
}

func TestSnapshotCorruptions(t *testing.T) {
	good := writtenSnapshot(t)
	first := snapshotHeaderBytes // record 1: length 2, tag, number, tag, length, code
	for _, c := range []struct {
		name    string
		corrupt func(file []byte) []byte
		offset  int64
	}{
		{"empty", func([]byte) []byte { return nil }, 0},
		{"header cut", func(f []byte) []byte { return f[:4000] }, 4000},
		{"header alone", func(f []byte) []byte { return f[:snapshotHeaderBytes] }, 44},
		{"tail cut", func(f []byte) []byte { return f[:len(f)-1] }, int64(len(good)-1) - int64(binary.LittleEndian.Uint32(good[44:]))},
		{"grown", func(f []byte) []byte { return append(f, 0) }, int64(len(good)+1) - int64(binary.LittleEndian.Uint32(good[44:]))},
		{"never finished", func(f []byte) []byte { clear(f[:snapshotHeaderBytes]); return f }, 0},
		{"later version", func(f []byte) []byte { f[7] = 2; return f }, 0},
		{"bit in header", func(f []byte) []byte { f[24] ^= 1; return f }, 52},
		{"bit in first chunk", func(f []byte) []byte { f[first+100] ^= 1; return f }, int64(first)},
		{"bit in second chunk", func(f []byte) []byte { f[first+chunkBytes+100] ^= 1; return f }, int64(first + chunkBytes)},
		{"negative offset", func(f []byte) []byte { f[31] = 0x80; return resealed(f) }, 24},
		{"too many records", func(f []byte) []byte { f[38] = 1; return resealed(f) }, 32},
		{"a record more", func(f []byte) []byte { f[32]++; return resealed(f) }, 32},
		{"record too long for itself", func(f []byte) []byte { f[first], f[first+1] = 0xff, 0xff; return resealed(f) }, int64(first)},
		{"number not rising", func(f []byte) []byte { f[first+3] = 0; return resealed(f) }, int64(first)},
		{"no code", func(f []byte) []byte { f[first+5] = 0; return resealed(f) }, int64(first)},
		{"no protobuf", func(f []byte) []byte { f[first+2] = 0xff; return resealed(f) }, int64(first)},
		{"code before number", func(f []byte) []byte { copy(f[first+2:], "\x12\x02C1\x08\x01"); return resealed(f) }, int64(first)},
		{"no programmes", func(f []byte) []byte { f[len(f)-1] = 'x'; return resealed(f) }, int64(len(good)) - int64(binary.LittleEndian.Uint32(good[44:]))},
	} {
		t.Run(c.name, func(t *testing.T) {
			l, _, err := loadedSnapshot(t, c.corrupt(bytes.Clone(good)))
			var bad *SnapshotError
			if !errors.As(err, &bad) {
				t.Fatalf("loading gives %v", err)
			}
			if bad.Offset != c.offset {
				t.Errorf("it is wrong at byte %d, not at %d: %v", c.offset, bad.Offset, err)
			}
			if l.Len() != 0 || l.Offset() != 0 || len(l.Programs()) != 1 {
				t.Errorf("Len %d, Offset %d, %d programmes", l.Len(), l.Offset(), len(l.Programs()))
			}
		})
	}
}

// Records that come while a snapshot is written may be in it or not; with
// those from its offset on, the end is the same.
func TestSnapshotDuringChanges(t *testing.T) {
	const links = 2000
	b := newLinksBench(t)
	for n := uint32(1); n <= links; n++ {
		b.apply(&wire.Link{Number: n, Code: fmt.Sprint("c", n), Url: strings.Repeat("u", 1000)})
	}
	written := make(chan []byte)
	go func() { written <- snapshotOf(t, b.Links) }()
	var file []byte
	for n := uint32(1); n <= links; n++ {
		// Deleted, and its code given to another.
		b.apply(&wire.Link{Number: n, Code: fmt.Sprint("c", n), Deleted: true}, &wire.Link{Number: links + n, Code: fmt.Sprint("c", n)})
	}
	file = <-written
	l, _, err := loadedSnapshot(t, file)
	if err != nil {
		t.Fatal(err)
	}
	b.replay(l, int(l.Offset()))
	for n := uint32(1); n <= links; n++ {
		if got := resolved(l, "", fmt.Sprint("c", n)); got != LinkNumber(links+n) {
			t.Fatalf("c%d resolves to %d, want %d (snapshot at %d)", n, got, links+n, l.Offset())
		}
	}
	if l.Len() != links {
		t.Fatalf("Len %d", l.Len())
	}
}

func FuzzLoadSnapshot(f *testing.F) {
	b := newLinksBench(f)
	b.program(foldingProgram("wedding"))
	b.apply(&wire.Link{Number: 1, Code: "a", Program: "wedding"}, &wire.Link{Number: 2, Code: "a", Domain: "go.ex", Url: "https://ex"})
	file := snapshotOf(f, b.Links)
	// The padding of the header is left out, so that mutations meet the rest.
	f.Add(append(bytes.Clone(file[:56]), file[snapshotHeaderBytes:]...), true)
	f.Add(append(bytes.Clone(file[:56]), file[snapshotHeaderBytes:]...), false)
	f.Fuzz(func(t *testing.T, data []byte, seal bool) {
		if len(data) < 56 {
			return
		}
		file := append(append(bytes.Clone(data[:56]), make([]byte, snapshotHeaderBytes-56)...), data[56:]...)
		if seal {
			file = tryReseal(file)
		}
		l, _, err := loadedSnapshot(t, file)
		if err != nil {
			return
		}
		// What was accepted must serve.
		for n := LinkNumber(1); n <= min(l.MaxNumber(), 1000); n++ {
			if p := l.ByNumber(n); p != nil {
				l.Resolve([]byte(p.Link.Domain), []byte(p.Link.Code))
			}
		}
		l.List(0, 1000, nil)
		snapshotOf(t, l)
	})
}

// tryReseal reseals a file whose sizes allow it.
func tryReseal(file []byte) []byte {
	chunks, tail := int64(binary.LittleEndian.Uint32(file[40:])), int64(binary.LittleEndian.Uint32(file[44:]))
	if tail > int64(len(file)-snapshotHeaderBytes) || chunks*chunkSumBytes > tail {
		return file
	}
	at := int64(len(file)) - tail
	for i := range chunks {
		end := snapshotHeaderBytes + i*chunkBytes + int64(binary.LittleEndian.Uint32(file[at+i*chunkSumBytes:]))
		if end > at {
			return file
		}
	}
	return resealed(file)
}

func FuzzApply(f *testing.F) {
	for _, l := range []*wire.Link{{Number: 1, Code: "a"}, {Number: 2, Code: "b", Domain: "go.ex", Deleted: true}, manyLink(7)} {
		value, _ := l.MarshalVT()
		f.Add([]byte(l.Domain+"/"+l.Code), value)
	}
	f.Fuzz(func(t *testing.T, key, value []byte) {
		b := newLinksBench(t)
		b.program(foldingProgram("wedding"))
		b.apply(&wire.Link{Number: 1, Code: "known"})
		err := b.Apply(key, value, 1)
		var bad *RecordError
		if err != nil && !errors.As(err, &bad) {
			t.Fatal(err)
		}
		if b.Offset() != 2 {
			t.Fatalf("Offset %d", b.Offset())
		}
		domain, code, _ := strings.Cut(string(key), "/")
		link, ok := b.Get(domain, code)
		if found := b.Resolve([]byte(domain), []byte(code)); err == nil && ok && found == nil && domain == strings.ToLower(domain) && !strings.ContainsAny(domain, ":.") {
			t.Fatalf("Get finds %q, Resolve does not", link.Key())
		}
		if _, _, err := loadedSnapshot(t, snapshotOf(t, b.Links)); err != nil {
			t.Fatal(err)
		}
	})
}
