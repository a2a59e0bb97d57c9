package edit

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// What the schema cannot say of a value, and the box would say only when it is
// committed.
var (
	brokerURL   = []string{"device", "management", "broker", "url"} // to whom the broker's password is sent
	timeServers = []string{"device", "ntp"}
)

// atOnce is an error where the box takes no such value at a path.
func atOnce(path []string, word string) error {
	switch {
	case slices.Equal(path, brokerURL):
		return broker(word)
	case slices.Equal(path, timeServers) && !isHost(word):
		return fmt.Errorf("ntp is %s: use an IP address or a DNS name", quote(word))
	}
	return nil
}

// broker is an error where a text is no URL of one. It never has the text in
// it, as that may hold a password.
func broker(text string) error {
	const such = "url begins with mqtt://, mqtts://, ws:// or wss://: use one such as mqtts://fleet.example.com"
	u, err := url.Parse(text)
	switch {
	case err == nil && u.User != nil, err != nil && strings.Contains(text, "@"):
		return errors.New("url is to hold no user and no password, as it is shown: set username and password beside it")
	case err != nil, u.Hostname() == "", !slices.Contains([]string{"mqtt", "mqtts", "ws", "wss"}, u.Scheme):
		return errors.New(such)
	case u.Scheme[0] == 'm' && strings.Trim(u.Path, "/") != "":
		return errors.New("url has a path, which only that of ws:// or wss:// has: leave it out")
	}
	if n, err := strconv.Atoi(u.Port()); u.Port() != "" && (err != nil || n < 1 || n > 65535) {
		return errors.New("url has a port that there is not: use 1 to 65535")
	}
	return nil
}

// isHost tells an IP address of a host, or a DNS name (RFC 1123 section 2.1). A
// last label of digits is an IPv4 address gone wrong.
func isHost(text string) bool {
	if a, err := netip.ParseAddr(text); err == nil {
		return a.Zone() == "" && !a.IsUnspecified()
	}
	name := strings.TrimSuffix(text, ".")
	if len(name) > 253 {
		return false
	}
	last := ""
	for last = range strings.SplitSeq(name, ".") {
		wrong := func(r rune) bool { return !strings.ContainsRune(hostCharacters, r) }
		if last == "" || len(last) > 63 || last[0] == '-' || last[len(last)-1] == '-' || strings.ContainsFunc(last, wrong) {
			return false
		}
	}
	return strings.Trim(last, "0123456789") != ""
}

// hostCharacters are those of a label. The box takes _ as well.
const hostCharacters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_"
