package rtmp

import (
	"fmt"
	"strings"

	"sluice/relay/endpoint"
)

// Validate returns what is wrong with the configuration beyond what the tags
// say. Pointers begin with at, which stands for c.
func (c InputConfig) Validate(at string) []endpoint.Fault {
	faults := checkKey(c.StreamKey, at+"/stream_key")
	if c.URL != "" {
		faults = append(faults, checkURL(c.URL, at+"/url")...)
	}
	return faults
}

// Validate returns what is wrong with the configuration beyond what the tags
// say. Pointers begin with at, which stands for c.
func (c OutputConfig) Validate(at string) []endpoint.Fault {
	var faults []endpoint.Fault
	type stream struct {
		url string
		key endpoint.Secret
	}
	seen := map[stream]bool{}
	for i, d := range c.Destinations {
		here := fmt.Sprintf("%s/destinations/%d", at, i)
		if d.URL != "" {
			faults = append(faults, checkURL(d.URL, here+"/url")...)
		}
		faults = append(faults, checkKey(d.StreamKey, here+"/stream_key")...)
		this := stream{d.URL, d.StreamKey}
		if d.URL != "" && d.StreamKey.IsSet() && seen[this] {
			faults = append(faults, endpoint.Faultf(here, "the destination stands twice: use another url or stream_key"))
		}
		seen[this] = true
		switch {
		case d.Username == "" && d.Password.IsSet():
			faults = append(faults, endpoint.Faultf(here+"/username", "username is missing: a password is of no use without"))
		case d.Username != "" && !d.Password.IsSet():
			faults = append(faults, endpoint.Faultf(here+"/password", "password is missing: a username is of no use without"))
		}
	}
	return faults
}

// checkURL checks a URL of the form rtmp[s]://host[:port]/app.
func checkURL(url, at string) []endpoint.Fault {
	if wrong := endpoint.CheckURL(url, "rtmp", "rtmps"); wrong != "" {
		return []endpoint.Fault{endpoint.Faultf(at, "url %s", wrong)}
	}
	if strings.Contains(url, "?") {
		return []endpoint.Fault{endpoint.Faultf(at, "url has a query, and URLs are shown to everyone: put ?key=value after the stream_key")}
	}
	return nil
}

// checkKey checks that a stream key can stand in a message and in a URL.
func checkKey(key endpoint.Secret, at string) []endpoint.Fault {
	if strings.ContainsFunc(key.Reveal(), func(r rune) bool { return r <= ' ' || r > '~' }) {
		return []endpoint.Fault{endpoint.Faultf(at, "stream_key has a character that is not printable ASCII, or a space: use letters, digits and signs")}
	}
	return nil
}
