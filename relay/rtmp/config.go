// Package rtmp holds the configuration of RTMP inputs and outputs. This build
// validates and keeps it, and reports each item that asks for RTMP as invalid.
package rtmp

import "sluice/relay/endpoint"

// InputConfig is an RTMP input: a publisher comes to the box (RTMP), or the
// box plays from a server (RTMP_PULL).
type InputConfig struct {
	Port      int             `json:"port,omitzero" range:"1-65535" default:"1935" doc:"TCP port to listen on; RTMP only"`
	App       string          `json:"app,omitempty" length:"1-128" default:"live" doc:"application name; RTMP only"`
	URL       string          `json:"url,omitempty" length:"1-1024" doc:"rtmp:// or rtmps:// host[:port]/app to play from; RTMP_PULL only"`
	StreamKey endpoint.Secret `json:"stream_key,omitzero" length:"1-512" doc:"stream name. Of an RTMP input: the publisher must know it"`
	Takeover  bool            `json:"takeover,omitempty" doc:"a second publisher replaces the first instead of being refused; RTMP only"`
	TLS       bool            `json:"tls,omitempty" doc:"listen for RTMPS; RTMP only"`
}

// OutputConfig is an RTMP output: the box publishes to a server (RTMP_PUSH),
// or players come to the box (RTMP_PULL).
type OutputConfig struct {
	Destinations    []Destination `json:"destinations,omitempty" items:"1-2" doc:"servers to publish to; RTMP_PUSH only"`
	DestinationMode string        `json:"destination_mode,omitempty" enum:"backup both" default:"backup" doc:"second destination: only while the first fails, or sent to all the time"`
	ChunkSize       int           `json:"chunk_size,omitzero" range:"4096-40960" unit:"bytes" default:"4096" doc:"RTMP chunk size; RTMP_PUSH only"`
	Port            int           `json:"port,omitzero" range:"1-65535" default:"1935" doc:"TCP port to listen on; RTMP_PULL only"`
	App             string        `json:"app,omitempty" length:"1-128" default:"live" doc:"application name; RTMP_PULL only"`
	StreamKey       string        `json:"stream_key,omitempty" length:"1-512" doc:"public path name, default the output's id; RTMP_PULL only"`
	TLS             bool          `json:"tls,omitempty" doc:"listen for RTMPS; RTMP_PULL only"`
}

// A Destination is a server to publish to.
type Destination struct {
	URL       string          `json:"url" required:"true" length:"1-1024" doc:"rtmp:// or rtmps:// host[:port]/app"`
	StreamKey endpoint.Secret `json:"stream_key,omitzero" length:"1-512" doc:"stream name; may carry ?key=value"`
}
