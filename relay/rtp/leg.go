package rtp

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"sluice/relay/endpoint"
	"sluice/relay/udp"
)

// How a leg keeps itself open.
const (
	lookEvery    = 200 * time.Millisecond
	retryFirst   = time.Second
	retryMost    = 30 * time.Second
	resolveEvery = time.Minute     // a name may move
	failFor      = 5 * time.Second // of nothing but errors: make the socket anew
)

// A leg is one destination. keep opens its socket and opens it again; take and
// flush are called from the output's own loop.
type leg struct {
	destination Destination
	uplink      endpoint.Uplink
	ttl         int
	env         endpoint.Env

	sender  atomic.Pointer[sender] // nil while there is no socket
	reason  atomic.Pointer[endpoint.Reason]
	failing atomic.Int64 // since when nothing but errors came, Unix nanoseconds; 0: not failing

	queue     []udp.Message // taken, and not yet sent
	delivered bool          // since the output looked last
	faults    notice
}

func (l *leg) address() string {
	return net.JoinHostPort(l.destination.Host, strconv.Itoa(l.destination.Port))
}

func (l *leg) status() endpoint.DestinationStatus {
	s := endpoint.DestinationStatus{Address: l.address(), Phase: endpoint.Connecting, Reason: l.reason.Load()}
	if l.sender.Load() != nil && l.failing.Load() == 0 {
		s.Phase, s.Reason = endpoint.Connected, nil
	}
	return s
}

// keep opens the leg, again and again, until ctx is done.
func (l *leg) keep(ctx context.Context) {
	retry := retryFirst
	for ctx.Err() == nil {
		pause, born := lookEvery, l.uplink.Generation()
		if why := l.uplink.Ready(); why != nil {
			l.reason.Store(why)
		} else if s, err := l.open(ctx); err == nil {
			retry = retryFirst
			l.failing.Store(0)
			l.sender.Store(s)
			l.env.Ledger.Connections.Add(1)
			l.env.Log.Info("sending", "to", s.to, "destination", l.address(), "uplink", l.uplink.Name())
			l.watch(ctx, s, born)
			l.sender.Store(nil)
			s.close()
		} else if ctx.Err() == nil {
			_, why := endpoint.Explain(err)
			l.reason.Store(why)
			l.env.Log.Warn("destination cannot be reached", "destination", l.address(), "uplink", l.uplink.Name(), "error", err, "retry_in", retry)
			pause, retry = retry, min(2*retry, retryMost)
		}
		if endpoint.Rest(ctx, l.uplink, pause) {
			retry = retryFirst
		}
	}
}

// watch returns when the socket is to be made anew: its uplink is not what it
// was when the socket was born, it brought nothing but errors for a while, or
// the name moved to another address.
func (l *leg) watch(ctx context.Context, s *sender, born uint64) {
	_, notName := netip.ParseAddr(l.destination.Host)
	resolved := time.Now()
	look := time.NewTicker(lookEvery)
	defer look.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-look.C:
			if l.uplink.Generation() != born {
				return
			}
			if since := l.failing.Load(); since != 0 && now.Sub(time.Unix(0, since)) > failFor {
				return
			}
			if notName == nil || now.Sub(resolved) < resolveEvery {
				continue
			}
			resolved = now
			// Names with several addresses come in any order.
			if found, err := l.resolve(ctx); err == nil && !slices.Contains(found, s.to) {
				return
			}
		}
	}
}

func (l *leg) open(ctx context.Context) (*sender, error) {
	found, err := l.resolve(ctx)
	if err != nil {
		return nil, err
	}
	return newSender(ctx, l.env, l.uplink, found[0], l.ttl)
}

// resolve returns the addresses of the destination, at least one: those of an
// IP version that the uplink has come first.
func (l *leg) resolve(ctx context.Context) ([]netip.AddrPort, error) {
	port := uint16(l.destination.Port)
	if a, err := netip.ParseAddr(l.destination.Host); err == nil {
		return []netip.AddrPort{netip.AddrPortFrom(a.Unmap(), port)}, nil
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	found, err := l.uplink.Resolver().LookupNetIP(ctx, "ip", l.destination.Host)
	if err != nil || len(found) == 0 {
		return nil, endpoint.Fail(endpoint.Connecting, err, "name_not_found", "%s cannot be resolved through %s", l.destination.Host, l.uplink.Name())
	}
	var has4, has6 bool
	for _, own := range l.uplink.Addresses() {
		has4, has6 = has4 || own.Is4(), has6 || own.Is6()
	}
	var first, others []netip.AddrPort
	for _, a := range found {
		to := netip.AddrPortFrom(a.Unmap(), port)
		if to.Addr().Is4() && has4 || to.Addr().Is6() && has6 {
			first = append(first, to)
		} else {
			others = append(others, to)
		}
	}
	return append(first, others...), nil
}

// take queues one datagram, until flush. While the leg is not open nothing is
// taken.
func (l *leg) take(header, payload []byte) {
	if l.sender.Load() == nil {
		return
	}
	l.env.Ledger.Taken.Add(1)
	l.queue = append(l.queue, udp.Message{Header: header, Payload: payload})
}

// flush sends what is queued, and counts what became of it.
func (l *leg) flush() {
	rest := l.queue
	s := l.sender.Load()
	if s == nil {
		l.drop(endpoint.DropClosed, len(rest))
		rest = nil
	}
	for len(rest) > 0 {
		n, err := s.send(rest)
		l.count(rest[:n])
		if err == nil {
			break
		}
		failed := 1
		switch {
		case errors.Is(err, net.ErrClosed):
			failed = len(rest) - n
			l.drop(endpoint.DropClosed, failed)
		case errors.Is(err, unix.EAGAIN):
			failed = len(rest) - n // the buffer is full: the next will not fit either
			l.drop(endpoint.DropQueue, failed)
		case errors.Is(err, unix.ENOBUFS):
			l.drop(endpoint.DropQueue, failed)
		default:
			l.drop(endpoint.DropWrite, failed)
			l.fail(err)
		}
		rest = rest[n+failed:]
	}
	clear(l.queue) // let the payloads go
	l.queue = l.queue[:0]
}

// count counts datagrams that were sent.
func (l *leg) count(sent []udp.Message) {
	if len(sent) == 0 {
		return
	}
	var bytes int
	for _, m := range sent {
		bytes += len(m.Payload)
	}
	l.env.Ledger.Sent.Add(uint64(len(sent)))
	l.env.Ledger.Bytes.Add(uint64(bytes))
	l.delivered = true
	l.failing.Store(0)
}

func (l *leg) drop(why endpoint.Drop, n int) { l.env.Ledger.Drop(why, uint64(n)) }

// fail notes that the socket refused a datagram.
func (l *leg) fail(err error) {
	now := time.Now()
	l.reason.Store(endpoint.Because("write_failed", "%s: %v", l.address(), err))
	l.failing.CompareAndSwap(0, now.UnixNano())
	l.faults.log(l.env.Log, now, "a datagram could not be sent", "destination", l.address(), "error", err)
}

// overrun counts packets that the leg would have sent.
func (l *leg) overrun(lost uint64) {
	if l.sender.Load() != nil {
		l.env.Ledger.Taken.Add(lost)
		l.env.Ledger.Drop(endpoint.DropOverrun, lost)
	}
}
