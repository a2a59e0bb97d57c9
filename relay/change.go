package relay

import (
	"reflect"

	"sluice/relay/rtmp"
	"sluice/relay/rtp"
	"sluice/relay/srt"
)

// A change is what a new configuration of an item asks for.
type change uint8

const (
	inPlace  change = iota // nothing, or what can change while it runs
	replace                // stop the old, then start the new
	handover               // start the new, stop the old when the new is connected
)

// inputChange compares two configurations of one input. Whether it is to run
// at all is decided elsewhere.
func inputChange(old, new Input) change {
	for _, c := range []*Input{&old, &new} {
		c.Name, c.Allow, c.Enabled = "", nil, false
		c.Program = 0 // its outputs read from another conversion
	}
	if reflect.DeepEqual(old, new) {
		return inPlace
	}
	return replace
}

// outputChange compares two configurations of one output. The region is only a
// label here: the uplink that it selects stands in Uplink.
func outputChange(old, new Output) change {
	for _, c := range []*Output{&old, &new} {
		c.Name, c.Description, c.Region = "", "", ""
		c.Allow, c.MaxViewers, c.Enabled = nil, 0, false
	}
	switch {
	case reflect.DeepEqual(old, new):
		return inPlace
	case onlyElsewhere(old, new):
		return handover
	}
	return replace
}

// onlyElsewhere tells whether both configurations dial, differ in destination
// or credentials alone, and may be connected at the same time: a stream cannot
// be published twice to one place under one name, and a receiver of RTP cannot
// tell two senders apart.
func onlyElsewhere(old, new Output) bool {
	switch {
	case old.SRT != nil && new.SRT != nil && old.SRT.Mode == srt.ModeCaller && new.SRT.Mode == srt.ModeCaller:
		o, n := *old.SRT, *new.SRT
		if o.StreamID == n.StreamID && overlap(o.Destinations, n.Destinations, func(a, b srt.Destination) bool { return a == b }) {
			return false
		}
		o.Destinations, o.StreamID, o.Passphrase, o.KeyLength = n.Destinations, n.StreamID, n.Passphrase, n.KeyLength
		old.SRT = &o
	case old.RTMP != nil && new.RTMP != nil && old.Protocol == RTMPPush && new.Protocol == RTMPPush:
		o := *old.RTMP
		if overlap(o.Destinations, new.RTMP.Destinations, sameStream) {
			return false
		}
		o.Destinations = new.RTMP.Destinations
		old.RTMP = &o
	case old.RTP != nil && new.RTP != nil:
		o := *old.RTP
		if overlap(o.Destinations, new.RTP.Destinations, sameReceiver) {
			return false
		}
		o.Destinations = new.RTP.Destinations
		old.RTP = &o
	}
	return reflect.DeepEqual(old, new)
}

// sameStream leaves aside who publishes it.
func sameStream(a, b rtmp.Destination) bool { return a.URL == b.URL && a.StreamKey == b.StreamKey }

// sameReceiver leaves the uplink aside: it is the way, not the place.
func sameReceiver(a, b rtp.Destination) bool { return a.Host == b.Host && a.Port == b.Port }

// overlap tells whether any of a is the same as any of b.
func overlap[T any](a, b []T, same func(T, T) bool) bool {
	for _, x := range a {
		for _, y := range b {
			if same(x, y) {
				return true
			}
		}
	}
	return false
}
