// Package rtmp carries streams by RTMP (Adobe's Real-Time Messaging Protocol
// 1.0, April 2012, whose sections the code names) and RTMPS, with the codecs of
// Enhanced RTMP (Veovera, v2): inputs that publishers come to or that play from
// a server, and outputs that publish to servers or that players come to.
//
//	TCP or TLS (link) -> handshake, chunks (reader, chunk) -> messages (conn)
//	  server: visit -> what an input or output is registered for -> session
//	  client: call -> publish or play -> session
//	input:  messages -> ingest -> flow       output: flow -> sender -> messages
//
// Media is not looked into further than to tell key frames and headers: what
// comes by RTMP leaves by RTMP as it came.
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
	Enhanced        string        `json:"enhanced,omitempty" enum:"auto force" default:"auto" only:"RTMP_PUSH" doc:"codecs of Enhanced RTMP (HEVC, AV1, Opus, AC-3): auto sends only those that the server lists, force sends any"`
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
	Username  string          `json:"username,omitempty" length:"1-64" pattern:"text" doc:"for servers that ask for one (Adobe authentication)"`
	Password  endpoint.Secret `json:"password,omitzero" length:"1-128" doc:"of that user"`
}

// What Enhanced may be.
const (
	EnhancedAuto  = "auto"
	EnhancedForce = "force"
)
