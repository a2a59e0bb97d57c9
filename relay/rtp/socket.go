package rtp

import (
	"context"
	"net/netip"
	"sync"

	"sluice/relay/endpoint"
	"sluice/relay/udp"
)

// socketBuffer is asked for in bytes for each direction: at 50 Mbit/s about
// half a second. The system may grant less.
const socketBuffer = 4 << 20

// sendBatch is how many datagrams are sent at a time.
const sendBatch = 64

// A sender sends datagrams to one address. It never waits: what the socket
// cannot take at once is an error.
type sender struct {
	mu     sync.Mutex // nothing is sent while the socket is closed
	conn   *udp.Conn
	writer *udp.Writer
	to     netip.AddrPort
}

// newSender opens a socket on the uplink whose datagrams carry the given time
// to live (hop limit) and code point.
func newSender(ctx context.Context, env endpoint.Env, up endpoint.Uplink, to netip.AddrPort, ttl int) (*sender, error) {
	conn, err := udp.Call(ctx, up, to, udp.Options{DSCP: env.DSCP, TTL: ttl, Send: socketBuffer, Log: env.Log, Polled: true})
	if err != nil {
		return nil, err
	}
	return &sender{conn: conn, writer: udp.NewWriter(conn, sendBatch), to: to}, nil
}

// send sends the datagrams and returns how many were sent, and why the next
// one was not.
func (s *sender) send(queue []udp.Message) (int, error) {
	for i := range queue {
		queue[i].To = s.to
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.writer.Write(queue)
}

func (s *sender) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	_ = s.conn.Close()
}
