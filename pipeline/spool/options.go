package spool

import (
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Options configure a Spool. Zero fields take the defaults named here.
type Options struct {
	// Dir holds segments, lock and identity. It is created if missing.
	Dir string
	// RingDir holds the ring and should be a tmpfs; default /dev/shm. Where it can't hold the ring, Dir does.
	RingDir string
	// RingBytes is rounded up to 64 KiB, from 128 KiB to 2 GiB; default 64 MiB. A ring that holds frames keeps its size and place
	// until it is opened empty, which is the case after every orderly stop.
	RingBytes int64
	// SegmentBytes is where a segment file ends and the next begins; default 64 MiB, or an eighth of a small
	// DiskBytesMax.
	SegmentBytes int64
	// DiskBytesMax bounds the segment files, those set aside as corrupt included; default 8 GiB. Flush may exceed it by RingBytes.
	DiskBytesMax int64
	// Renew gives up the identity if it has a node number, for one whose number is no longer its own (the register of nodes was
	// lost). Frames of the old identity keep its name.
	Renew bool
	// Logger defaults to slog.Default.
	Logger *slog.Logger
	// Registerer takes the metrics; nil for none.
	Registerer prometheus.Registerer
}

// The ring is memory that nothing else can use, whether it holds frames or not. Two gibibytes are ten million clicks.
const (
	ringBytesMin = 2 * FrameBytesMax
	ringBytesMax = 2 << 30
)

// withDefaults fills in defaults and reports everything that is wrong at once.
func (o Options) withDefaults() (Options, error) {
	var errs []error
	if o.Dir == "" {
		errs = append(errs, errors.New("no spool directory given"))
	}
	if o.RingDir == "" {
		o.RingDir = "/dev/shm"
	}
	o.RingBytes = orDefault(o.RingBytes, 64<<20)
	o.DiskBytesMax = orDefault(o.DiskBytesMax, 8<<30)
	o.SegmentBytes = orDefault(o.SegmentBytes, segmentDefault(64<<20, o.DiskBytesMax))
	if o.RingBytes < ringBytesMin {
		errs = append(errs, fmt.Errorf("ring of %d bytes is too small: at least %d", o.RingBytes, ringBytesMin))
	}
	if o.RingBytes > ringBytesMax {
		errs = append(errs, fmt.Errorf("ring of %d bytes is too large: at most %d, since it lies in memory as a whole", o.RingBytes, int64(ringBytesMax)))
	}
	if o.SegmentBytes < segmentBytesMin {
		errs = append(errs, fmt.Errorf("segments of %d bytes are too small: at least %d", o.SegmentBytes, segmentBytesMin))
	}
	if o.DiskBytesMax < o.SegmentBytes {
		errs = append(errs, fmt.Errorf("disk budget of %d bytes is below one segment of %d", o.DiskBytesMax, o.SegmentBytes))
	}
	const unit = 64 << 10
	o.RingBytes = (o.RingBytes + unit - 1) / unit * unit
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	return o, errors.Join(errs...)
}

// segmentDefault keeps segments small beside a small budget, because space is freed a segment at a time.
func segmentDefault(usual, diskBytesMax int64) int64 {
	return max(segmentBytesMin, min(usual, diskBytesMax/8))
}

func orDefault(value, byDefault int64) int64 {
	if value == 0 {
		return byDefault
	}
	return value
}

const (
	// appendWaitMax bounds how long Append waits for the spiller when the ring is full but the disk has room. Longer than a
	// sync of a healthy disk, shorter than a visitor notices.
	appendWaitMax = 250 * time.Millisecond
	// spillPoll: an append at memory speed fills less than half of the default ring in this time; smaller rings are served
	// by the kick of the first append that finds no room.
	spillPoll = 50 * time.Millisecond
	// spillRetry spaces attempts on a failing disk.
	spillRetry = time.Second
	// pollMin and pollMax bound the interval at which a waiting reader looks for frames. It looks, and is not woken: waking a
	// goroutine can be a system call, and Append makes none. Under load the interval also gathers frames into larger chunks.
	pollMin = 5 * time.Millisecond
	pollMax = 40 * time.Millisecond
)
