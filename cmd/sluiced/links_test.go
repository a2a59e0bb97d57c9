package main

import (
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"sluice/device/uplink"
	"sluice/relay"
	"sluice/relay/endpoint"
)

// reported is an Engine that always reports the same.
type reported relay.Report

func (r reported) Report() relay.Report { return relay.Report(r) }

type noUplinks struct{}

func (noUplinks) Status() []uplink.Status { return nil }

// Of several connections the greatest figure is told, and nothing of an item
// that has none.
func TestLinkMetrics(t *testing.T) {
	c := newCollector(reported{Flows: []relay.FlowReport{{
		ID: "stage",
		Inputs: []relay.InputReport{
			{ID: "enc", Status: endpoint.InputStatus{Links: []endpoint.Link{
				{MsRTTVar: 2, MsRcvBuf: 90, MsDrift: 1, Advice: 50 * time.Millisecond},
				{MsRTTVar: 1, MsRcvBuf: 120, MsDrift: -4},
			}}},
			{ID: "rtp"},
		},
		Outputs: []relay.OutputReport{
			{ID: "wall", Status: endpoint.OutputStatus{Links: []endpoint.Link{
				{Session: "a", MsRTTVar: 6, PktFlightSize: 7, MsSndBuf: 40, Advice: 240 * time.Millisecond},
				{Session: "b", MsRTTVar: 8, PktFlightSize: 3, MsSndBuf: 60, Advice: 120 * time.Millisecond},
			}}},
			{ID: "tv"},
		},
	}}}, noUplinks{})
	want := `# TYPE sluice_input_srt_advised_latency_seconds gauge
sluice_input_srt_advised_latency_seconds{flow="stage",input="enc"} 0.05
# TYPE sluice_input_srt_drift_seconds gauge
sluice_input_srt_drift_seconds{flow="stage",input="enc"} -0.004
# TYPE sluice_input_srt_receive_buffer_seconds gauge
sluice_input_srt_receive_buffer_seconds{flow="stage",input="enc"} 0.12
# TYPE sluice_input_srt_rtt_variance_seconds gauge
sluice_input_srt_rtt_variance_seconds{flow="stage",input="enc"} 0.002
# TYPE sluice_output_srt_advised_latency_seconds gauge
sluice_output_srt_advised_latency_seconds{flow="stage",output="wall"} 0.24
# TYPE sluice_output_srt_flight_packets gauge
sluice_output_srt_flight_packets{flow="stage",output="wall"} 7
# TYPE sluice_output_srt_rtt_variance_seconds gauge
sluice_output_srt_rtt_variance_seconds{flow="stage",output="wall"} 0.008
# TYPE sluice_output_srt_send_buffer_seconds gauge
sluice_output_srt_send_buffer_seconds{flow="stage",output="wall"} 0.06
`
	registry := prometheus.NewRegistry()
	if err := registry.Register(c); err != nil {
		t.Fatal(err)
	}
	answer := httptest.NewRecorder()
	promhttp.HandlerFor(registry, promhttp.HandlerOpts{}).ServeHTTP(answer, httptest.NewRequest("GET", "/metrics", nil))
	var got strings.Builder
	for line := range strings.Lines(answer.Body.String()) {
		if strings.Contains(line, "_srt_") && !strings.HasPrefix(line, "# HELP") {
			got.WriteString(line)
		}
	}
	if got.String() != want {
		t.Errorf("got\n%s\nwant\n%s", got.String(), want)
	}
}
