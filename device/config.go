// Package device is this box: its name, how it is managed, its NICs.
package device

// Config is what a document says of the box itself.
type Config struct {
	Hostname   string      `json:"hostname,omitempty" length:"1-63" pattern:"hostname" doc:"name of the box in its network"`
	Management *Management `json:"management,omitempty" doc:"how the box reaches its fleet manager"`
	TLS        *TLS        `json:"tls,omitempty" doc:"certificate of listening sockets; default: the self-signed one in the state directory"`
}

// Management says how the box reaches its fleet manager.
type Management struct {
	Uplinks []string `json:"uplinks,omitempty" items:"1-8" doc:"NIC roles to try, in order"`
}

// TLS names the certificate that listening sockets present.
type TLS struct {
	CertFile string `json:"cert_file" required:"true" length:"1-255" pattern:"file" doc:"PEM, in the state directory"`
	KeyFile  string `json:"key_file" required:"true" length:"1-255" pattern:"file" doc:"PEM, in the state directory"`
}
