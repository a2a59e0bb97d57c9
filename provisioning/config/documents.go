// Package config holds the documents that the box and its fleet manager
// exchange: the Desired one is parsed and validated here, whole or not at all,
// and the others are what the box answers and reports.
package config

import (
	"encoding/json"
	"time"

	"sluice/device"
	"sluice/device/uplink"
	"sluice/relay"
	"sluice/relay/endpoint"
)

// The schema names of this build.
const (
	Schema     = "sluice.config/v1"
	InfoSchema = "sluice.info/v1"
)

// MaxDocument is the largest desired document that is read, in bytes.
const MaxDocument = 256 << 10

// Desired is what the fleet manager, or a person at the box, wants to be in
// force: the body of config/desired.
type Desired struct {
	Schema      string                     `json:"schema" required:"true" enum:"sluice.config/v1" doc:"form of this document"`
	Version     uint64                     `json:"version" range:"0-9007199254740991" doc:"grows with every change; 0 only from the box itself, which takes the next one"`
	BaseVersion *uint64                    `json:"base_version,omitempty" range:"0-9007199254740991" doc:"where given, the version that must be in force"`
	ClientToken string                     `json:"client_token,omitempty" length:"0-64" pattern:"text" doc:"repeated in the answer"`
	Timestamp   *time.Time                 `json:"timestamp,omitempty" doc:"RFC 3339"`
	Commit      *Commit                    `json:"commit,omitempty" doc:"ask for a confirmed commit"`
	State       Settings                   `json:"state" required:"true" doc:"all that can be configured"`
	Secrets     map[string]endpoint.Secret `json:"secrets,omitempty" keys:"secret" length:"1-8192" doc:"strings, plain or age armor, that secret fields refer to by name"`
}

// Commit asks that a document be confirmed, or else rolled back.
type Commit struct {
	ID        string `json:"id" required:"true" length:"1-64" pattern:"text" doc:"repeated in the confirmation"`
	RollbackS int    `json:"rollback_s" range:"10-86400" unit:"s" default:"120" doc:"time after which an unconfirmed document is rolled back"`
}

// Settings are all that can be configured.
type Settings struct {
	Device  device.Config     `json:"device,omitzero" doc:"the box itself"`
	Uplinks []uplink.Config   `json:"uplinks,omitempty" items:"0-16" doc:"NIC roles"`
	Regions map[string]string `json:"regions,omitempty" keys:"region" length:"1-32" doc:"name of the uplink for each region"`
	Flows   []relay.Flow      `json:"flows,omitempty" items:"0-64" doc:"live streams"`
}

// The statuses of Accepted and Reported.
const (
	StatusApplied        = "applied"
	StatusUnchanged      = "unchanged"
	StatusPendingConfirm = "pending_confirm"
	StatusSuperseded     = "superseded"
	StatusRolledBack     = "rolled_back"
	StatusDegraded       = "degraded"
)

// The origins of the document in force.
const (
	OriginFleet   = "fleet"
	OriginLocal   = "local"
	OriginFactory = "factory"
)

// Accepted answers a desired document that was taken: config/accepted.
type Accepted struct {
	Version     uint64     `json:"version"`
	ClientToken string     `json:"client_token,omitempty"`
	Status      string     `json:"status"`
	ConfirmBy   *time.Time `json:"confirm_by,omitempty"`
	Timestamp   time.Time  `json:"timestamp"`
}

// Rejected answers a desired document that was refused: config/rejected. Code
// is one of the AWS device shadow's.
type Rejected struct {
	Code           int              `json:"code"`
	Message        string           `json:"message"`
	Version        uint64           `json:"version,omitempty"`
	CurrentVersion uint64           `json:"current_version"`
	ClientToken    string           `json:"client_token,omitempty"`
	Errors         []endpoint.Fault `json:"errors"`
	Timestamp      time.Time        `json:"timestamp"`
}

func (r *Rejected) Error() string { return r.Message }

// Confirm settles a commit that is pending: config/confirm.
type Confirm struct {
	ID          string `json:"id"`
	Action      string `json:"action"` // confirm or cancel
	ClientToken string `json:"client_token,omitempty"`
}

