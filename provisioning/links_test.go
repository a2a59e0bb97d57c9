package provisioning

import (
	"encoding/json"
	"math"
	"testing"
	"testing/synctest"
	"time"

	"sluice/relay"
	"sluice/relay/endpoint"
)

// The figures are named as in libsrt's documentation, rounded, and left out
// where there is no SRT connection.
func TestLinksInTelemetry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := startBox(t, "", nil)
		b.engine.set(func(relay.Config) []relay.FlowReport {
			return []relay.FlowReport{{
				ID: "f",
				Inputs: []relay.InputReport{{ID: "i", Status: endpoint.InputStatus{Links: []endpoint.Link{{
					Peer: "10.0.0.7:4000", MsRTT: 1.23456, MsRTTVar: 0.005,
					PktRecv: 1000, PktRcvLoss: 21, PktRcvRetrans: 20, PktRcvDrop: 1, PktRcvBelated: 2, PktRcvUndecrypt: 3, PktReorderTolerance: 4,
					MbpsRecvRate: 5.12345, MsRcvBuf: 118.999, MsRcvTsbPdDelay: 120, MsDrift: -0.126,
				}}}}, {ID: "rtp"}},
				Outputs: []relay.OutputReport{{ID: "o", Status: endpoint.OutputStatus{Links: []endpoint.Link{
					{
						Session: "s1", Peer: "198.51.100.7:7000", MsRTT: 58.0049, MsRTTVar: 6,
						PktSent: 2000, PktSndLoss: 42, PktRetrans: 46, PktSndDrop: 4, PktFlightSize: 30, PktFlowWindow: 8192,
						MbpsSendRate: 0.0641, MsSndBuf: 64.126, MsSndTsbPdDelay: 120, Advice: 239*time.Millisecond + 1,
					},
					{Session: "s2", Peer: "[2001:db8::1]:7000", MsRTT: math.NaN(), MbpsSendRate: math.Inf(1)},
				}}}},
			}}
		})
		b.publish(document(1, "a", ""))
		body, _ := b.Document("telemetry")
		var got struct {
			Flows []struct{ Inputs, Outputs []map[string]json.RawMessage }
		}
		if err := json.Unmarshal(body, &got); err != nil {
			t.Fatal(err)
		}
		for _, c := range []struct {
			item map[string]json.RawMessage
			want string
		}{
			{got.Flows[0].Inputs[0], `[{"peer":"10.0.0.7:4000","msRTT":1.23,"msRTTVar":0.01,` +
				`"pktSent":0,"pktSndLoss":0,"pktRetrans":0,"pktSndDrop":0,"pktFlightSize":0,"pktFlowWindow":0,"mbpsSendRate":0,"msSndBuf":0,"msSndTsbPdDelay":0,` +
				`"pktRecv":1000,"pktRcvLoss":21,"pktRcvRetrans":20,"pktRcvDrop":1,"pktRcvBelated":2,"pktRcvUndecrypt":3,"pktReorderTolerance":4,` +
				`"mbpsRecvRate":5.123,"msRcvBuf":119,"msRcvTsbPdDelay":120,"msDrift":-0.13}]`},
			{got.Flows[0].Inputs[1], ""},
			{got.Flows[0].Outputs[0], `[{"session":"s1","peer":"198.51.100.7:7000","msRTT":58,"msRTTVar":6,` +
				`"pktSent":2000,"pktSndLoss":42,"pktRetrans":46,"pktSndDrop":4,"pktFlightSize":30,"pktFlowWindow":8192,"mbpsSendRate":0.064,"msSndBuf":64.13,"msSndTsbPdDelay":120,` +
				`"pktRecv":0,"pktRcvLoss":0,"pktRcvRetrans":0,"pktRcvDrop":0,"pktRcvBelated":0,"pktRcvUndecrypt":0,"pktReorderTolerance":0,` +
				`"mbpsRecvRate":0,"msRcvBuf":0,"msRcvTsbPdDelay":0,"msDrift":0,"advised_latency_ms":240},` +
				`{"session":"s2","peer":"[2001:db8::1]:7000","msRTT":0,"msRTTVar":0,` +
				`"pktSent":0,"pktSndLoss":0,"pktRetrans":0,"pktSndDrop":0,"pktFlightSize":0,"pktFlowWindow":0,"mbpsSendRate":0,"msSndBuf":0,"msSndTsbPdDelay":0,` +
				`"pktRecv":0,"pktRcvLoss":0,"pktRcvRetrans":0,"pktRcvDrop":0,"pktRcvBelated":0,"pktRcvUndecrypt":0,"pktReorderTolerance":0,` +
				`"mbpsRecvRate":0,"msRcvBuf":0,"msRcvTsbPdDelay":0,"msDrift":0}]`},
		} {
			if srt := string(c.item["srt"]); srt != c.want {
				t.Errorf("%s\n got %s\nwant %s", c.item["id"], srt, c.want)
			}
		}
	})
}
