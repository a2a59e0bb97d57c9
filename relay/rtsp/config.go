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
	Mode      string          `json:"mode" required:"true" enum:"pull listen" selects:"true" doc:"play from a server, or accept ANNOUNCE"`
	URL       string          `json:"url,omitempty" length:"1-1024" only:"pull" required:"pull" doc:"rtsp:// or rtsps:// URL"`
	Port      int             `json:"port,omitzero" range:"1-65535" default:"8554" only:"listen" doc:"TCP port to listen on"`
	Path      string          `json:"path,omitempty" length:"1-256" pattern:"path" only:"listen" required:"listen" doc:"path that is published to"`
	Transport string          `json:"transport" enum:"auto tcp udp multicast" default:"auto" doc:"how media is carried"`
	Username  string          `json:"username,omitempty" length:"1-128" pattern:"text" doc:"for the peer's or our own authentication"`
	Password  endpoint.Secret `json:"password,omitzero" length:"1-128" doc:"needs a username"`
	TLS       bool            `json:"tls,omitempty" default:"false" only:"listen" doc:"listen for RTSPS"`
}

// OutputConfig is an RTSP output: the box serves players (serve), or announces
// to a server (announce).
type OutputConfig struct {
	Mode      string          `json:"mode" required:"true" enum:"serve announce" selects:"true" doc:"serve players, or ANNOUNCE to a server"`
	URL       string          `json:"url,omitempty" length:"1-1024" only:"announce" required:"announce" doc:"rtsp:// or rtsps:// URL"`
	Port      int             `json:"port,omitzero" range:"1-65535" default:"8554" only:"serve" doc:"TCP port to listen on"`
	Path      string          `json:"path,omitempty" length:"1-256" pattern:"path" only:"serve" doc:"path that is served; default: FLOW/OUTPUT"`
	Transport string          `json:"transport" enum:"auto tcp udp multicast" default:"auto" doc:"how media is carried"`
	Username  string          `json:"username,omitempty" length:"1-128" pattern:"text" doc:"for the peer's or our own authentication"`
	Password  endpoint.Secret `json:"password,omitzero" length:"1-128" doc:"needs a username"`
	TLS       bool            `json:"tls,omitempty" default:"false" only:"serve" doc:"listen for RTSPS"`
}
