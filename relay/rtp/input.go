package rtp

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"sluice/relay/endpoint"
	"sluice/relay/flow"
	"sluice/relay/udp"
)

// NewInput returns an input that receives RTP or UDP on the uplink of env.
func NewInput(cfg InputConfig, allow endpoint.AllowList, env endpoint.Env) endpoint.Input {
	in := &input{cfg: cfg, env: env}
	in.allow.Store(&allow)
	return in
}

type input struct {
	cfg   InputConfig
	env   endpoint.Env
	allow atomic.Pointer[endpoint.AllowList]

	mu     sync.Mutex
	status endpoint.InputStatus
}

var _ endpoint.Gate = (*input)(nil)

// Status tells what is known of the source.
func (in *input) Status() endpoint.InputStatus {
	in.mu.Lock()
	defer in.mu.Unlock()
	return in.status
}

// SetAccess changes which senders are heard, from the next datagram on.
func (in *input) SetAccess(a endpoint.Access) { in.allow.Store(&a.Allow) }

// Kick does nothing: a sender of datagrams has no session to end.
func (in *input) Kick(string) bool { return false }

// Run receives until ctx is done or the socket fails.
func (in *input) Run(ctx context.Context, to *flow.Flow) error {
	group, source, err := in.addresses()
	if err != nil {
		return err
	}
	conn, err := in.open(ctx, group, source)
	if err != nil {
		return err
	}
	defer conn.Close()
	closed := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(closed)
		conn.Close()
	})
	defer func() {
		if !stop() {
			<-closed // whoever wants the port next finds it free
		}
	}()

	if in.cfg.Encapsulation != EncapsulationUDP && in.cfg.Port < 65535 {
		// RTCP (RFC 3550 section 11): taken, so that the sender sees no closed
		// port, and not needed.
		rtcp, err := udp.Listen(ctx, in.env.Uplink, family(group), in.cfg.Port+1, udp.Options{})
		if err != nil {
			return err
		}
		var drained sync.WaitGroup
		drained.Go(func() { drain(rtcp) })
		defer drained.Wait()
		defer rtcp.Close()
	}

	in.set(func(s *endpoint.InputStatus) { s.Phase = endpoint.Listening })
	defer in.set(func(s *endpoint.InputStatus) { s.Phase, s.Peer = endpoint.Connecting, "" })
	r := newReceiver(in, source, to)
	return in.receive(ctx, conn, group, r)
}

// addresses reads the configured group and source.
func (in *input) addresses() (group, source netip.Addr, err error) {
	parse := func(field, s string) (a netip.Addr) {
		if s == "" || err != nil {
			return a
		}
		if a, err = netip.ParseAddr(s); err != nil {
			err = endpoint.Fail(endpoint.Unworkable, nil, "bad_address", "%s is %q: use an IP address", field, s)
		}
		return a.Unmap()
	}
	group, source = parse("multicast", in.cfg.Multicast), parse("source", in.cfg.Source)
	if err == nil && group.IsValid() && !group.IsMulticast() {
		err = endpoint.Fail(endpoint.Unworkable, nil, "bad_address", "multicast is %s: that is no group address", group)
	}
	if err == nil && group.IsValid() && source.IsValid() && group.Is4() != source.Is4() {
		err = endpoint.Fail(endpoint.Unworkable, nil, "bad_address", "source %s and group %s are not of the same IP version", source, group)
	}
	return group, source, err
}

// family is the network of the socket: both versions of IP unless a group
// decides.
func family(group netip.Addr) string {
	switch {
	case !group.IsValid():
		return "udp"
	case group.Is4():
		return "udp4"
	}
	return "udp6"
}

func (in *input) open(ctx context.Context, group, source netip.Addr) (*udp.Conn, error) {
	up := in.env.Uplink
	conn, err := udp.Listen(ctx, up, family(group), in.cfg.Port, udp.Options{Receive: socketBuffer, Log: in.env.Log})
	if err != nil {
		return nil, err
	}
	if group.IsValid() {
		if err := conn.Join(group, source); err != nil {
			conn.Close()
			return nil, endpoint.Fail(endpoint.Connecting, err, "join_failed", "group %s cannot be joined on %s", group, up.Name())
		}
	}
	return conn, nil
}

// drain reads until the socket is closed.
func drain(conn *udp.Conn) {
	for r := udp.NewReader(conn, 1, 1500); ; {
		if _, err := r.Read(); errors.Is(err, net.ErrClosed) {
			return
		}
	}
}

// receiveBatch is how many datagrams are read at a time.
const receiveBatch = 2 * burst

// receive reads until ctx is done or the socket fails.
func (in *input) receive(ctx context.Context, conn *udp.Conn, group netip.Addr, r *receiver) error {
	reader := udp.NewReader(conn, receiveBatch, 1<<16)
	rests := newPace()
	defer rests.stop()
	var deadline time.Time
	var missed uint64
	came := 0 // in the last rest
	for {
		if d := r.deadline(); !d.Equal(deadline) {
			deadline = d
			if err := conn.SetReadDeadline(d); err != nil && ctx.Err() == nil {
				return endpoint.Fail(endpoint.Connecting, err, "socket_failed", "cannot receive on %s", in.env.Uplink.Name())
			}
		}
		datagrams, err := reader.Read()
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.Is(err, os.ErrDeadlineExceeded):
			r.expire(time.Now())
			continue
		case errors.Is(err, unix.ENETDOWN):
			continue // reported once as the NIC goes down: the socket outlives it
		case err != nil:
			return endpoint.Fail(endpoint.Connecting, err, "socket_failed", "cannot receive on %s", in.env.Uplink.Name())
		}
		if n := conn.Missed(); n != missed {
			r.overflow(n-missed, datagrams[0].Arrival)
			missed = n
		}
		for _, d := range datagrams {
			if group.IsValid() && d.To != group {
				continue // sent to the port, but not to the group
			}
			r.take(d.Data, d.From, d.Arrival)
		}
		if came += len(datagrams); len(datagrams) == receiveBatch {
			continue // there is more
		}
		rests.got(came)
		came = 0
		// A buffer that the kernel cut might not hold what a rest brings.
		if conn.Buffer() >= socketBuffer && r.mayRest(time.Now()) {
			rests.rest(ctx, 0)
		}
	}
}

func (in *input) set(change func(*endpoint.InputStatus)) {
	in.mu.Lock()
	defer in.mu.Unlock()
	change(&in.status)
}
