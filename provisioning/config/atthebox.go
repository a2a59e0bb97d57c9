package config

import (
	"time"

	"sluice/relay/endpoint"
)

// Fleet is how the box stands with its fleet manager: for people at the box.
type Fleet struct {
	Broker         string           `json:"broker"` // URL, empty where there is none
	State          string           `json:"state"`  // as in Status
	Reason         *endpoint.Reason `json:"reason"`
	Since          time.Time        `json:"since"`
	Via            string           `json:"via"` // the uplink that leads to the broker
	DesiredVersion uint64           `json:"desired_version"`
	LastAnswer     *LastAnswer      `json:"last_answer"`
	OwnedLocally   []string         `json:"owned_locally"` // broker, uplinks: what the fleet may not change
}

// LastAnswer is what the fleet was last told of a document.
type LastAnswer struct {
	Version uint64 `json:"version"`
	Status  string `json:"status,omitempty"` // of Accepted
	Code    int    `json:"code,omitempty"`   // of Rejected
	Message string `json:"message,omitempty"`
}

// Commits are the configurations that can be gone back to: for people at the
// box.
type Commits struct {
	Pending *PendingCommit `json:"pending"`
	Commits []PastCommit   `json:"commits"` // the newest first
	Ended   *EndedCommit   `json:"ended"`   // the last that was pending, since the daemon started
}

// EndedCommit is a commit that was pending.
type EndedCommit struct {
	ID      string    `json:"id"`
	Version uint64    `json:"version"`
	Kept    bool      `json:"kept"` // or else it went back
	At      time.Time `json:"at"`
	Why     string    `json:"why"` // "anna confirmed it"
}

// PendingCommit is a document that is in force until it is confirmed.
type PendingCommit struct {
	ID        string    `json:"id"`
	Version   uint64    `json:"version"`
	Origin    string    `json:"origin"`
	By        string    `json:"by"`
	Comment   string    `json:"comment"`
	ConfirmBy time.Time `json:"confirm_by"`
	How       string    `json:"how"` // explicit, or session: by the one with the broker that comes back
}

// PastCommit is a document that was confirmed, or needed no confirmation.
type PastCommit struct {
	N          int       `json:"n"` // 0 is the newest
	Version    uint64    `json:"version"`
	Origin     string    `json:"origin"`
	By         string    `json:"by"`
	Comment    string    `json:"comment"`
	ReceivedAt time.Time `json:"received_at"`
	Digest     string    `json:"digest"`
}
