package srt

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"net/netip"
	"time"
)

const (
	cookieFor = 64 * time.Second // and as long again
	mostEnded = 1024             // callers remembered that have left
)

// Cookies show that a caller receives what is sent to its address, without a
// thing being kept of it (draft-sharabayko-srt-01 section 4.3.1.1): each is a
// hash of the address, the time and a secret.
//
// That of a caller which was connected is another one from its end on. Who
// recorded its handshake cannot have the connection back with it, and what was
// said on that played again.
type cookies struct {
	secret [16]byte
	begun  time.Time
	ended  map[netip.AddrPort]departure
}

// A departure is that of a caller, the nth from its address.
type departure struct {
	n  uint32
	at time.Time
}

func newCookies() *cookies {
	c := &cookies{begun: time.Now(), ended: make(map[netip.AddrPort]departure)}
	_, _ = rand.Read(c.secret[:]) // never fails
	return c
}

// of returns the cookie of a caller.
func (c *cookies) of(peer netip.AddrPort, now time.Time) uint32 { return c.bake(peer, c.period(now)) }

// valid tells whether a caller has its cookie.
func (c *cookies) valid(cookie uint32, peer netip.AddrPort, now time.Time) bool {
	p := c.period(now)
	return cookie == c.bake(peer, p) || cookie == c.bake(peer, p-1)
}

// period is the number of the time in which a cookie is new. It goes on when
// the clock is set.
func (c *cookies) period(now time.Time) int64 { return int64(now.Sub(c.begun) / cookieFor) }

func (c *cookies) bake(peer netip.AddrPort, period int64) uint32 {
	var b [16 + 16 + 2 + 8 + 4]byte // fits one block of the hash
	copy(b[:], c.secret[:])
	address := peer.Addr().As16()
	copy(b[16:], address[:])
	binary.BigEndian.PutUint16(b[32:], peer.Port())
	binary.BigEndian.PutUint64(b[34:], uint64(period))
	binary.BigEndian.PutUint32(b[42:], c.ended[peer].n)
	h := sha256.Sum256(b[:])
	return binary.BigEndian.Uint32(h[:])
}

// left notes that a caller's connection is over.
func (c *cookies) left(peer netip.AddrPort, now time.Time) {
	if _, known := c.ended[peer]; !known && len(c.ended) >= mostEnded {
		c.forget(now)
	}
	c.ended[peer] = departure{c.ended[peer].n + 1, now}
}

// forget makes room: those go whose cookies are stale, and one more if there
// are none.
func (c *cookies) forget(now time.Time) {
	for peer, d := range c.ended {
		if now.Sub(d.at) > 2*cookieFor {
			delete(c.ended, peer)
		}
	}
	for peer := range c.ended {
		if len(c.ended) < mostEnded {
			return
		}
		delete(c.ended, peer)
	}
}
