// Package rtmp holds the configuration of RTMP inputs and outputs. This build
// validates and keeps it, and reports each item that asks for RTMP as invalid.
package rtmp

import "sluice/relay/endpoint"

// InputConfig is an RTMP input: a publisher comes to the box (RTMP), or the
// box plays from a server (RTMP_PULL).
type InputConfig struct {
	Port      int             `json:"port,omitzero" range:"1-65535" default:"1935" only:"RTMP" doc:"TCP port to listen on"`
	App       string          `json:"app,omitempty" length:"1-128" pattern:"path" default:"live" only:"RTMP" doc:"application name"`
	URL       string          `json:"url,omitempty" length:"1-1024" only:"RTMP_PULL" required:"RTMP_PULL" doc:"rtmp:// or rtmps:// host[:port]/app to play from"`
	StreamKey endpoint.Secret `json:"stream_key,omitzero" required:"true" length:"1-512" doc:"stream name. Of an RTMP input: the publisher must know it"`
	Takeover  bool            `json:"takeover,omitempty" default:"false" only:"RTMP" doc:"a second publisher replaces the first instead of being refused"`
	TLS       bool            `json:"tls,omitempty" default:"false" only:"RTMP" doc:"listen for RTMPS"`
}

// OutputConfig is an RTMP output: the box publishes to a server (RTMP_PUSH),
// or players come to the box (RTMP_PULL).
type OutputConfig struct {
	Destinations    []Destination `json:"destinations,omitempty" items:"1-2" only:"RTMP_PUSH" required:"RTMP_PUSH" doc:"servers to publish to"`
	DestinationMode string        `json:"destination_mode,omitempty" enum:"backup both" default:"backup" only:"RTMP_PUSH" doc:"second destination: only while the first fails, or sent to all the time"`
	ChunkSize       int           `json:"chunk_size,omitzero" range:"4096-40960" unit:"bytes" default:"4096" only:"RTMP_PUSH" doc:"RTMP chunk size"`
	Port            int           `json:"port,omitzero" range:"1-65535" default:"1935" only:"RTMP_PULL" doc:"TCP port to listen on"`
	App             string        `json:"app,omitempty" length:"1-128" pattern:"path" default:"live" only:"RTMP_PULL" doc:"application name"`
	StreamKey       string        `json:"stream_key,omitempty" length:"1-512" pattern:"path" only:"RTMP_PULL" doc:"public path name; default: the output's id"`
	TLS             bool          `json:"tls,omitempty" default:"false" only:"RTMP_PULL" doc:"listen for RTMPS"`
}

// A Destination is a server to publish to.
type Destination struct {
	URL       string          `json:"url" required:"true" length:"1-1024" doc:"rtmp:// or rtmps:// host[:port]/app"`
	StreamKey endpoint.Secret `json:"stream_key,omitzero" required:"true" length:"1-512" doc:"stream name; may carry ?key=value"`
}
