package endpoint

import (
	"context"
	"fmt"
	"net/netip"
	"testing"
)

func TestEnded(t *testing.T) {
	peer := netip.MustParseAddrPort("192.0.2.1:1935")
	for cause, want := range map[error]string{
		ErrPeerSilent:                                "peer_silent: 192.0.2.1:1935: the peer fell silent",
		fmt.Errorf("read: %w", ErrPeerClosed):        "peer_closed: 192.0.2.1:1935: the peer closed the connection",
		context.Canceled:                             "",
		ErrSocketsLost:                               "",
		Fail(Refused, nil, "bad_secret", "of a key"): "",
	} {
		got := ""
		if why := Ended(peer, cause); why != nil {
			got = why.Code + ": " + why.Message
		}
		if got != want {
			t.Errorf("%v: %q, not %q", cause, got, want)
		}
	}
	if Ended(peer, nil) != nil {
		t.Error("no cause has a reason")
	}
}

func TestSessionIDs(t *testing.T) {
	seen := make(map[string]bool)
	for range 1000 {
		id := NewSessionID()
		if len(id) != 13 || seen[id] {
			t.Fatalf("%q, seen before: %v", id, seen[id])
		}
		seen[id] = true
	}
}
