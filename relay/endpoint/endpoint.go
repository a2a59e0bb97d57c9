// Package endpoint is what the protocol packages and the Engine agree on:
// inputs, outputs, the uplinks their sockets are bound to, and the facts from
// which their state is derived.
//
// An Input or Output has one blocking Run. It returns when ctx is done, or
// with an *Error that says what went wrong; the Engine's supervisor then makes
// and runs another, so each is run once. Sockets, goroutines and sessions live
// no longer than Run. Facts are pulled with Status, at any time and from any
// goroutine; an endpoint reports what it knows and the Engine alone says what
// state that is.
package endpoint

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"time"

	"sluice/relay/flow"
)

// ErrSocketsLost is the cause (context.Cause) of the end of a Run whose sockets
// no longer reach their NIC: no peer hears a goodbye, and the next Run waits.
var ErrSocketsLost = errors.New("the uplink's address or NIC changed")

// An Input receives one source and publishes it.
type Input interface {
	// Run receives until ctx is done or the source fails.
	Run(ctx context.Context, to *flow.Flow) error
	Status() InputStatus
}

// An Output sends a flow to its peer, or to those that connect to it.
type Output interface {
	// Run sends until ctx is done or the output fails.
	Run(ctx context.Context, from flow.Source) error
	Status() OutputStatus
}

// A Gate is an Input or Output that others connect to.
type Gate interface {
	// SetAccess changes who may connect, at once: peers that are no longer
	// allowed are disconnected.
	SetAccess(Access)
	// Kick ends one session and reports whether there was one of that id.
	Kick(session string) bool
}

// Access says who may connect, and how many.
type Access struct {
	Allow AllowList
	Max   int // sessions at a time
}

// Env is what the Engine gives to every endpoint that it makes.
type Env struct {
	// Uplink is the NIC role that every socket is made through.
	Uplink Uplink
	// UplinkNamed finds the role of a destination that names its own. It
	// never returns nil: an unknown role is an uplink that is never ready.
	UplinkNamed func(name string) Uplink
	// DSCP is the Differentiated Services code point of what is sent
	// (RFC 2474), 0-63.
	DSCP int
	// Ledger counts packets. It outlives the endpoint: a replaced output goes
	// on counting where its predecessor stopped.
	Ledger *Ledger
	// Log carries the flow's and the endpoint's id already.
	Log *slog.Logger
}

// An Uplink is a NIC by its role. Every socket of the product is made through
// one, bound to the NIC, so that it fails rather than use another.
type Uplink interface {
	// Name is the role: lan0, wan0.
	Name() string
	// Ready returns nil, or the reason why the uplink cannot be used now.
	Ready() *Reason
	// Interface is the name of the NIC in the kernel, empty while there is none.
	Interface() string
	// Addresses are those of the NIC that a peer can use: no link-local ones.
	Addresses() []netip.Addr
	// AdvertiseHost replaces the addresses in playback URLs where it is set.
	AdvertiseHost() string
	// Dialer makes connections from this NIC, names resolved through it.
	Dialer() *net.Dialer
	// ListenConfig makes sockets that receive on this NIC alone.
	ListenConfig() *net.ListenConfig
	// Resolver asks the uplink's name servers, through the uplink.
	Resolver() *net.Resolver
	// Generation changes when sockets made before no longer reach the NIC or
	// carry its address, and must be made again.
	Generation() uint64
}

// A Phase is how far an endpoint has come with its peer. The Engine derives
// the operator's State from it and from the media that moves.
type Phase uint8

const (
	Connecting Phase = iota // dialling, shaking hands, or waiting to try again
	Listening               // bound, nobody there
	Connected               // a peer is there; for datagrams without a peer, the socket is open
	Refused                 // the peer refused us
	Unworkable              // cannot work as asked
)

