package uplink

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// settle is how long to wait after the first event of a burst. Further
	// events do not prolong it, so that a storm without end is looked at too.
	settle  = 250 * time.Millisecond
	regular = 30 * time.Second // events can be lost
	pulse   = 2 * time.Second  // how often Alive tells of a new moment, at least
)

// Run keeps the uplinks in step with the NICs, and the kernel's routing in
// step with the uplinks, until ctx is done. Then it takes its routes and rules
// away.
func (m *Manager) Run(ctx context.Context) error {
	defer m.unroute()
	for {
		err := m.watch(ctx)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		m.log.Warn("watching the NICs failed: trying again", "error", err)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(settle):
		}
	}
}

// Alive returns when the goroutine that looks was last free to: a moment ago,
// unless it hangs. Zero before Run.
func (m *Manager) Alive() time.Time {
	if t := m.alive.Load(); t != nil {
		return *t
	}
	return time.Time{}
}

// watch subscribes and looks, until ctx is done or the event socket fails.
func (m *Manager) watch(ctx context.Context) error {
	events, err := subscribe(m.eventBuffer)
	if err != nil {
		return fmt.Errorf("subscribe to the kernel's events: %w", err)
	}
	dirty := make(chan struct{}, 1)
	failed := make(chan error, 1)
	go func() { failed <- hear(events, dirty) }()
	ended := false
	defer func() {
		events.Close()
		if !ended {
			<-failed
		}
	}()

	ticker := time.NewTicker(regular)
	defer ticker.Stop()
	beat := time.NewTicker(pulse)
	defer beat.Stop()
	soon := time.NewTimer(0) // what changed before the subscription shows at once
	defer soon.Stop()
	pending := true
	later := func() {
		if !pending {
			pending = true
			soon.Reset(settle)
		}
	}
	var trouble string
	for {
		now := time.Now()
		m.alive.Store(&now)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case err := <-failed:
			ended = true
			return err
		case <-dirty:
			later()
		case <-m.look:
			later()
		case <-ticker.C:
			later()
		case <-beat.C:
		case <-soon.C:
			pending = false
			err := m.update()
			if err == nil {
				trouble = ""
				continue
			}
			// A list that changed under its reader says nothing of what is gone:
			// nothing was changed, and it is looked at again.
			if err.Error() != trouble {
				trouble = err.Error()
				m.log.Warn("looking at the NICs failed: trying again", "error", err)
			}
			later()
		}
	}
}

// groups are the kernel's announcements that touch an uplink.
const groups = unix.RTMGRP_LINK |
	unix.RTMGRP_IPV4_IFADDR | unix.RTMGRP_IPV4_ROUTE | unix.RTMGRP_IPV4_RULE |
	unix.RTMGRP_IPV6_IFADDR | unix.RTMGRP_IPV6_ROUTE | 1<<(unix.RTNLGRP_IPV6_RULE-1)

// subscribe opens a socket on which the kernel announces changes. buffer is
// the size of its receive buffer in bytes, 0 for the system's.
func subscribe(buffer int) (*os.File, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.NETLINK_ROUTE)
	if err != nil {
		return nil, err
	}
	if buffer > 0 {
		err = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, buffer)
	}
	if err == nil {
		err = unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: groups})
	}
	if err != nil {
		unix.Close(fd)
		return nil, err
	}
	return os.NewFile(uintptr(fd), "netlink"), nil
}

// hear marks dirty at every announcement, whatever it says, until the socket
// fails or is closed.
func hear(events *os.File, dirty chan<- struct{}) error {
	buf := make([]byte, 4096) // an announcement that is cut off is one all the same
	for {
		_, err := events.Read(buf)
		// Announcements that did not fit were lost: that too is one.
		if err != nil && !errors.Is(err, unix.ENOBUFS) {
			return err
		}
		select {
		case dirty <- struct{}{}:
		default:
		}
	}
}
