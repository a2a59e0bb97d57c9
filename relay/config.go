// Package relay carries live streams: the Engine is given a Config and keeps its
// flows running, each from its inputs through a ring to its outputs, and is
// asked for a Report of how they are.
package relay

import (
	"sluice/relay/endpoint"
	"sluice/relay/rtmp"
	"sluice/relay/rtp"
	"sluice/relay/rtsp"
	"sluice/relay/srt"
)

// The protocols of inputs and outputs.
const (
	SRT      = "SRT"
	RTMP     = "RTMP" // an input; as an output an alias of RTMP_PUSH
	RTMPPush = "RTMP_PUSH"
	RTMPPull = "RTMP_PULL"
	RTP      = "RTP"
	RTSP     = "RTSP"
)

// The most that there may be.
const (
	MaxFlows   = 64 // of one box
	MaxOutputs = 50 // of one flow
)

// Config is everything that the Engine relays.
//
// The struct tags of this and the other Config types say what a document may
// hold; sluice/provisioning/config explains and obeys them.
type Config struct {
	Flows []Flow
}

// A Flow is one live stream: its sources and where it goes.
type Flow struct {
	ID       string    `json:"id" required:"true" pattern:"id" doc:"never changes"`
	Name     string    `json:"name" required:"true" length:"1-64" pattern:"text" doc:"shown to operators"`
	Enabled  bool      `json:"enabled" default:"true" doc:"false closes every socket of the flow"`
	Inputs   []Input   `json:"inputs" required:"true" items:"1-2" doc:"sources; two for failover"`
	Failover *Failover `json:"failover,omitempty" doc:"how two inputs are used"`
	Outputs  []Output  `json:"outputs" items:"0-50" doc:"where the stream goes"`
}

// Failover says how two inputs are used.
type Failover struct {
	Mode             string `json:"mode" required:"true" enum:"switch merge" selects:"true" doc:"switch over at a random-access point, or merge two identical streams"`
	Primary          string `json:"primary,omitempty" pattern:"id" only:"switch" doc:"id of the preferred input; default: the first"`
	LossMS           int    `json:"loss_ms,omitzero" range:"50-60000" unit:"ms" default:"500" only:"switch" doc:"silence after which the other input is used"`
	Revert           string `json:"revert,omitempty" enum:"auto manual never" default:"auto" only:"switch" doc:"when to go back to the primary"`
	RevertAfterMS    int    `json:"revert_after_ms,omitzero" range:"0-3600000" unit:"ms" default:"10000" only:"switch" doc:"how long the primary must be healthy before going back"`
	RecoveryWindowMS int    `json:"recovery_window_ms,omitzero" range:"10-5000" unit:"ms" default:"200" only:"merge" doc:"how far apart the two streams may be"`
}

// An Input is one source of a flow. Exactly the object of its protocol is set.
type Input struct {
	ID       string             `json:"id" required:"true" pattern:"id" doc:"unique in the flow"`
	Name     string             `json:"name,omitempty" length:"1-64" pattern:"text" doc:"shown to operators"`
	Protocol string             `json:"protocol" required:"true" enum:"SRT RTMP RTMP_PULL RTP RTSP" selects:"true" doc:"how the stream comes in; RTMP: a publisher comes to the box, RTMP_PULL: the box plays from a server"`
	Uplink   string             `json:"uplink,omitempty" length:"1-32" doc:"NIC role; default: the default uplink"`
	Enabled  bool               `json:"enabled" default:"true" doc:"false keeps the input and closes its sockets"`
	Allow    endpoint.AllowList `json:"allow,omitempty" items:"0-256" doc:"CIDR prefixes that may connect, as a list or joined with ;. Empty: everyone"`
	Program  int                `json:"program,omitzero" range:"1-65535" only:"SRT RTP" doc:"number of the programme that is taken from MPEG-TS where it is converted (RTMP outputs); default: the first with video or audio"`
	SRT      *srt.Config        `json:"srt,omitempty" only:"SRT" required:"SRT" doc:"the object of protocol SRT"`
	RTMP     *rtmp.InputConfig  `json:"rtmp,omitempty" only:"RTMP RTMP_PULL" required:"RTMP RTMP_PULL" doc:"the object of protocols RTMP and RTMP_PULL"`
	RTP      *rtp.InputConfig   `json:"rtp,omitempty" only:"RTP" required:"RTP" doc:"the object of protocol RTP"`
	RTSP     *rtsp.InputConfig  `json:"rtsp,omitempty" only:"RTSP" required:"RTSP" doc:"the object of protocol RTSP"`
}

// An Output is one place where a flow goes. Exactly the object of its
// protocol is set.
type Output struct {
	ID          string             `json:"id" required:"true" pattern:"id" doc:"unique in the flow, never changes"`
	Name        string             `json:"name" required:"true" length:"1-64" pattern:"text" doc:"unique in the flow"`
	Description string             `json:"description,omitempty" length:"0-255" pattern:"text" doc:"for people"`
	Region      string             `json:"region,omitempty" length:"1-64" doc:"where the stream goes; selects an uplink through regions"`
	Uplink      string             `json:"uplink,omitempty" length:"1-32" doc:"NIC role; overrides region. Default: the default uplink"`
	Protocol    string             `json:"protocol" required:"true" enum:"SRT RTMP RTMP_PUSH RTMP_PULL RTP RTSP" alias:"RTMP=RTMP_PUSH" selects:"true" doc:"RTMP is stored as RTMP_PUSH"`
	Enabled     bool               `json:"enabled" default:"true" doc:"false keeps the output and closes its sockets"`
	Allow       endpoint.AllowList `json:"allow,omitempty" items:"0-256" doc:"CIDR prefixes that may connect, as a list or joined with ;. Empty: everyone"`
	MaxViewers  int                `json:"max_viewers" range:"1-200" default:"4" doc:"sessions at a time of a listening output"`
	DSCP        int                `json:"dscp,omitzero" range:"0-63" default:"0" doc:"Differentiated Services code point"`
	SRT         *srt.Config        `json:"srt,omitempty" only:"SRT" required:"SRT" doc:"the object of protocol SRT"`
	RTMP        *rtmp.OutputConfig `json:"rtmp,omitempty" only:"RTMP_PUSH RTMP_PULL" required:"RTMP_PUSH RTMP_PULL" doc:"the object of protocols RTMP_PUSH and RTMP_PULL"`
	RTP         *rtp.OutputConfig  `json:"rtp,omitempty" only:"RTP" required:"RTP" doc:"the object of protocol RTP"`
	RTSP        *rtsp.OutputConfig `json:"rtsp,omitempty" only:"RTSP" required:"RTSP" doc:"the object of protocol RTSP"`
	// PlaybackURLs are read back in what is reported, and taken and passed over
	// in what is desired, so that the one can be edited and sent as the other.
	PlaybackURLs []string `json:"playback_urls,omitzero" readonly:"true" doc:"where a listening output can be played; reported, and ignored when sent"`
}
