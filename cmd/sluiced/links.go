package main

import (
	"math"

	"github.com/prometheus/client_golang/prometheus"

	"sluice/relay/endpoint"
)

// A linkGauge is one figure of SRT connections. Of an item with several it is
// that of the greatest amount, whichever connection has it: a label for each
// would make new series with every viewer that comes. Counters of connections
// are no metrics, as they are gone with the connection; what is to be counted
// of an item is in its ledger.
type linkGauge struct {
	desc *prometheus.Desc
	of   func(*endpoint.Link) float64
}

var inputLinks = []linkGauge{
	{describe("input_srt_rtt_variance_seconds", "Mean deviation of the round-trip time; of several connections, the greatest.", "flow", "input"), rttVariance},
	{describe("input_srt_receive_buffer_seconds", "Time span of what waits for its time; of several connections, the greatest.", "flow", "input"), func(l *endpoint.Link) float64 { return l.MsRcvBuf / 1000 }},
	{describe("input_srt_drift_seconds", "How far the peer's clock has moved against ours; of several connections, the furthest.", "flow", "input"), func(l *endpoint.Link) float64 { return l.MsDrift / 1000 }},
	{describe("input_srt_advised_latency_seconds", "Least latency that suits the path, 0 until it is known; of several connections, the greatest.", "flow", "input"), advised},
}

var outputLinks = []linkGauge{
	{describe("output_srt_rtt_variance_seconds", "Mean deviation of the round-trip time; of several connections, the greatest.", "flow", "output"), rttVariance},
	{describe("output_srt_flight_packets", "Packets sent and not acknowledged; of several connections, the most.", "flow", "output"), func(l *endpoint.Link) float64 { return float64(l.PktFlightSize) }},
	{describe("output_srt_send_buffer_seconds", "Time span of what is not acknowledged; of several connections, the greatest.", "flow", "output"), func(l *endpoint.Link) float64 { return l.MsSndBuf / 1000 }},
	{describe("output_srt_advised_latency_seconds", "Least latency that suits the path, 0 until it is known; of several connections, the greatest.", "flow", "output"), advised},
}

func rttVariance(l *endpoint.Link) float64 { return l.MsRTTVar / 1000 }

func advised(l *endpoint.Link) float64 { return l.Advice.Seconds() }

// collectLinks hands out each of the gauges, and none where there is no
// connection.
func collectLinks(gauges []linkGauge, links []endpoint.Link, gauge func(*prometheus.Desc, float64)) {
	if len(links) == 0 {
		return
	}
	for _, g := range gauges {
		var greatest float64
		for i := range links {
			if v := g.of(&links[i]); math.Abs(v) > math.Abs(greatest) { // a clock may run ahead or behind
				greatest = v
			}
		}
		gauge(g.desc, greatest)
	}
}
