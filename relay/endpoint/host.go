package endpoint

import (
	"fmt"
	"net/netip"
	"strings"
)

// CheckHost tells what is wrong with a host that is to be an IP address or a
// DNS name (RFC 1123 section 2.1), in the form "...: use ...", or returns "".
func CheckHost(host string) string {
	if a, err := netip.ParseAddr(host); err == nil {
		switch {
		case a.Zone() != "":
			return fmt.Sprintf("%q has a zone: leave it out, the uplink names the NIC", host)
		case a.IsUnspecified():
			return fmt.Sprintf("%q is no peer's address: use the peer's own", host)
		}
		return ""
	}
	if strings.HasPrefix(host, "[") {
		return fmt.Sprintf("%q has brackets: write the IPv6 address without them", clip(host))
	}
	if !isDomain(host) {
		return fmt.Sprintf("%q is neither an IP address nor a DNS name: use one of them", clip(host))
	}
	return ""
}

// isDomain tells whether s is a DNS name. A last label of digits alone is
// refused: it is an IPv4 address gone wrong.
func isDomain(s string) bool {
	s = strings.TrimSuffix(s, ".")
	if len(s) == 0 || len(s) > 253 {
		return false
	}
	labels := strings.Split(s, ".")
	for _, l := range labels {
		if len(l) == 0 || len(l) > 63 || l[0] == '-' || l[len(l)-1] == '-' {
			return false
		}
		for _, c := range []byte(l) {
			if !('a' <= c|0x20 && c|0x20 <= 'z' || '0' <= c && c <= '9' || c == '-' || c == '_') {
				return false
			}
		}
	}
	return strings.Trim(labels[len(labels)-1], "0123456789") != ""
}

// clip keeps what is quoted in a sentence short.
func clip(s string) string {
	const most = 64
	if r := []rune(s); len(r) > most {
		return string(r[:most]) + "..."
	}
	return s
}
