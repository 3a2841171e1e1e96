package spool

import (
	"context"
	"fmt"
	"log/slog"
	"testing"
)

func benchmarkSpool(b *testing.B) *Spool {
	s, err := Open(Options{Dir: b.TempDir(), RingDir: memoryDir(b), Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { s.Close() })
	return s
}

// ship reads and acknowledges until ctx ends.
func ship(ctx context.Context, s *Spool) {
	buf := make([]byte, FrameBytesMax)
	for at := s.Acked(); ; {
		batch, err := s.Next(ctx, at, buf)
		if err != nil {
			return
		}
		at = batch.End
		s.Ack(at)
	}
}

// BenchmarkAppend: the cost of a record for those who answer requests, while a reader ships beside them.
func BenchmarkAppend(b *testing.B) {
	for _, size := range []int{64, 256, 1024, 4096, 16384} {
		b.Run(fmt.Sprintf("payload_bytes=%d", size), func(b *testing.B) {
			s := benchmarkSpool(b)
			ctx, cancel := context.WithCancel(context.Background())
			defer cancel()
			go ship(ctx, s)
			b.SetBytes(int64(size))
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				payload := make([]byte, size)
				for pb.Next() {
					_, _ = s.Append(payload, 1)
				}
			})
			b.ReportMetric(float64(s.Stats().Shed)/float64(b.N), "shed/op")
		})
	}
}

// BenchmarkNext: the cost of a record for the shipper, in chunks as large as the buffer.
func BenchmarkNext(b *testing.B) {
	for _, size := range []int{64, 256, 1024, 4096} {
		b.Run(fmt.Sprintf("payload_bytes=%d", size), func(b *testing.B) {
			s := benchmarkSpool(b)
			payload, buf := make([]byte, size), make([]byte, FrameBytesMax)
			for s.ring.used() < s.ring.size/4 {
				if _, err := s.Append(payload, 1); err != nil {
					b.Fatal(err)
				}
			}
			b.SetBytes(int64(size))
			b.ReportAllocs()
			at := Position(0)
			b.ResetTimer()
			for done := 0; done < b.N; {
				batch, err := s.Next(context.Background(), at, buf)
				if err != nil {
					b.Fatal(err)
				}
				done += len(batch.Frames)
				if at = batch.End; uint64(at) == *s.ring.tail {
					at = 0
				}
			}
		})
	}
}
