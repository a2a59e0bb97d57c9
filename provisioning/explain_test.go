package provisioning

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sluice/device/control"
	"sluice/device/uplink"
	"sluice/relay"
	"sluice/relay/endpoint"
	"sluice/relay/remux"
	"sluice/relay/rtp"
)

// Every state of an output, with its common causes, is one sentence from the
// source to the peer.
func TestExplain(t *testing.T) {
	at := time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC)
	receiving := relay.InputReport{
		ID: "enc-a", State: relay.Receiving, Active: true, BitrateBps: 4_200_000,
		Status: endpoint.InputStatus{Peer: "10.0.0.9:4000", Received: at},
	}
	input := func(change func(*relay.InputReport)) relay.InputReport {
		i := receiving
		i.BitrateBps = 0
		change(&i)
		return i
	}
	const fed, ready = "; the input enc-a receives 4.2 Mbit/s from 10.0.0.9:4000", ", lan0 is ready on eth0"
	why := func(message string) *endpoint.Reason { return endpoint.Because("x", "%s", message) }
	for name, c := range map[string]struct {
		output relay.OutputReport
		input  relay.InputReport
		change func(*explanation)
		want   string
	}{
		"output off": {
			output: relay.OutputReport{State: relay.Disabled},
			change: func(x *explanation) { x.output.Enabled = false },
			want:   "stage/wall is disabled: it is not enabled",
		},
		"flow off": {
			output: relay.OutputReport{State: relay.Disabled},
			change: func(x *explanation) { x.flow.Enabled = false },
			want:   "stage/wall is disabled: the flow stage is not enabled",
		},
		"invalid": {
			output: relay.OutputReport{State: relay.Invalid, Reason: why("port 9100 is already in use on lan0: choose another")},
			want:   "stage/wall is invalid: port 9100 is already in use on lan0: choose another",
		},
		"no cable": {
			output: relay.OutputReport{State: relay.UplinkDown, Reason: why("lan0 has no carrier on eth0")},
			change: func(x *explanation) { x.uplinks[0].Reason = why("lan0 has no carrier on eth0") },
			want:   "stage/wall has no uplink: lan0 has no carrier on eth0" + fed,
		},
		"refused": {
			output: relay.OutputReport{State: relay.Rejected, Reason: why("hub.example.com:7000 refuses the passphrase")},
			want:   "stage/wall is rejected: hub.example.com:7000 refuses the passphrase" + fed + ready,
		},
		"refused without a word": {output: relay.OutputReport{State: relay.Rejected}, want: "stage/wall is rejected: the peer refuses it" + fed + ready},
		"no answer": {
			output: relay.OutputReport{State: relay.Connecting, Reason: why("hub.example.com:7000: connection refused")},
			want:   "stage/wall is connecting: hub.example.com:7000: connection refused" + fed + ready,
		},
		"first attempt": {output: relay.OutputReport{State: relay.Connecting}, want: "stage/wall is connecting: it has had no answer yet" + fed + ready},
		"nobody":        {output: relay.OutputReport{State: relay.Waiting}, want: "stage/wall is waiting: nobody is connected" + fed + ready},
		"nobody let in": {
			output: relay.OutputReport{State: relay.Waiting, Counters: relay.Counters{Refused: 3}, Reason: why("10.0.0.7:9 has another passphrase")},
			want:   "stage/wall is waiting: nobody is connected, and 3 were turned away since the daemon started (10.0.0.7:9 has another passphrase)" + fed + ready,
		},
		"nobody and nothing": {
			output: relay.OutputReport{State: relay.Waiting},
			input: input(func(i *relay.InputReport) {
				i.State, i.Status.Received, i.Status.Peer = relay.Stalled, at.Add(-12*time.Second), "10.0.0.9"
			}),
			want: "stage/wall is waiting: nobody is connected; the input enc-a has received no media for 12 s (encoder at 10.0.0.9 is connected), lan0 is ready on eth0",
		},
		"no source": {
			output: relay.OutputReport{State: relay.NoSource, Status: endpoint.OutputStatus{Sessions: []endpoint.Session{{Peer: "10.0.0.7:9"}}}},
			input: input(func(i *relay.InputReport) {
				i.State, i.Active, i.Status = relay.Waiting, false, endpoint.InputStatus{Received: at.Add(-10 * time.Minute)}
			}),
			want: "stage/wall has no source: 10.0.0.7:9 is connected, and there is no media to send; no encoder is connected to the input enc-a, which has received no media for 10 min" + ready,
		},
		"no source ever": {
			output: relay.OutputReport{State: relay.NoSource},
			input: input(func(i *relay.InputReport) {
				i.State, i.Active, i.Status = relay.Waiting, false, endpoint.InputStatus{}
			}),
			want: "stage/wall has no source: the peer is connected, and there is no media to send; no encoder is connected to the input enc-a" + ready,
		},
		"no datagrams": {
			output: relay.OutputReport{State: relay.NoSource},
			input: input(func(i *relay.InputReport) {
				i.State, i.Active, i.Status = relay.Waiting, false, endpoint.InputStatus{}
			}),
			change: func(x *explanation) { x.flow.Inputs[0].RTP = &rtp.InputConfig{} },
			want:   "stage/wall has no source: the peer is connected, and there is no media to send; nothing comes to the input enc-a" + ready,
		},
		"input without NIC": {
			output: relay.OutputReport{State: relay.NoSource},
			input: input(func(i *relay.InputReport) {
				i.State, i.Active, i.Reason = relay.UplinkDown, false, why("wan0 has no address")
			}),
			want: "stage/wall has no source: the peer is connected, and there is no media to send; the input enc-a has no uplink: wan0 has no address" + ready,
		},
		"input that dials": {
			output: relay.OutputReport{State: relay.NoSource},
			input:  input(func(i *relay.InputReport) { i.State, i.Active = relay.Connecting, false }),
			want:   "stage/wall has no source: the peer is connected, and there is no media to send; the input enc-a is connecting" + ready,
		},
		"input off": {
			output: relay.OutputReport{State: relay.NoSource},
			input:  input(func(i *relay.InputReport) { i.State, i.Active = relay.Disabled, false }),
			want:   "stage/wall has no source: the peer is connected, and there is no media to send; the input enc-a is not enabled" + ready,
		},
		"stalled": {
			output: relay.OutputReport{State: relay.Stalled, Status: endpoint.OutputStatus{
				Acknowledges: true, Acked: at.Add(-7 * time.Second), Sessions: []endpoint.Session{{Peer: "10.0.0.7:9"}, {Peer: "10.0.0.8:9"}},
			}},
			want: "stage/wall is stalled: 2 peers are connected, and nothing was acknowledged for 7 s, though there was media" + fed + ready,
		},
		"stalled from the first": {
			output: relay.OutputReport{State: relay.Stalled, Status: endpoint.OutputStatus{Acknowledges: true}},
			want:   "stage/wall is stalled: the peer is connected, and nothing was acknowledged yet, though there was media" + fed + ready,
		},
		"stalled without acknowledgement": {
			output: relay.OutputReport{State: relay.Stalled, Status: endpoint.OutputStatus{Sent: at.Add(-3 * time.Hour)}},
			want:   "stage/wall is stalled: it has sent nothing for 3 h, though there was media" + fed + ready,
		},
		"connected": {
			output: relay.OutputReport{State: relay.Connected, BitrateBps: 999_999, Status: endpoint.OutputStatus{Sessions: []endpoint.Session{{Peer: "10.0.0.7:9"}}}},
			want:   "stage/wall is connected: 10.0.0.7:9 is connected and takes 999 kbit/s" + fed + ready,
		},
		"connected, with losses": {
			output: relay.OutputReport{
				State: relay.Connected, BitrateBps: 999,
				Counters:   relay.Counters{Dropped: map[string]uint64{"too_late": 7, "overrun": 5, "queue_full": 0}},
				Conversion: &remux.Counters{Dropped: map[string]uint64{"codec": 2}},
			},
			want: "stage/wall is connected: the peer is connected and takes 999 bit/s" + fed + ready +
				"; it dropped 12 packets (overrun 5, too_late 7) since the daemon started, the conversion that it reads dropped 2 packets (codec 2)",
		},
		"one of two": {
			output: relay.OutputReport{State: relay.Connected, Destinations: []relay.DestinationReport{
				{Address: "a.example.com:1935", State: relay.Rejected, Reason: why("the stream name is in use")}, {Address: "b.example.com:1935", State: relay.Connected},
			}},
			want: "stage/wall is connected: the peer is connected and takes 0 bit/s" + fed + ready +
				"; a.example.com:1935 is rejected (the stream name is in use), b.example.com:1935 is connected",
		},
		"sending": {
			output: relay.OutputReport{State: relay.Sending, BitrateBps: 4_000_000},
			change: func(x *explanation) {
				x.output.RTP = &rtp.OutputConfig{Destinations: []rtp.Destination{{Uplink: "wan0"}, {Uplink: "lan0"}, {Uplink: "lan0"}}}
			},
			want: "stage/wall is sending: 4.0 Mbit/s leave the box, and nobody acknowledges what arrives" + fed + ", wan0 is not ready: wan0 has no carrier" + ready,
		},
		"routing": {
			output: relay.OutputReport{State: relay.Waiting},
			change: func(x *explanation) { x.uplinks[0].Routing = why("its routing table cannot be set") },
			want:   "stage/wall is waiting: nobody is connected" + fed + ", lan0 is ready on eth0 but its routing table cannot be set",
		},
		"uplink that is not there": {
			output: relay.OutputReport{State: relay.Waiting},
			change: func(x *explanation) { x.output.Uplink = "wan7" },
			want:   "stage/wall is waiting: nobody is connected" + fed + ", there is no uplink wan7",
		},
		"no uplink": {
			output: relay.OutputReport{State: relay.Waiting},
			change: func(x *explanation) { x.output.Uplink = "" },
			want:   "stage/wall is waiting: nobody is connected" + fed + ", there is no default uplink",
		},
		"spare input": {
			output: relay.OutputReport{State: relay.NoSource},
			input: input(func(i *relay.InputReport) {
				i.State, i.Active, i.Reason = relay.Standby, false, why("failover is not in this build: input b is in use")
			}),
			want: "stage/wall has no source: the peer is connected, and there is no media to send; the input enc-a is standby: failover is not in this build: input b is in use" + ready,
		},
		"too early": {
			output: relay.OutputReport{State: relay.Waiting},
			change: func(x *explanation) { x.report.Flows[0].Outputs = nil },
			want:   "stage/wall has no state yet: its configuration is being applied",
		},
	} {
		c.output.ID = "wall"
		if c.input.ID == "" {
			c.input = receiving
		}
		x := explanation{
			flow:    relay.Flow{ID: "stage", Enabled: true, Inputs: []relay.Input{{ID: "enc-a"}}},
			output:  relay.Output{ID: "wall", Enabled: true, Uplink: "lan0"},
			report:  relay.Report{Time: at, Flows: []relay.FlowReport{{ID: "stage", Inputs: []relay.InputReport{c.input, input(func(i *relay.InputReport) { i.ID, i.Active, i.State = "enc-b", false, relay.Disabled })}, Outputs: []relay.OutputReport{c.output}}}},
			uplinks: []uplink.Status{{Name: "lan0", Interface: "eth0", Ready: true}, {Name: "wan0", Reason: why("wan0 has no carrier")}},
		}
		if !c.input.Active { // then all of them are told of
			x.report.Flows[0].Inputs = x.report.Flows[0].Inputs[:1]
		}
		if c.change != nil {
			c.change(&x)
		}
		if got := x.text(); got != c.want {
			t.Errorf("%s\n got %s\nwant %s", name, got, c.want)
		}
	}
	for _, s := range []relay.State{
		relay.Disabled, relay.Invalid, relay.UplinkDown, relay.Rejected, relay.Connecting, relay.Waiting, relay.NoSource, relay.Stalled, relay.Standby, relay.Receiving, relay.Connected, relay.Sending,
	} {
		x := explanation{
			flow: relay.Flow{ID: "f"}, output: relay.Output{ID: "o"},
			report: relay.Report{Flows: []relay.FlowReport{{ID: "f", Inputs: []relay.InputReport{{ID: "i", State: s}}, Outputs: []relay.OutputReport{{ID: "o", State: s}}}}},
		}
		if text := x.text(); strings.Contains(text, "%!") || strings.Contains(text, "  ") || strings.HasSuffix(text, " ") {
			t.Errorf("%s: %q", s, text)
		}
	}
}

func TestExplainRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := startBox(t, "", nil)
		b.publish(document(1, "a", ""))
		ask := func(data string) string {
			_, answer := b.local(control.Caller{}, "output-explain", data)
			return answer
		}
		if got, _ := field(t, ask(`{"flow":"f","output":"o"}`), "data", "text").(string); !strings.HasPrefix(got, "f/o is waiting: nobody is connected; the input i receives 0 bit/s") || !strings.HasSuffix(got, ".") {
			t.Errorf("got %q", got)
		}
		for data, want := range map[string]string{`{"flow":"f","output":"x"}`: `"code":404`, `{"flow":"f"}`: `"code":400`, `{"flow":"f","output":"o","x":1}`: `"code":400`} {
			if got := ask(data); !strings.Contains(got, want) {
				t.Errorf("%s: %s", data, got)
			}
		}
		if n := len(b.eventsOf(t, "request")); n != 0 {
			t.Errorf("%d events of what changes nothing", n)
		}
	})
}
