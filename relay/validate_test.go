package relay

import (
	"slices"
	"testing"

	"sluice/relay/dial"
	"sluice/relay/rtmp"
	"sluice/relay/rtp"
	"sluice/relay/rtsp"
	"sluice/relay/srt"
)

func srtListener(id, uplink string, port int) Output {
	return Output{ID: id, Name: id, Protocol: SRT, Uplink: uplink, SRT: &srt.Config{Mode: srt.ModeListener, Port: port}}
}

func player(id string, port int, tls bool, key string) Output {
	return Output{ID: id, Name: id, Protocol: RTMPPull, RTMP: &rtmp.OutputConfig{Port: port, App: "live", StreamKey: key, TLS: tls}}
}

func TestPorts(t *testing.T) {
	caller := Output{ID: "c", Name: "c", Protocol: SRT, SRT: &srt.Config{Mode: srt.ModeCaller, Destinations: []srt.Destination{{Host: "a", Port: 9000}}}}
	rtpIn := func(port int, how string) Input {
		return Input{ID: "in", Protocol: RTP, RTP: &rtp.InputConfig{Port: port, Encapsulation: how}}
	}
	serve := Output{ID: "s", Name: "s", Protocol: RTSP, RTSP: &rtsp.OutputConfig{Mode: rtsp.ModeServe, Port: 9000, Path: "a"}}
	for _, c := range []struct {
		name string
		in   Input
		outs []Output
		want string // pointer of the fault, or none
	}{
		{"same port", rtpIn(1, "udp"), []Output{srtListener("a", "", 9000), srtListener("b", "", 9000)}, "/flows/0/outputs/1/srt/port"},
		{"other uplink", rtpIn(1, "udp"), []Output{srtListener("a", "lan0", 9000), srtListener("b", "wan0", 9000)}, ""},
		{"a caller listens on none", rtpIn(9000, "udp"), []Output{caller}, ""},
		{"UDP and TCP", rtpIn(1, "udp"), []Output{srtListener("a", "", 9000), serve}, ""},
		{"RTCP", rtpIn(8999, "rtp"), []Output{srtListener("a", "", 9000)}, "/flows/0/outputs/0/srt/port"},
		{"bare UDP has no RTCP", rtpIn(8999, "udp"), []Output{srtListener("a", "", 9000)}, ""},
		{"the last port", rtpIn(65535, "rtp"), nil, ""},
		{"RTMP players share", rtpIn(1, "udp"), []Output{player("a", 1935, false, "a"), player("b", 1935, false, "b")}, ""},
		{"RTMP players of one key", rtpIn(1, "udp"), []Output{player("a", 1935, false, "a"), player("b", 1935, false, "a")}, "/flows/0/outputs/1/rtmp/stream_key"},
		{"RTMP and RTMPS", rtpIn(1, "udp"), []Output{player("a", 1935, false, "a"), player("b", 1935, true, "b")}, "/flows/0/outputs/1/rtmp/port"},
		{"RTMP and RTSP", rtpIn(1, "udp"), []Output{player("a", 9000, false, "a"), serve}, "/flows/0/outputs/1/rtsp/port"},
	} {
		t.Run(c.name, func(t *testing.T) {
			faults := Config{Flows: []Flow{{ID: "f", Inputs: []Input{c.in}, Outputs: c.outs}}}.Validate("")
			got := ""
			for _, f := range faults {
				got += f.Pointer
			}
			if got != c.want {
				t.Errorf("faults are %v, want one at %q", faults, c.want)
			}
		})
	}
}

// TestMatrix holds the table against the protocols that there are, and shows
// that a pair which is not in it is a fault.
func TestMatrix(t *testing.T) {
	outputs := []string{SRT, RTMPPush, RTMPPull, RTP, RTSP}
	for _, in := range []string{SRT, RTMP, RTMPPull, RTP, RTSP} {
		for _, out := range outputs {
			if !Carries(in, out) {
				t.Errorf("%s cannot be sent as %s", in, out)
			}
		}
	}
	faults := pairFaults([]Input{{Protocol: RTP}, {Protocol: RTMPPush}}, Output{Protocol: SRT}, "/o")
	if len(faults) != 1 || faults[0].Pointer != "/o/protocol" {
		t.Errorf("an input that carries nothing gives %v", faults)
	}
}