// Reported is what is in force: config/reported. State is Settings with every
// secret as {"set": true} and every output with its playback_urls. Commit is
// there while the status is pending_confirm.
type Reported struct {
	Schema         string          `json:"schema"`
	Version        uint64          `json:"version"`
	DesiredVersion uint64          `json:"desired_version"`
	Status         string          `json:"status"`
	Origin         string          `json:"origin"`
	Digest         string          `json:"digest"`
	Commit         *PendingCommit  `json:"commit,omitempty"`
	State          json.RawMessage `json:"state"`
	Timestamp      time.Time       `json:"timestamp"`
}

// StateReport is the state of every item, on change: the body of state.
type StateReport struct {
	Timestamp time.Time     `json:"timestamp"`
	Version   uint64        `json:"version"`
	Uplinks   []UplinkState `json:"uplinks"`
	Flows     []FlowState   `json:"flows"`
	Alarms    []Alarm       `json:"alarms"`
}

// UplinkState is the state of one uplink.
type UplinkState struct {
	Name      string           `json:"name"`
	Interface string           `json:"interface"`
	Ready     bool             `json:"ready"`
	Reason    *endpoint.Reason `json:"reason"`
	Carrier   bool             `json:"carrier"`
	Addresses []string         `json:"addresses"`
	Gateways  []string         `json:"gateways"`
	// Routing says what the uplink lacks of a routing table of its own.
	Routing *endpoint.Reason `json:"routing,omitempty"`
}

// TestResult is the answer's data of the request "test": whether something
// can be reached through one uplink.
type TestResult struct {
	Test      string   `json:"test"` // link, ping, dns, tcp, srt, ntp, fleet, multicast or output
	Uplink    string   `json:"uplink"`
	Interface string   `json:"interface"`
	OK        bool     `json:"ok"`
	Message   string   `json:"message"` // one sentence
	Addresses []string `json:"addresses,omitempty"`
	TimeMS    float64  `json:"time_ms,omitzero"` // until the answer came
	// OffsetMS is what has to be added to the box's clock, by ntp.
	OffsetMS *float64 `json:"offset_ms,omitempty"`
	// Packets, Bytes and Sources are what multicast heard.
	Packets *uint64  `json:"packets,omitempty"`
	Bytes   *uint64  `json:"bytes,omitempty"`
	Sources []string `json:"sources,omitempty"`
	// Results are those of each way to the broker (fleet), and of each
	// destination (output).
	Results []TestResult `json:"results,omitempty"`
}

// What an Inspection calls the forms of streams.
const (
	CarriageTS        = "MPEG-TS"
	CarriageRTMP      = "RTMP"
	CarriageDatagrams = "datagrams"
)

// What an Inspection calls the kinds of elementary streams.
const (
	StreamVideo = "video"
	StreamAudio = "audio"
	StreamData  = "data"
)

// An Inspection is the answer's data of the request "input-inspect": what the
// input in use of a flow brings.
type Inspection struct {
	Timestamp  time.Time          `json:"timestamp"`
	Flow       string             `json:"flow"`
	Input      string             `json:"input"`
	Protocol   string             `json:"protocol"`
	State      relay.State        `json:"state"`
	Reason     *endpoint.Reason   `json:"reason"`
	Carriage   string             `json:"carriage,omitempty"`   // MPEG-TS, RTMP or datagrams
	Conversion string             `json:"conversion,omitempty"` // what it is converted to, RTMP or MPEG-TS
	BitrateBps uint64             `json:"bitrate_bps"`          // of all that comes in
	MeasuredS  float64            `json:"measured_s"`           // how long the streams were
	Note       string             `json:"note,omitempty"`       // why there is less to tell than there should be
	Programs   []InspectedProgram `json:"programs"`
}

// InspectedProgram is a programme. Those of RTMP are as they are made for
// MPEG-TS.
type InspectedProgram struct {
	Number  uint16            `json:"number"`
	PMTPID  uint16            `json:"pmt_pid"`
	Taken   bool              `json:"taken"` // it is the one that is converted
	Streams []InspectedStream `json:"streams"`
}

