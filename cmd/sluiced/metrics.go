package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"sluice/device/system"
	"sluice/device/uplink"
	"sluice/relay"
)

// A reporter is what the figures of streams come from.
type reporter interface{ Report() relay.Report }

// A lister is what the figures of uplinks come from.
type lister interface{ Status() []uplink.Status }

// A collector turns reports into metrics when they are asked for, so that what
// relays need not know of them.
type collector struct {
	engine  reporter
	uplinks lister
}

func newCollector(e reporter, u lister) *collector { return &collector{e, u} }

func describe(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("sluice_"+name, help, labels, nil)
}

var (
	buildInfo = describe("build_info", "The program that runs.", "version")

	uplinkReady = describe("uplink_ready", "Whether the uplink can be used.", "uplink", "interface")
	uplinkRx    = describe("uplink_received_bytes_total", "Bytes that came in on the uplink's NIC.", "uplink", "interface")
	uplinkTx    = describe("uplink_sent_bytes_total", "Bytes that went out on the uplink's NIC.", "uplink", "interface")

	inputState   = describe("input_state", "1 for the state that the input is in.", "flow", "input", "state")
	inputActive  = describe("input_active", "Whether the flow uses this input.", "flow", "input")
	inputBitrate = describe("input_bitrate_bps", "Payload bits per second over the last 2 seconds.", "flow", "input")
	inputBytes   = describe("input_received_bytes_total", "Payload bytes received.", "flow", "input")
	inputPackets = describe("input_received_packets_total", "Packets received.", "flow", "input")
	inputLost    = describe("input_lost_packets_total", "Packets that never arrived.", "flow", "input")
	inputAgain   = describe("input_retransmitted_packets_total", "Packets that arrived on a second attempt.", "flow", "input")
	inputDropped = describe("input_dropped_packets_total", "Packets received and not used.", "flow", "input", "reason")
	inputRefused = describe("input_refused_total", "Peers turned away.", "flow", "input")
	inputRTT     = describe("input_rtt_seconds", "Round-trip time to the source.", "flow", "input")
	inputLatency = describe("input_latency_seconds", "Negotiated latency.", "flow", "input")

	outputState     = describe("output_state", "1 for the state that the output is in.", "flow", "output", "state")
	outputBitrate   = describe("output_bitrate_bps", "Payload bits per second over the last 2 seconds.", "flow", "output")
	outputBytes     = describe("output_sent_bytes_total", "Payload bytes sent.", "flow", "output")
	outputAcked     = describe("output_acked_bytes_total", "Payload bytes that peers confirmed.", "flow", "output")
	outputPackets   = describe("output_sent_packets_total", "Packets sent.", "flow", "output")
	outputLost      = describe("output_lost_packets_total", "Packets that the peer reported lost.", "flow", "output")
	outputAgain     = describe("output_retransmitted_packets_total", "Packets sent again.", "flow", "output")
	outputDropped   = describe("output_dropped_packets_total", "Packets not delivered.", "flow", "output", "reason")
	outputRefused   = describe("output_refused_total", "Peers turned away.", "flow", "output")
	outputReconnect = describe("output_reconnections_total", "Connections after the first.", "flow", "output")
	outputSessions  = describe("output_sessions", "Peers that are connected.", "flow", "output")
	outputRTT       = describe("output_rtt_seconds", "Round-trip time to the peer.", "flow", "output")
	outputLatency   = describe("output_latency_seconds", "Negotiated latency.", "flow", "output")
)

// Describe sends nothing: what there is to collect changes with the
// configuration, which makes this an unchecked collector.
func (c *collector) Describe(chan<- *prometheus.Desc) {}

func (c *collector) Collect(ch chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	count := func(d *prometheus.Desc, v uint64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v), labels...)
	}
	gauge(buildInfo, 1, system.Version(version))
	for _, u := range c.uplinks.Status() {
		gauge(uplinkReady, one(u.Ready), u.Name, u.Interface)
		if u.Interface != "" {
			count(uplinkRx, u.RxBytes, u.Name, u.Interface)
			count(uplinkTx, u.TxBytes, u.Name, u.Interface)
		}
	}
	for _, f := range c.engine.Report().Flows {
		for _, i := range f.Inputs {
			gauge(inputState, 1, f.ID, i.ID, string(i.State))
			gauge(inputActive, one(i.Active), f.ID, i.ID)
			gauge(inputBitrate, float64(i.BitrateBps), f.ID, i.ID)
			count(inputBytes, i.Counters.Bytes, f.ID, i.ID)
			count(inputPackets, i.Counters.Packets, f.ID, i.ID)
			count(inputLost, i.Counters.Lost, f.ID, i.ID)
			count(inputAgain, i.Counters.Retransmitted, f.ID, i.ID)
			count(inputRefused, i.Counters.Refused, f.ID, i.ID)
			for reason, n := range i.Counters.Dropped {
				count(inputDropped, n, f.ID, i.ID, reason)
			}
			gauge(inputRTT, i.Status.RTT.Seconds(), f.ID, i.ID)
			gauge(inputLatency, i.Status.Latency.Seconds(), f.ID, i.ID)
			collectLinks(inputLinks, i.Status.Links, func(d *prometheus.Desc, v float64) { gauge(d, v, f.ID, i.ID) })
		}
		for _, o := range f.Outputs {
			gauge(outputState, 1, f.ID, o.ID, string(o.State))
			gauge(outputBitrate, float64(o.BitrateBps), f.ID, o.ID)
			count(outputBytes, o.Counters.Bytes, f.ID, o.ID)
			count(outputAcked, o.Counters.BytesAcked, f.ID, o.ID)
			count(outputPackets, o.Counters.Packets, f.ID, o.ID)
			count(outputLost, o.Counters.Lost, f.ID, o.ID)
			count(outputAgain, o.Counters.Retransmitted, f.ID, o.ID)
			count(outputRefused, o.Counters.Refused, f.ID, o.ID)
			count(outputReconnect, o.Counters.Reconnections, f.ID, o.ID)
			for reason, n := range o.Counters.Dropped {
				count(outputDropped, n, f.ID, o.ID, reason)
			}
			gauge(outputSessions, float64(len(o.Status.Sessions)), f.ID, o.ID)
			gauge(outputRTT, o.Status.RTT.Seconds(), f.ID, o.ID)
			gauge(outputLatency, o.Status.Latency.Seconds(), f.ID, o.ID)
			collectLinks(outputLinks, o.Status.Links, func(d *prometheus.Desc, v float64) { gauge(d, v, f.ID, o.ID) })
		}
	}
}

func one(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// serveMetrics answers at /metrics until ctx is done, and closes l.
func serveMetrics(ctx context.Context, l net.Listener, c prometheus.Collector, log *slog.Logger) error {
	registry := prometheus.NewRegistry()
	for _, each := range []prometheus.Collector{
		c, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	} {
		if err := registry.Register(each); err != nil {
			return fmt.Errorf("metrics: %w", err)
		}
	}
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{MaxRequestsInFlight: 4}))
	s := &http.Server{
		Handler: mux, ReadTimeout: 10 * time.Second, WriteTimeout: 30 * time.Second, MaxHeaderBytes: 16 << 10,
		ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
	stop := context.AfterFunc(ctx, func() { s.Close() })
	defer stop()
	if err := s.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("metrics: %w", err)
	}
	return ctx.Err()
}