// TestCapabilities: what the box says it can do is what it does.
func TestCapabilities(t *testing.T) {
	able := Built()
	for _, p := range []string{SRT, RTMP, RTMPPull, RTP, RTSP} {
		if gap := InputGap(Input{Protocol: p}); (gap == nil) != slices.Contains(able.Inputs, p) {
			t.Errorf("input %s: %v, and the box says it can do %v", p, gap, able.Inputs)
		}
	}
	for _, p := range []string{SRT, RTMPPush, RTMPPull, RTP, RTSP} {
		if gap := OutputGap(Flow{}, Output{Protocol: p}); (gap == nil) != slices.Contains(able.Outputs, p) {
			t.Errorf("output %s: %v, and the box says it can do %v", p, gap, able.Outputs)
		}
	}
	for _, mode := range []string{FailoverSwitch, FailoverMerge} {
		two := []Input{{ID: "a", Protocol: SRT, Enabled: true}, {ID: "b", Protocol: SRT, Enabled: true}}
		held := InputStandby(Flow{Inputs: two, Failover: &Failover{Mode: mode, Primary: "a"}}, two[1])
		if unable := held != nil && held.Code == ReasonFailover; unable == slices.Contains(able.Failover, mode) {
			t.Errorf("two inputs in mode %s: %v, and the box says it can do %v", mode, held, able.Failover)
		}
	}
	for _, mode := range []string{dial.Backup, dial.Both} {
		two := &srt.Config{Mode: srt.ModeCaller, Destinations: make([]srt.Destination, 2), DestinationMode: mode}
		if gap := OutputGap(Flow{}, Output{Protocol: SRT, SRT: two}); (gap == nil) != slices.Contains(able.Failover, mode) {
			t.Errorf("two destinations in mode %s: %v, and the box says it can do %v", mode, gap, able.Failover)
		}
	}
	rtpIn := Input{ID: "r", Protocol: RTP, RTP: &rtp.InputConfig{Encapsulation: rtp.EncapsulationRTP}}
	srtIn := Input{ID: "s", Protocol: SRT, SRT: &srt.Config{}}
	for _, c := range []struct {
		name   string
		inputs []Input
		config rtp.OutputConfig
		gap    bool
	}{
		{"plain", []Input{srtIn}, rtp.OutputConfig{}, false},
		{"smoothing", []Input{rtpIn}, rtp.OutputConfig{SmoothingLatencyMS: 1}, true},
		{"header of RTP", []Input{rtpIn}, rtp.OutputConfig{PreserveRTPHeader: true}, false},
		{"header of SRT", []Input{rtpIn, srtIn}, rtp.OutputConfig{PreserveRTPHeader: true}, true},
	} {
		gap := OutputGap(Flow{Inputs: c.inputs}, Output{Protocol: RTP, RTP: &c.config})
		if (gap != nil) != c.gap {
			t.Errorf("%s: %v", c.name, gap)
		}
	}
}

func TestInputStandby(t *testing.T) {
	on := func(id, protocol string) Input { return Input{ID: id, Protocol: protocol, Enabled: true} }
	off := func(id, protocol string) Input { return Input{ID: id, Protocol: protocol} }
	for _, c := range []struct {
		name    string
		inputs  []Input
		primary string
		held    string // id of the input on standby
	}{
		{"alone", []Input{on("a", SRT)}, "", ""},
		{"first", []Input{on("a", SRT), on("b", RTP)}, "", "b"},
		{"primary", []Input{on("a", SRT), on("b", RTP)}, "b", "a"},
		{"primary disabled", []Input{on("a", SRT), off("b", RTP)}, "b", "b"},
		{"primary not in this build", []Input{on("a", SRT), on("b", RTSP)}, "b", "b"},
	} {
		f := Flow{Inputs: c.inputs, Failover: &Failover{Primary: c.primary}}
		for _, in := range c.inputs {
			if held := InputStandby(f, in) != nil; held != (in.ID == c.held) {
				t.Errorf("%s: input %s is on standby: %t", c.name, in.ID, held)
			}
		}
	}
}