// InspectedStream is an elementary stream, with what is known of it.
type InspectedStream struct {
	PID        uint16  `json:"pid"`
	StreamType uint8   `json:"stream_type"` // of the PMT
	Type       string  `json:"type"`        // video, audio or data
	Codec      string  `json:"codec,omitempty"`
	Width      int     `json:"width,omitzero"`
	Height     int     `json:"height,omitzero"`
	FrameRate  float64 `json:"frame_rate,omitzero"`
	SampleRate int     `json:"sample_rate,omitzero"`
	Channels   int     `json:"channels,omitzero"`
	BitrateBps uint64  `json:"bitrate_bps"`        // of whole transport packets
	Carried    bool    `json:"carried"`            // by outputs of the conversion
	LeftOut    string  `json:"left_out,omitempty"` // why it is not
}

// FlowState is the state of one flow's items.
type FlowState struct {
	ID      string        `json:"id"`
	Inputs  []InputState  `json:"inputs"`
	Outputs []OutputState `json:"outputs"`
}

// InputState is the state of one input.
type InputState struct {
	ID     string           `json:"id"`
	State  relay.State      `json:"state"`
	Reason *endpoint.Reason `json:"reason"`
	Since  time.Time        `json:"since"`
	Active bool             `json:"active"`
}

// OutputState is the state of one output.
type OutputState struct {
	ID      string           `json:"id"`
	State   relay.State      `json:"state"`
	Reason  *endpoint.Reason `json:"reason"`
	Since   time.Time        `json:"since"`
	Viewers int              `json:"viewers"`
}

// An Alarm is something that a person should look at.
type Alarm struct {
	Code    string    `json:"code"`
	Subject string    `json:"subject"`
	Since   time.Time `json:"since"`
	Message string    `json:"message"`
}

// Telemetry is figures, every 10 s: the body of telemetry.
type Telemetry struct {
	Timestamp time.Time       `json:"timestamp"`
	Uplinks   []UplinkFigures `json:"uplinks"`
	Flows     []FlowFigures   `json:"flows"`
	System    SystemFigures   `json:"system"`
}

// UplinkFigures are those of one uplink's NIC.
type UplinkFigures struct {
	Name  string `json:"name"`
	RxBps uint64 `json:"rx_bps"`
	TxBps uint64 `json:"tx_bps"`
}

// FlowFigures are those of one flow's items.
type FlowFigures struct {
	ID      string          `json:"id"`
	Inputs  []InputFigures  `json:"inputs"`
	Outputs []OutputFigures `json:"outputs"`
}

// InputFigures are those of one input.
type InputFigures struct {
	ID         string           `json:"id"`
	BitrateBps uint64           `json:"bitrate_bps"`
	Bytes      uint64           `json:"bytes"`
	Packets    InputPackets     `json:"packets"`
	RTTMs      float64          `json:"rtt_ms"`
	LatencyMs  float64          `json:"latency_ms"`
	Sessions   []SessionFigures `json:"sessions"`
	SRT        []LinkFigures    `json:"srt,omitempty"`
}

// InputPackets counts an input's packets since the process started.
type InputPackets struct {
	Received      uint64            `json:"received"`
	Lost          uint64            `json:"lost"`
	Retransmitted uint64            `json:"retransmitted"`
	Dropped       map[string]uint64 `json:"dropped"`
}

// OutputFigures are those of one output.
type OutputFigures struct {
	ID            string           `json:"id"`
	BitrateBps    uint64           `json:"bitrate_bps"`
	Bytes         uint64           `json:"bytes"`
	BytesAcked    uint64           `json:"bytes_acked"`
	Packets       OutputPackets    `json:"packets"`
	RTTMs         float64          `json:"rtt_ms"`
	LatencyMs     float64          `json:"latency_ms"`
	Reconnections uint64           `json:"reconnections"`
	Refused       uint64           `json:"refused"`
	Sessions      []SessionFigures `json:"sessions"`
	SRT           []LinkFigures    `json:"srt,omitempty"`
	// Conversion is that of the stream that the output reads, if it is converted.
	Conversion *ConversionFigures `json:"conversion,omitempty"`
	// Destinations are those of an output that has two.
	Destinations []DestinationState `json:"destinations,omitempty"`
}

// ConversionFigures counts what a conversion made of its source since it began.
// All outputs that share it show the same.
type ConversionFigures struct {
	Frames   uint64            `json:"frames"`   // passed on
	Jumps    uint64            `json:"jumps"`    // of the source's clock
	Repaired uint64            `json:"repaired"` // frames whose times would have gone back
	Dropped  map[string]uint64 `json:"dropped"`  // by reason
}

