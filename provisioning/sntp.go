package provisioning

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strings"
	"time"

	"sluice/relay/endpoint"
)

// The SNTP client of the request "test": RFC 5905, of which it obeys what
// RFC 4330 (SNTP) kept. It asks once and sets nothing.

const (
	ntpPort  = 123
	ntpSize  = 48                      // bytes of a packet without extensions
	ntpAgain = 1500 * time.Millisecond // after which a question is asked again
	ntpAsk   = 4<<3 | 3                // version 4, mode 3: client
	// ntpEpoch is 1900-01-01 in Unix seconds, of the era that ends in 2036.
	ntpEpoch = -2208988800
)

// An ntpAnswer is what a time server said.
type ntpAnswer struct {
	received, transmitted time.Time // the server's clock
	stratum               int       // 1 has a clock of its own
}

// parseNTP reads the answer to the question that carried nonce as its time.
func parseNTP(b []byte, nonce uint64) (a ntpAnswer, err error) {
	if len(b) < ntpSize || binary.BigEndian.Uint64(b[24:]) != nonce {
		return a, errNotOurs
	}
	if b[0]&7 != 4 { // mode: server
		return a, errNotOurs
	}
	a.stratum = int(b[1])
	switch {
	case a.stratum == 0: // kiss-o'-death: RFC 5905 section 7.4
		code := strings.Map(func(r rune) rune {
			if r < 'A' || r > 'Z' {
				return -1
			}
			return r
		}, string(b[12:16]))
		return a, fmt.Errorf("the server refuses to answer (%s)", code)
	case b[0]>>6 == 3, a.stratum > 15:
		return a, errors.New("the server does not know the time itself")
	}
	received, transmitted := binary.BigEndian.Uint64(b[32:]), binary.BigEndian.Uint64(b[40:])
	if received == 0 || transmitted == 0 {
		return a, errors.New("the server's answer holds no time")
	}
	a.received, a.transmitted = ntpTime(received), ntpTime(transmitted)
	return a, nil
}

// errNotOurs tells of a packet that does not answer what was asked.
var errNotOurs = errors.New("not an answer")

// ntpTime reads a timestamp: seconds since 1900 and their fraction. Those
// whose first bit is clear are from 2036 on (RFC 4330 section 3).
func ntpTime(t uint64) time.Time {
	seconds := int64(t >> 32)
	if seconds < 1<<31 {
		seconds += 1 << 32
	}
	return time.Unix(seconds+ntpEpoch, int64((t&0xffffffff)*uint64(time.Second)>>32))
}

// askNTP asks a time server how late it is. offset is what has to be added to
// the box's clock, rtt how long the question was under way.
func askNTP(ctx context.Context, u endpoint.Uplink, at netip.AddrPort) (offset, rtt time.Duration, err error) {
	conn, err := u.Dialer().DialContext(ctx, "udp", at.String())
	if err != nil {
		return 0, 0, err
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	question, answer := make([]byte, ntpSize), make([]byte, 1500)
	question[0] = ntpAsk
	for ctx.Err() == nil {
		// The time that is sent is none: the server only repeats it, and nobody
		// who has not seen it can make up an answer.
		nonce := rand.Uint64()
		binary.BigEndian.PutUint64(question[40:], nonce)
		begin := time.Now()
		if err := conn.SetReadDeadline(begin.Add(ntpAgain)); err != nil {
			return 0, 0, err
		}
		if ctx.Err() != nil {
			break // which the deadline would hide
		}
		if _, err := conn.Write(question); err != nil {
			return 0, 0, err
		}
		for time.Since(begin) < ntpAgain && ctx.Err() == nil {
			n, err := conn.Read(answer)
			took := time.Since(begin)
			if isTimeout(err) {
				break
			}
			if err != nil {
				return 0, 0, err
			}
			a, err := parseNTP(answer[:n], nonce)
			if errors.Is(err, errNotOurs) {
				continue
			}
			if err != nil {
				return 0, 0, err
			}
			end := begin.Add(took) // also where the clock was set meanwhile
			offset = (a.received.Sub(begin) + a.transmitted.Sub(end)) / 2
			return offset, took - a.transmitted.Sub(a.received), nil
		}
	}
	return 0, 0, errors.New("no answer")
}

func isTimeout(err error) bool {
	var t interface{ Timeout() bool }
	return errors.As(err, &t) && t.Timeout()
}
