package srt

import (
	"fmt"
	"net/netip"
	"strings"
	"unicode"

	"sluice/relay/endpoint"
)

// maxStreamID is the longest stream id in bytes (draft-sharabayko-srt section
// 3.2.1.3).
const maxStreamID = 512

// Validate returns what is wrong with the configuration beyond what the tags
// say. Pointers begin with at, which stands for c.
func (c Config) Validate(at string) []endpoint.Fault {
	var faults []endpoint.Fault
	if strings.ContainsFunc(c.Passphrase.Reveal(), func(r rune) bool { return r < ' ' || r > '~' }) {
		faults = append(faults, endpoint.Faultf(at+"/passphrase", "passphrase has a character that is not printable ASCII: use letters, digits, spaces and signs"))
	}
	switch {
	case len(c.StreamID) > maxStreamID:
		faults = append(faults, endpoint.Faultf(at+"/stream_id", "stream_id has %d bytes: use at most %d", len(c.StreamID), maxStreamID))
	case strings.ContainsFunc(c.StreamID, func(r rune) bool { return !unicode.IsPrint(r) }):
		faults = append(faults, endpoint.Faultf(at+"/stream_id", "stream_id has a character that cannot be printed: use printable UTF-8"))
	}
	seen := map[Destination]bool{}
	for i, d := range c.Destinations {
		here := fmt.Sprintf("%s/destinations/%d", at, i)
		if d.Host == "" {
			continue
		}
		if wrong := endpoint.CheckHost(d.Host); wrong != "" {
			faults = append(faults, endpoint.Faultf(here+"/host", "host %s", wrong))
		} else if a, err := netip.ParseAddr(d.Host); err == nil && a.IsMulticast() {
			faults = append(faults, endpoint.Faultf(here+"/host", "host %q is a multicast address: SRT calls one peer", d.Host))
		}
		if d.Port != 0 && seen[d] {
			faults = append(faults, endpoint.Faultf(here, "the destination stands twice: use another host or port"))
		}
		seen[d] = true
	}
	return faults
}