// DestinationState is the state of one of two destinations.
type DestinationState struct {
	Address string           `json:"address"`
	State   relay.State      `json:"state"`
	Reason  *endpoint.Reason `json:"reason"`
}

// OutputPackets counts an output's packets since the process started.
type OutputPackets struct {
	Sent          uint64            `json:"sent"`
	Lost          uint64            `json:"lost"`
	Retransmitted uint64            `json:"retransmitted"`
	Dropped       map[string]uint64 `json:"dropped"`
}

// SessionFigures are those of one peer of a listening item.
type SessionFigures struct {
	ID         string    `json:"id"`
	Peer       string    `json:"peer"`
	Since      time.Time `json:"since"`
	BitrateBps uint64    `json:"bitrate_bps"`
}

// LinkFigures are those of one SRT connection.
type LinkFigures struct {
	endpoint.Link
	// AdvisedLatencyMs is the least latency_ms that suits the path; 0 until
	// the path is known.
	AdvisedLatencyMs int `json:"advised_latency_ms,omitempty"`
}

// SystemFigures are those of the box.
type SystemFigures struct {
	CPUPercent   float64  `json:"cpu_percent"`
	RSSBytes     uint64   `json:"rss_bytes"`
	TemperatureC *float64 `json:"temperature_c"` // null where the box has no sensor
	UptimeS      float64  `json:"uptime_s"`
}

// The states of Status.
const (
	StatusInit         = "init"
	StatusReady        = "ready"
	StatusDisconnected = "disconnected"
	StatusLost         = "lost"
)

// Status says whether the box is there: the body of status, and of the will.
type Status struct {
	State     string    `json:"state"`
	BdSeq     uint64    `json:"bd_seq"`
	BootID    string    `json:"boot_id"`
	Timestamp time.Time `json:"timestamp"`
}

// Info is what the box is: the body of info.
type Info struct {
	Schema        string          `json:"schema"`
	Device        string          `json:"device"`
	SerialNumber  string          `json:"serial_number"`
	Model         string          `json:"model"`
	Version       string          `json:"version"`
	Architecture  string          `json:"architecture"`
	Interfaces    []InterfaceInfo `json:"interfaces"`
	Capabilities  Capabilities    `json:"capabilities"`
	ConfigSchemas []string        `json:"config_schemas"`
	AgeRecipient  string          `json:"age_recipient"`
}

// InterfaceInfo is one NIC of the box.
type InterfaceInfo struct {
	Name      string `json:"name"`
	MAC       string `json:"mac"`
	Path      string `json:"path"`
	Driver    string `json:"driver"`
	Carrier   bool   `json:"carrier"`
	SpeedMbps int    `json:"speed_mbps"`
}

// Capabilities are what this build can do.
type Capabilities struct {
	Inputs     []string `json:"inputs"`
	Outputs    []string `json:"outputs"`
	Failover   []string `json:"failover"`
	MaxFlows   int      `json:"max_flows"`
	MaxOutputs int      `json:"max_outputs"`
}

// The severities of an Event.
const (
	SeverityInfo    = "info"
	SeverityWarning = "warning"
	SeverityError   = "error"
)

// An Event is something that happened: the body of event.
type Event struct {
	Seq       uint64         `json:"seq"`
	BootID    string         `json:"boot_id"`
	Timestamp time.Time      `json:"timestamp"`
	Severity  string         `json:"severity"`
	Type      string         `json:"type"`
	Subject   string         `json:"subject"`
	Message   string         `json:"message"`
	Data      map[string]any `json:"data,omitempty"`
}

// A Request asks the box to act: the body of request/NAME.
type Request struct {
	Transaction string          `json:"transaction"`
	Expires     time.Time       `json:"expires"`
	Data        json.RawMessage `json:"data,omitempty"`
}

// A Response answers a Request: the body of response/NAME.
type Response struct {
	Transaction string          `json:"transaction"`
	Status      string          `json:"status"` // ok or error
	Data        json.RawMessage `json:"data,omitempty"`
	Error       *ResponseError  `json:"error,omitempty"`
}

// A ResponseError says why a Request was not carried out.
type ResponseError struct {
	Code    int    `json:"code"`
	Message string `json:"message"`
}
