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
// That of an address from which a connection came is another one from its end
// on. Who recorded its handshake cannot have the connection back with it, and
// what was said on that played again. A caller that asked for its cookie before
// that moment is let in with the one that it got, since it is not the same.
type cookies struct {
	secret [16]byte
	begun  time.Time
	ended  map[netip.AddrPort]departure
}

// A departure is that of the nth connection from an address.
type departure struct {
	n    uint32
	who  identity
	when time.Time
}

// An identity is what tells the connections from one address apart, as a rule:
// both numbers are random.
type identity struct {
	id    uint32 // of the caller's socket
	first sequence
}

func newCookies() *cookies {
	c := &cookies{begun: time.Now(), ended: make(map[netip.AddrPort]departure)}
	_, _ = rand.Read(c.secret[:]) // never fails
	return c
}

// of returns the cookie of a caller.
func (c *cookies) of(peer netip.AddrPort, now time.Time) uint32 {
	return c.bake(peer, c.ended[peer].n, c.period(now))
}

// valid tells whether a caller has its cookie.
func (c *cookies) valid(cookie uint32, peer netip.AddrPort, who identity, now time.Time) bool {
	p, last := c.period(now), c.ended[peer]
	if cookie == c.bake(peer, last.n, p) || cookie == c.bake(peer, last.n, p-1) {
		return true
	}
	return last.n > 0 && who != last.who && (cookie == c.bake(peer, last.n-1, p) || cookie == c.bake(peer, last.n-1, p-1))
}

// period is the number of the time in which a cookie is new. It goes on when
// the clock is set.
func (c *cookies) period(now time.Time) int64 { return int64(now.Sub(c.begun) / cookieFor) }

func (c *cookies) bake(peer netip.AddrPort, n uint32, period int64) uint32 {
	var b [16 + 16 + 2 + 8 + 4]byte // fits one block of the hash
	copy(b[:], c.secret[:])
	address := peer.Addr().As16()
	copy(b[16:], address[:])
	binary.BigEndian.PutUint16(b[32:], peer.Port())
	binary.BigEndian.PutUint64(b[34:], uint64(period))
	binary.BigEndian.PutUint32(b[42:], n)
	h := sha256.Sum256(b[:])
	return binary.BigEndian.Uint32(h[:])
}

// left notes that a caller's connection is over.
func (c *cookies) left(peer netip.AddrPort, who identity, now time.Time) {
	if _, known := c.ended[peer]; !known && len(c.ended) >= mostEnded {
		c.forget(now)
	}
	c.ended[peer] = departure{c.ended[peer].n + 1, who, now}
}

// forget makes room: those go whose cookies are stale, and one more if there
// are none.
func (c *cookies) forget(now time.Time) {
	for peer, d := range c.ended {
		if now.Sub(d.when) > 2*cookieFor {
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
