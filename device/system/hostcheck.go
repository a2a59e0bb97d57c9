package system

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"regexp"

	"sluice/device/uplink"
	"sluice/relay/endpoint"
)

// What settings may hold. Names become names of files and lines of them, which
// root writes: what could be more than a word there is refused.
const (
	maxLinks     = 64
	maxAddresses = 16
	maxServers   = 8
	maxIdentify  = 600 // seconds
)

var (
	linkName = regexp.MustCompile(`^[A-Za-z0-9_-]{1,32}$`)
	hostName = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9-]{0,62}[A-Za-z0-9])?$`)
	// Of a NIC's name, what is no pattern to systemd (systemd.network(5), Name=).
	nicName = regexp.MustCompile(`^[A-Za-z0-9_.:@=+~^,-]{1,15}$`)
	nicPath = regexp.MustCompile(`^[A-Za-z0-9_.:@=+~^,/-]{1,255}$`)
)

// Empty tells whether nothing is asked of the host.
func (s Settings) Empty() bool { return s.Hostname == "" && len(s.NTP) == 0 && len(s.Links) == 0 }

// Validate returns everything that is wrong with the settings.
func (s Settings) Validate() error {
	var wrong []error
	if s.Hostname != "" && !hostName.MatchString(s.Hostname) {
		wrong = append(wrong, fmt.Errorf("host name %q: use letters, digits and - between them, 64 at most", clip(s.Hostname)))
	}
	if len(s.NTP) > maxServers || len(s.Links) > maxLinks {
		wrong = append(wrong, fmt.Errorf("there are %d time servers and %d uplinks: use %d and %d at most", len(s.NTP), len(s.Links), maxServers, maxLinks))
	}
	for _, host := range s.NTP {
		if why := endpoint.CheckHost(host); why != "" {
			wrong = append(wrong, fmt.Errorf("time server %s", why))
		}
	}
	names, nics := map[string]bool{}, map[uplink.Match]bool{}
	for _, l := range s.Links {
		if names[l.Name] || nics[l.Match] {
			wrong = append(wrong, fmt.Errorf("uplink %q, or its NIC, stands twice", clip(l.Name)))
		}
		names[l.Name], nics[l.Match] = true, true
		if err := l.validate(); err != nil {
			wrong = append(wrong, fmt.Errorf("uplink %q: %w", clip(l.Name), err))
		}
	}
	return errors.Join(wrong...)
}

func (l Link) validate() error {
	if !linkName.MatchString(l.Name) {
		return errors.New("its name is not of 1 to 32 of A-Z, a-z, 0-9, _ and -")
	}
	if err := checkMatch(l.Match); err != nil {
		return err
	}
	if len(l.Addresses) > maxAddresses || len(l.Nameservers) > maxServers {
		return fmt.Errorf("it has %d addresses and %d name servers: use %d and %d at most", len(l.Addresses), len(l.Nameservers), maxAddresses, maxServers)
	}
	for _, p := range l.Addresses {
		if !p.IsValid() || p.Bits() == 0 || !isHost(p.Addr()) {
			return fmt.Errorf("%s is not an address of a NIC", p)
		}
	}
	for _, a := range l.Nameservers {
		if !isHost(a) {
			return errors.New("a name server's address is none")
		}
	}
	for _, g := range []struct {
		at  *netip.Addr
		six bool
	}{{l.Gateway4, false}, {l.Gateway6, true}} {
		if g.at != nil && (!isHost(*g.at) || g.at.Is6() != g.six) {
			return errors.New("a gateway's address is none of its family")
		}
	}
	return nil
}

// checkMatch tells whether exactly one NIC can be meant.
func checkMatch(m uplink.Match) error {
	switch _, err := net.ParseMAC(m.MAC); {
	case m == uplink.Match{Interface: m.Interface} && nicName.MatchString(m.Interface) && m.Interface != "." && m.Interface != "..":
	case m == uplink.Match{MAC: m.MAC} && err == nil && len(m.MAC) == len("02:00:5e:00:53:01"):
	case m == uplink.Match{Path: m.Path} && nicPath.MatchString(m.Path):
	default:
		return errors.New("what it matches is not one NIC's name, hardware address or path")
	}
	return nil
}

// isHost tells whether an address can be that of one machine. A zone could be
// any text.
func isHost(a netip.Addr) bool {
	return a.IsValid() && a.Zone() == "" && !a.Is4In6() && !a.IsUnspecified() && !a.IsMulticast()
}

// Validate tells what is wrong with the action.
func (a Action) Validate() error {
	switch {
	case a.Name == Reboot && a.Seconds == 0:
	case a.Name == Identify && a.Seconds >= 1 && a.Seconds <= maxIdentify:
	case a.Name == Identify:
		return fmt.Errorf("a box shows itself for 1 to %d seconds, not for %d", maxIdentify, a.Seconds)
	default:
		return fmt.Errorf("there is no action %q", clip(a.Name))
	}
	return nil
}

// clip shortens what came from outside for a message.
func clip(s string) string { return s[:min(len(s), 64)] }
