package endpoint

import (
	"crypto/rand"
	"errors"
	"net/netip"
)

// An Ending is why the connection with a peer ends, other than with the Run
// that it belongs to. Its values are sentinel errors.
type Ending struct{ code, text string }

// NewEnding returns an Ending. The text goes on after the peer's name: "the
// peer closed the connection".
func NewEnding(code, text string) error { return &Ending{code, text} }

func (e *Ending) Error() string { return e.text }

// The endings that every protocol knows.
var (
	ErrPeerClosed = NewEnding("peer_closed", "the peer closed the connection")
	ErrPeerSilent = NewEnding("peer_silent", "the peer fell silent")
)

// Ended says in a sentence why the connection with a peer ended, nil if that
// was with its Run, or by another error that says so itself.
func Ended(peer netip.AddrPort, cause error) *Reason {
	var e *Ending
	if !errors.As(cause, &e) {
		return nil
	}
	return Because(e.code, "%s: %v", peer, e)
}

// sessionIDLength is the length of a session's id: 65 random bits.
const sessionIDLength = 13

// NewSessionID returns an id for a Session.
func NewSessionID() string { return rand.Text()[:sessionIDLength] }
