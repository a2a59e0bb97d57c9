package srt

import (
	"context"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"time"

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
	request := induction(rand.Uint32())
	answer := make([]byte, 1500)
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
			case err == nil && isInduction(answer[:n], request):
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

// induction makes a caller's first handshake packet (section 3.2.1).
func induction(socket uint32) []byte {
	b := make([]byte, 64)
	binary.BigEndian.PutUint32(b[0:], 0x8000_0000)                // control packet, handshake
	binary.BigEndian.PutUint32(b[16:], 4)                         // version, until the listener says 5
	binary.BigEndian.PutUint16(b[22:], 2)                         // extension field
	binary.BigEndian.PutUint32(b[24:], rand.Uint32()&0x7fff_ffff) // first sequence number
	binary.BigEndian.PutUint32(b[28:], 1500)                      // MTU
	binary.BigEndian.PutUint32(b[32:], 8192)                      // flow window
	binary.BigEndian.PutUint32(b[36:], 1)                         // induction
	binary.BigEndian.PutUint32(b[40:], socket)
	return b
}

// isInduction tells whether b is a listener's answer to the request: version
// 5, the magic number of SRT, and our socket id as its destination.
func isInduction(b, request []byte) bool {
	return len(b) >= 64 &&
		binary.BigEndian.Uint32(b[0:]) == 0x8000_0000 &&
		binary.BigEndian.Uint32(b[12:]) == binary.BigEndian.Uint32(request[40:]) &&
		binary.BigEndian.Uint32(b[16:]) == 5 &&
		binary.BigEndian.Uint16(b[22:]) == 0x4a17 &&
		binary.BigEndian.Uint32(b[36:]) == 1
}
