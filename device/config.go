// Package device is this box: its name, how it is managed, its NICs.
package device

import "sluice/relay/endpoint"

// Config is what a document says of the box itself.
type Config struct {
	Hostname   string      `json:"hostname,omitempty" length:"1-63" pattern:"hostname" doc:"name of the box in its network"`
	NTP        []string    `json:"ntp,omitempty" items:"0-4" length:"1-253" pattern:"text" doc:"time servers, by name or address; none: as the system has it"`
	Management *Management `json:"management,omitempty" doc:"how the box reaches its fleet manager"`
	TLS        *TLS        `json:"tls,omitempty" doc:"certificate of listening sockets; default: the self-signed one in the state directory"`
}

// Management says how the box reaches its fleet manager.
type Management struct {
	Uplinks    []string `json:"uplinks,omitempty" items:"1-8" doc:"NIC roles to try, in order"`
	Broker     *Broker  `json:"broker,omitempty" doc:"used where the command line gives no broker"`
	AllowFleet bool     `json:"allow_fleet,omitempty" default:"false" doc:"the fleet may change what was set at the box of uplinks and broker; only an edit at the box changes this"`
}

// A Broker is how the fleet's broker is reached, and as whom.
type Broker struct {
	URL      string          `json:"url" required:"true" length:"1-512" pattern:"text" doc:"mqtt://, mqtts://, ws:// or wss://, without a user"`
	Username string          `json:"username,omitempty" length:"1-255" pattern:"text" doc:"of the box at the broker"`
	Password endpoint.Secret `json:"password,omitzero" length:"1-1024" doc:"needs a username"`
	CAFile   string          `json:"ca_file,omitempty" length:"1-255" pattern:"file" doc:"PEM, in the state directory: certificates that sign the broker's; default: the system's"`
}

// TLS names the certificate that listening sockets present.
type TLS struct {
	CertFile string `json:"cert_file" required:"true" length:"1-255" pattern:"file" doc:"PEM, in the state directory"`
	KeyFile  string `json:"key_file" required:"true" length:"1-255" pattern:"file" doc:"PEM, in the state directory"`
}
