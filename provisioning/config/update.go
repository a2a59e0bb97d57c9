package config

import "time"

// UpdateDesired is the firmware that the fleet wants on the box: the body of
// update/desired.
type UpdateDesired struct {
	Version string `json:"version"` // that the firmware will report in info
	URL     string `json:"url"`     // of a RAUC bundle, http:// or https://; its signature protects it
	// Reboot has the box start again once it is installed. Otherwise it runs
	// from the next start on.
	Reboot bool `json:"reboot,omitempty"`
	// ClientToken makes a new wish of the same firmware.
	ClientToken string `json:"client_token,omitempty"`
}

// The states of UpdateReported.
const (
	UpdateCurrent    = "current"    // the firmware that is wanted runs
	UpdateInstalling = "installing" // it is being downloaded and written
	UpdateInstalled  = "installed"  // it runs from the next start of the box on
	UpdateFailed     = "failed"     // it is not tried again before another wish comes
	UpdateRefused    = "refused"    // the wish has a fault, or this box cannot be updated
)

// UpdateReported is what became of it: the body of update/reported.
type UpdateReported struct {
	Version         string    `json:"version"` // that runs
	DesiredVersion  string    `json:"desired_version"`
	State           string    `json:"state"`
	ProgressPercent int       `json:"progress_percent"`
	Message         string    `json:"message,omitempty"`
	Timestamp       time.Time `json:"timestamp"`
}
