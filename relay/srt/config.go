// Package srt receives and sends live streams over SRT
// (draft-sharabayko-srt-01), as listener and as caller, by a transport of its
// own (docs/adr/0003).
//
//	Input, Output          what the Engine runs: an entrance (listener) or a call
//	  listener, calling    handshakes (listen.go, dial.go)
//	  conn                 a connection, without sockets or clock (conn.go)
//	    sender, receiver   what it is for (sender.go, receiver.go)
//	  loop, socket         what drives many of them (loop.go, socket.go)
//	Transport              loops and sockets, shared by the box (transport.go)
package srt

import (
	"net"
	"strconv"

	"sluice/relay/endpoint"
)

// The modes of an SRT endpoint.
const (
	ModeListener = "listener"
	ModeCaller   = "caller"
)

// Config is an SRT input or output.
type Config struct {
	Mode         string        `json:"mode" required:"true" enum:"listener caller" selects:"true" doc:"who opens the connection: the peer (listener) or the box (caller)"`
	Port         int           `json:"port,omitzero" range:"1-65535" only:"listener" required:"listener" doc:"UDP port to listen on"`
	Destinations []Destination `json:"destinations,omitempty" items:"1-2" only:"caller" required:"caller" doc:"peers to call; an input has one"`
	// DestinationMode says what the second destination is for.
	DestinationMode   string          `json:"destination_mode,omitempty" enum:"backup both" default:"backup" only:"caller" doc:"second destination: only while the first fails, or sent to all the time"`
	LatencyMS         int             `json:"latency_ms" range:"0-15000" unit:"ms" default:"120" doc:"receiver buffer; the larger of both sides' is used. 3-4 x the round-trip time is a good start"`
	Passphrase        endpoint.Secret `json:"passphrase,omitzero" length:"10-79" doc:"turns encryption on; printable ASCII"`
	KeyLength         int             `json:"key_length" enum:"16 24 32" unit:"bytes" default:"16" doc:"AES key length"`
	StreamID          string          `json:"stream_id,omitempty" length:"0-512" doc:"sent by a caller; a listener that has one refuses others. At most 512 bytes of printable UTF-8"`
	PeerIdleTimeoutMS int             `json:"peer_idle_timeout_ms" range:"1000-10000" unit:"ms" default:"5000" doc:"silence after which a peer is given up"`
	OverheadPercent   int             `json:"overhead_percent" range:"5-100" unit:"%" default:"100" doc:"outputs: how much of the stream's rate may be sent again, at most, when the network loses packets"`
}

// overhead is OverheadPercent, also of a Config made by hand.
func (c Config) overhead() int {
	if c.OverheadPercent == 0 {
		return 100
	}
	return c.OverheadPercent
}

// A Destination is a peer to call.
type Destination struct {
	Host string `json:"host" required:"true" length:"1-253" doc:"address or domain name"`
	Port int    `json:"port" required:"true" range:"1-65535" doc:"UDP port"`
}

func (d Destination) address() string { return net.JoinHostPort(d.Host, strconv.Itoa(d.Port)) }