// InputStatus is what an input knows of itself.
type InputStatus struct {
	Phase    Phase
	Reason   *Reason   // why, where Phase is not Connected
	Received time.Time // when media last arrived; zero if never
	Peer     string    // address of the source, empty while there is none
	Sessions []Session
	RTT      time.Duration // 0 where the protocol does not tell
	Latency  time.Duration // negotiated; 0 where there is none
	Links    []Link        // the SRT connections in figures
}

// OutputStatus is what an output knows of itself. Of a listening output it is
// the best of its sessions.
type OutputStatus struct {
	Phase Phase
	// Reason is why, where Phase is not Connected; and where one of two
	// destinations is connected, why the other is not.
	Reason *Reason
	// Acknowledges tells that the protocol confirms delivery; the output is
	// then connected while Acked is fresh. Otherwise it is sending while Sent is.
	Acknowledges bool
	Acked        time.Time // when the peer last confirmed media; zero if never
	Sent         time.Time // when media last left for the peer; zero if never
	Joined       time.Time // when the newest of the peers was connected; zero if it is not known
	Sessions     []Session // of a listening output
	Playback     []Playback
	RTT          time.Duration // 0 where the protocol does not tell
	Latency      time.Duration // negotiated; 0 where there is none
	Links        []Link        // the SRT connections in figures
	// Destinations are those of an output that dials, in the order configured.
	Destinations []DestinationStatus
}

// A DestinationStatus is the state of one of an output's destinations.
type DestinationStatus struct {
	Address string // host:port as configured
	Phase   Phase
	Reason  *Reason // why, where Phase is not Connected; ReasonStandby: it is not called
}

// ReasonStandby is the code of a destination that is held back while the other
// one serves.
const ReasonStandby = "standby"

// A Playback is a URL at which an output can be played, without its host: the
// Engine fills in each address of the uplink.
type Playback struct {
	Scheme string // srt, rtmp, rtmps, rtsp, rtsps
	Port   int
	Path   string // with its leading slash, or empty
}

// A Session is one peer of a listening endpoint.
type Session struct {
	ID    string // unique in the process, and not guessable from another
	Peer  string // address and port
	Since time.Time
	// Bytes of media delivered to this peer, or received from it.
	Bytes      uint64
	BytesAcked uint64
	Lost       uint64 // packets
	RTT        time.Duration
	Latency    time.Duration // negotiated
	BitrateBps uint64        // over the last 2 s; the Engine fills it in
}

// A Reason says in one sentence why something is as it is.
type Reason struct {
	Code    string `json:"code"`
	Message string `json:"message"`
}

func (r *Reason) String() string {
	if r == nil {
		return ""
	}
	return r.Message
}

// Because returns a Reason with a formatted message.
func Because(code, format string, args ...any) *Reason {
	return &Reason{Code: code, Message: fmt.Sprintf(format, args...)}
}

// An Error ends a Run. Its Phase tells the supervisor how to go on: after
// Connecting it tries again with back-off, after Refused and Unworkable slowly.
type Error struct {
	Phase  Phase
	Reason Reason
	Err    error // the cause, nil if the reason says it all
}

func (e *Error) Error() string {
	if e.Err == nil {
		return e.Reason.Message
	}
	return e.Reason.Message + ": " + e.Err.Error()
}

func (e *Error) Unwrap() error { return e.Err }

// Fail returns an *Error with a formatted message.
func Fail(p Phase, cause error, code, format string, args ...any) error {
	return &Error{Phase: p, Reason: *Because(code, format, args...), Err: cause}
}

// Explain returns the phase and reason that an error of Run leaves behind.
func Explain(err error) (Phase, *Reason) {
	var e *Error
	if errors.As(err, &e) {
		return e.Phase, &Reason{Code: e.Reason.Code, Message: e.Error()}
	}
	return Connecting, Because("failed", "%v", err)
}

// A Fault is one thing wrong with a configuration.
type Fault struct {
	Pointer string `json:"pointer"` // JSON pointer (RFC 6901) into the document
	Code    string `json:"code"`
	Message string `json:"message"` // one sentence: what is wrong, what to do
}

func (f Fault) Error() string { return f.Pointer + ": " + f.Message }
