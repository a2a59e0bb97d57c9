// Package rtsp holds the configuration of RTSP inputs and outputs. This build
// validates and keeps it, and reports each item that asks for RTSP as invalid.
package rtsp

import "sluice/relay/endpoint"

// The modes of an RTSP endpoint.
const (
	ModePull     = "pull"
	ModeListen   = "listen"
	ModeServe    = "serve"
	ModeAnnounce = "announce"
)

// InputConfig is an RTSP input: the box plays from a server (pull), or a
// publisher announces to the box (listen).
type InputConfig struct {
	Mode      string          `json:"mode" required:"true" enum:"pull listen" doc:"play from a server, or accept ANNOUNCE"`
	URL       string          `json:"url,omitempty" length:"1-1024" doc:"rtsp:// or rtsps:// URL; pull only"`
	Port      int             `json:"port,omitzero" range:"1-65535" default:"8554" doc:"TCP port to listen on; listen only"`
	Path      string          `json:"path,omitempty" length:"1-256" doc:"path that is published to; listen only"`
	Transport string          `json:"transport" enum:"auto tcp udp multicast" default:"auto" doc:"how media is carried"`
	Username  string          `json:"username,omitempty" length:"1-128"`
	Password  endpoint.Secret `json:"password,omitzero" length:"1-128"`
	TLS       bool            `json:"tls,omitempty" doc:"listen for RTSPS; listen only"`
}

// OutputConfig is an RTSP output: the box serves players (serve), or announces
// to a server (announce).
type OutputConfig struct {
	Mode      string          `json:"mode" required:"true" enum:"serve announce" doc:"serve players, or ANNOUNCE to a server"`
	URL       string          `json:"url,omitempty" length:"1-1024" doc:"rtsp:// or rtsps:// URL; announce only"`
	Port      int             `json:"port,omitzero" range:"1-65535" default:"8554" doc:"TCP port to listen on; serve only"`
	Path      string          `json:"path,omitempty" length:"1-256" doc:"path that is served, default FLOW/OUTPUT; serve only"`
	Transport string          `json:"transport" enum:"auto tcp udp multicast" default:"auto" doc:"how media is carried"`
	Username  string          `json:"username,omitempty" length:"1-128"`
	Password  endpoint.Secret `json:"password,omitzero" length:"1-128"`
	TLS       bool            `json:"tls,omitempty" doc:"listen for RTSPS; serve only"`
}
