package system

import (
	"errors"
	"net/netip"

	"sluice/device/uplink"
)

// ErrNoHost tells that nothing on this box carries out what needs root.
var ErrNoHost = errors.New("this box does not let its network and host name be set")

// Settings are what the host itself is to be like, beside what it relays.
type Settings struct {
	Hostname string   `json:"hostname,omitempty"`
	NTP      []string `json:"ntp,omitempty"` // time servers, by name or address
	Links    []Link   `json:"links,omitempty"`
}

// A Link is the network of one uplink's NIC. What the settings do not name is
// left as the system has it.
type Link struct {
	Name        string         `json:"name"` // the uplink's
	Match       uplink.Match   `json:"match"`
	Default     bool           `json:"default,omitempty"` // its routes and name servers come first
	DHCP4       bool           `json:"dhcp4,omitempty"`
	Addresses   []netip.Prefix `json:"addresses,omitempty"`
	Gateway4    *netip.Addr    `json:"gateway4,omitempty"`
	Gateway6    *netip.Addr    `json:"gateway6,omitempty"`
	Nameservers []netip.Addr   `json:"nameservers,omitempty"`
}

// An Action is something that the host does once: Reboot or Identify.
type Action struct {
	Name    string `json:"name"`
	Seconds int    `json:"seconds,omitempty"` // of Identify
}

// The names of actions.
const (
	Reboot   = "reboot"
	Identify = "identify"
)

// An Update is firmware to be written to the slot that does not run.
type Update struct {
	URL string `json:"url"` // of a RAUC bundle
}
