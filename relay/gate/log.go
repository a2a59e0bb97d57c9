package gate

import (
	"log/slog"
	"net/netip"
	"time"

	"sluice/relay/endpoint"
)

// What is logged, at most: who may connect may do so over and over, and who is
// refused comes again every few seconds.
const (
	every         = time.Minute
	mostConnected = 300 // connections in that time
)

// A log says who came and went, and not more than is worth reading. The Gate is
// locked.
type log struct {
	to       *slog.Logger
	refusals endpoint.Repeated
	begun    time.Time // of the minute in which n peers connected
	n        int
}

// connected logs that a peer has connected, and reports whether it did.
func (l *log) connected(peer netip.AddrPort, session string) bool {
	now := time.Now()
	if now.Sub(l.begun) >= every {
		l.begun, l.n = now, 0
	}
	l.n++
	switch {
	case l.n <= mostConnected:
		l.to.Info("connected", "peer", peer, "session", session)
		return true
	case l.n == mostConnected+1:
		l.to.Warn("connections come and go so often that the next ones are not logged", "in_last_seconds", int(now.Sub(l.begun).Seconds()))
	}
	return false
}

// refused logs that a peer was turned away.
func (l *log) refused(peer netip.AddrPort, why Verdict) {
	if n, yes := l.refusals.Worth(string(why)); yes {
		l.to.Warn("caller refused", "peer", peer, "reason", string(why), "repeated", n)
	}
}
