package loadtest

import (
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// wakeID is the id of the poller's own event.
const wakeID = -1

// poller waits for sockets, for a time, or for wake, whichever comes first. All
// but wake belong to one thread.
type poller struct {
	epoll, event int
	events       [128]unix.EpollEvent
}

func newPoller() (*poller, error) {
	epoll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("open epoll: %w", err)
	}
	event, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		unix.Close(epoll)
		return nil, fmt.Errorf("open an eventfd: %w", err)
	}
	p := &poller{epoll: epoll, event: event}
	if err := p.add(event, wakeID); err != nil {
		p.close()
		return nil, err
	}
	return p, nil
}

func (p *poller) close() {
	unix.Close(p.event)
	unix.Close(p.epoll)
}

// add watches a socket for what can be read. Closing the socket ends it.
func (p *poller) add(fd int, id int32) error {
	event := unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLRDHUP, Fd: id}
	if err := unix.EpollCtl(p.epoll, unix.EPOLL_CTL_ADD, fd, &event); err != nil {
		return fmt.Errorf("watch a connection: %w", err)
	}
	return nil
}

// wake makes wait return. Any goroutine may call it.
func (p *poller) wake() {
	unix.Write(p.event, []byte{1, 0, 0, 0, 0, 0, 0, 0})
}

// wait returns the events there are, after at most the timeout. They are valid
// until the next call. epoll_wait counts in milliseconds, and epoll_pwait2, which
// does not, needs Linux 5.11; ppoll on the epoll itself is as exact, everywhere.
func (p *poller) wait(timeout time.Duration) ([]unix.EpollEvent, error) {
	if timeout > 0 {
		fds := [1]unix.PollFd{{Fd: int32(p.epoll), Events: unix.POLLIN}}
		ts := unix.NsecToTimespec(int64(timeout))
		n, err := unix.Ppoll(fds[:], &ts, nil)
		if err != nil && !errors.Is(err, unix.EINTR) {
			return nil, fmt.Errorf("wait for answers: %w", err)
		}
		if n <= 0 {
			return nil, nil
		}
	}
	n, err := unix.EpollWait(p.epoll, p.events[:], 0)
	if err != nil && !errors.Is(err, unix.EINTR) {
		return nil, fmt.Errorf("wait for answers: %w", err)
	}
	events := p.events[:max(n, 0)]
	for _, event := range events {
		if event.Fd == wakeID {
			var count [8]byte
			unix.Read(p.event, count[:])
		}
	}
	return events, nil
}
