package uplink

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/vishvananda/netlink"
)

const (
	settle  = 100 * time.Millisecond // events come in bursts: look once for each
	regular = 30 * time.Second       // events can be lost
	retry   = time.Second            // after the event socket failed
)

// Run keeps the uplinks in step with the NICs until ctx is done. An event from
// the kernel only says that it is time to look.
func (m *Manager) Run(ctx context.Context) error {
	for {
		err := m.watch(ctx)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		m.log.Warn("watching the NICs failed: trying again", "error", err)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(retry):
		}
	}
}

// watch subscribes and looks, until ctx is done or the event socket fails.
func (m *Manager) watch(ctx context.Context) error {
	done := make(chan struct{})
	links := make(chan netlink.LinkUpdate, 64)
	addrs := make(chan netlink.AddrUpdate, 64)
	if err := netlink.LinkSubscribe(links, done); err != nil {
		close(done)
		return fmt.Errorf("subscribe to NICs: %w", err)
	}
	if err := netlink.AddrSubscribe(addrs, done); err != nil {
		close(done)
		drain(links)
		return fmt.Errorf("subscribe to addresses: %w", err)
	}
	defer func() {
		close(done)
		drain(links)
		drain(addrs)
	}()

	ticker := time.NewTicker(regular)
	defer ticker.Stop()
	soon := time.NewTimer(0) // what changed before the subscription shows at once
	defer soon.Stop()
	pending := true
	later := func() {
		if !pending {
			pending = true
			soon.Reset(settle)
		}
	}
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case _, ok := <-links:
			if !ok {
				return errClosed
			}
			later()
		case _, ok := <-addrs:
			if !ok {
				return errClosed
			}
			later()
		case <-m.look:
			later()
		case <-ticker.C:
			later()
		case <-soon.C:
			pending = false
			m.mu.Lock()
			err := m.update()
			m.mu.Unlock()
			if err != nil {
				return err
			}
		}
	}
}

var errClosed = errors.New("the kernel's event socket closed")

// drain reads until the subscription's goroutine has ended and closed ch.
func drain[T any](ch <-chan T) {
	for range ch {
	}
}
