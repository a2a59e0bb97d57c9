package rtp

import (
	"fmt"
	"net/netip"

	"sluice/relay/endpoint"
)

// Validate returns what is wrong with the configuration beyond what the tags
// say. Pointers begin with at, which stands for c.
func (c InputConfig) Validate(at string) []endpoint.Fault {
	var faults []endpoint.Fault
	group, source := netip.Addr{}, netip.Addr{}
	if c.Multicast != "" {
		var err error
		if group, err = netip.ParseAddr(c.Multicast); err != nil || group.Zone() != "" || !group.IsMulticast() {
			faults = append(faults, endpoint.Faultf(at+"/multicast", "multicast is %q: use a group address such as 239.1.1.1", c.Multicast))
			group = netip.Addr{}
		}
	}
	if c.Source != "" {
		var err error
		if source, err = netip.ParseAddr(c.Source); err != nil || source.Zone() != "" || source.IsMulticast() || source.IsUnspecified() {
			faults = append(faults, endpoint.Faultf(at+"/source", "source is %q: use the sender's IP address", c.Source))
			source = netip.Addr{}
		}
	}
	if group.IsValid() && source.IsValid() && group.Is4() != source.Unmap().Is4() {
		faults = append(faults, endpoint.Faultf(at+"/source", "source is %s, of another family than multicast %s: use two IPv4 or two IPv6 addresses", source, group))
	}
	return faults
}

// Validate returns what is wrong with the configuration beyond what the tags
// say. Pointers begin with at, which stands for c.
func (c OutputConfig) Validate(at string) []endpoint.Fault {
	var faults []endpoint.Fault
	if c.Hitless && len(c.Destinations) == 1 {
		faults = append(faults, endpoint.Faultf(at+"/hitless", "hitless needs two destinations: add one, or set it to false"))
	}
	if c.Hitless && c.Encapsulation == EncapsulationUDP {
		// SMPTE ST 2022-7 section 6: datagrams are matched by RTP sequence number.
		faults = append(faults, endpoint.Faultf(at+"/hitless", "hitless needs the sequence numbers of RTP: set encapsulation to rtp, or hitless to false"))
	}
	if c.PreserveRTPHeader && c.Encapsulation == EncapsulationUDP {
		faults = append(faults, endpoint.Faultf(at+"/preserve_rtp_header", "bare UDP carries no RTP header: set encapsulation to rtp, or preserve_rtp_header to false"))
	}
	seen := map[Destination]bool{}
	for i, d := range c.Destinations {
		here := fmt.Sprintf("%s/destinations/%d", at, i)
		if d.Host == "" {
			continue
		}
		if wrong := endpoint.CheckHost(d.Host); wrong != "" {
			faults = append(faults, endpoint.Faultf(here+"/host", "host %s", wrong))
		}
		if d.Port != 0 && seen[d] {
			faults = append(faults, endpoint.Faultf(here, "the destination stands twice: use another host, port or uplink"))
		}
		seen[d] = true
	}
	return faults
}
