package srt

import (
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"time"

	"github.com/datarhei/gosrt/packet"

	"sluice/relay/endpoint"
)

// Probe asks for the induction phase of a handshake (draft-sharabayko-srt-01
// section 4.3.1.1) through the uplink, and returns the time to the answer.
// That makes no connection, and the listener keeps nothing of it.
func Probe(ctx context.Context, up endpoint.Uplink, to netip.AddrPort) (time.Duration, error) {
	conn, err := up.Dialer().DialContext(ctx, "udp", to.String())
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	own := rand.Uint32()
	request := packetOf(induction(own, 0, to.Addr()), 0, 0)
	answer := make([]byte, maxDatagram)
	var heard error // what came instead of an answer
	for ctx.Err() == nil {
		begin := time.Now()
		until := begin.Add(probeAgain)
		if end, ok := ctx.Deadline(); ok && end.Before(until) {
			until = end
		}
		if !until.After(begin) {
			break
		}
		if err := conn.SetReadDeadline(until); err != nil {
			return 0, err
		}
		if _, err := conn.Write(request); err != nil {
			heard = err
		}
		for time.Now().Before(until) && ctx.Err() == nil {
			n, err := conn.Read(answer)
			switch {
			case err == nil && isInduction(answer[:n], own):
				return time.Since(begin), nil
			case err == nil:
				heard = errors.New("what answers does not speak SRT")
			case errors.Is(err, os.ErrDeadlineExceeded):
			case errors.Is(err, net.ErrClosed):
				return 0, err
			default: // refused, unreachable: it may be starting
				heard = err
				select {
				case <-ctx.Done():
				case <-time.After(time.Until(until)):
				}
			}
		}
	}
	if heard != nil {
		return 0, heard
	}
	return 0, errors.New("no answer")
}

// probeAgain is how long to wait for the answer before the request is sent
// again: a datagram may be lost.
const probeAgain = 500 * time.Millisecond

// isInduction tells whether b is a listener's answer to an induction of the
// socket id: version 5, and the magic number of SRT.
func isInduction(b []byte, own uint32) bool {
	h, err := parseHandshake(b)
	return err == nil && h.to == own && h.Version == 5 && h.ExtensionField == magic && h.HandshakeType == packet.HSTYPE_INDUCTION
}
