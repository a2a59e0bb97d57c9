// Package rtp receives and sends MPEG-TS over RTP (RFC 3550, RFC 2250) and
// over bare UDP, unicast and multicast.
package rtp

// The ways a transport stream stands in UDP datagrams.
const (
	EncapsulationRTP = "rtp"
	EncapsulationUDP = "udp"
)

// InputConfig is an RTP or UDP input.
type InputConfig struct {
	Port          int    `json:"port" required:"true" range:"1-65535" doc:"UDP port to receive on. Even ports are advised: RTCP is port+1"`
	Multicast     string `json:"multicast,omitempty" length:"1-45" doc:"group address to join"`
	Source        string `json:"source,omitempty" length:"1-45" doc:"address of the only sender that is heard; with multicast, a source-specific join"`
	Encapsulation string `json:"encapsulation" enum:"rtp udp" default:"rtp" doc:"RTP with MPEG-TS (RFC 2250), or bare UDP"`
}

// OutputConfig is an RTP or UDP output.
type OutputConfig struct {
	Destinations       []Destination `json:"destinations" required:"true" items:"1-2" doc:"where the stream is sent"`
	TTL                int           `json:"ttl" range:"1-255" default:"16" doc:"time to live, or hop limit"`
	Encapsulation      string        `json:"encapsulation" enum:"rtp udp" default:"rtp" doc:"RTP with MPEG-TS, payload type 33 (RFC 2250), or bare UDP"`
	Hitless            bool          `json:"hitless,omitempty" default:"false" doc:"two destinations carry two identical legs (SMPTE ST 2022-7)"`
	PreserveRTPHeader  bool          `json:"preserve_rtp_header,omitempty" default:"false" doc:"pass the source's own RTP headers on"`
	SmoothingLatencyMS int           `json:"smoothing_latency_ms,omitzero" range:"0-5000" unit:"ms" default:"0" doc:"buffer that evens out the times between datagrams"`
}

// A Destination is where an RTP output is sent.
type Destination struct {
	Host   string `json:"host" required:"true" length:"1-253" doc:"unicast or multicast address, or domain name"`
	Port   int    `json:"port" required:"true" range:"1-65535" doc:"UDP port. Even ports are advised: RTCP is port+1"`
	Uplink string `json:"uplink,omitempty" length:"1-32" doc:"NIC role for this destination; default: the output's"`
}
