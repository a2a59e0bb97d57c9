// Package uplink gives every socket its NIC: an uplink is a role (lan0, wan0)
// that is matched to a network interface, and the only maker of sockets.
package uplink

import "net/netip"

// Config is one uplink.
type Config struct {
	Name          string         `json:"name" required:"true" pattern:"uplink" doc:"role: lan0, wan0"`
	Match         *Match         `json:"match,omitempty" doc:"which NIC has the role; a role given on the command line needs none"`
	Default       bool           `json:"default,omitempty" default:"false" doc:"used by what names no uplink; at most one"`
	AdvertiseHost string         `json:"advertise_host,omitempty" length:"1-253" doc:"replaces the address in playback URLs, behind NAT"`
	DHCP4         bool           `json:"dhcp4,omitempty" default:"false" doc:"get an IPv4 address from the network"`
	Addresses     []netip.Prefix `json:"addresses,omitempty" items:"0-16" doc:"static addresses with their prefix length; none, and no dhcp4: as the system has it"`
	Gateway4      *netip.Addr    `json:"gateway4,omitempty" doc:"IPv4 router"`
	Gateway6      *netip.Addr    `json:"gateway6,omitempty" doc:"IPv6 router"`
	Nameservers   []netip.Addr   `json:"nameservers,omitempty" items:"0-4" doc:"name servers reached through this uplink"`
}

// A Match names a NIC by exactly one of its properties.
type Match struct {
	Interface string `json:"interface,omitempty" length:"1-15" pattern:"interface" doc:"name in the kernel"`
	MAC       string `json:"mac,omitempty" pattern:"mac" doc:"permanent hardware address"`
	Path      string `json:"path,omitempty" length:"1-255" pattern:"text" doc:"udev ID_PATH, the place in the machine"`
}
