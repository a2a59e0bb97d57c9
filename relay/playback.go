package relay

import (
	"net"
	"strconv"

	"sluice/relay/endpoint"
	"sluice/relay/srt"
)

// listens tells whether players come to the output.
func listens(o Output) bool {
	return o.SRT != nil && o.SRT.Mode == srt.ModeListener || o.RTMP != nil && o.Protocol == RTMPPull
}

// playbackURLs returns where an output can be played: what the endpoint says,
// or before there is one what is configured, on the uplink's advertised host,
// or on each of its addresses.
func playbackURLs(o Output, at []endpoint.Playback, u endpoint.Uplink) []string {
	if !listens(o) {
		return nil
	}
	switch {
	case len(at) > 0:
	case o.RTMP != nil:
		at = []endpoint.Playback{o.RTMP.Playback()}
	default:
		at = []endpoint.Playback{{Scheme: "srt", Port: o.SRT.Port}}
	}
	var hosts []string
	if h := u.AdvertiseHost(); h != "" {
		hosts = []string{h}
	} else {
		for _, a := range u.Addresses() {
			hosts = append(hosts, a.String())
		}
	}
	var urls []string
	for _, p := range at {
		for _, h := range hosts {
			urls = append(urls, p.Scheme+"://"+net.JoinHostPort(h, strconv.Itoa(p.Port))+p.Path)
		}
	}
	return urls
}
