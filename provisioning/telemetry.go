package provisioning

import (
	"math/rand/v2"
	"sync"
	"time"

	"sluice/device/system"
	"sluice/device/uplink"
	"sluice/provisioning/config"
	"sluice/relay"
	"sluice/relay/endpoint"
	"sluice/relay/remux"
)

// rateWindow is what a figure per second is taken over.
const rateWindow = 2 * time.Second

// rates keeps the figures that are made of two readings.
type rates struct {
	mu      sync.Mutex
	at      time.Time
	bytes   map[string]uplink.Status
	uplinks []config.UplinkFigures
	system  config.SystemFigures
}

// see takes a reading, if the last one is old enough.
func (r *rates) see(at time.Time, uplinks []uplink.Status, figures func() system.Figures) {
	r.mu.Lock()
	defer r.mu.Unlock()
	passed := at.Sub(r.at)
	if !r.at.IsZero() && passed < rateWindow {
		return
	}
	now := make(map[string]uplink.Status, len(uplinks))
	all := make([]config.UplinkFigures, 0, len(uplinks))
	for _, u := range uplinks {
		now[u.Name] = u
		f := config.UplinkFigures{Name: u.Name}
		if before, ok := r.bytes[u.Name]; ok && before.Interface == u.Interface {
			f.RxBps = bitsPerSecond(before.RxBytes, u.RxBytes, passed)
			f.TxBps = bitsPerSecond(before.TxBytes, u.TxBytes, passed)
		}
		all = append(all, f)
	}
	s := figures()
	r.at, r.bytes, r.uplinks = at, now, all
	r.system = config.SystemFigures{
		CPUPercent: s.CPUPercent, RSSBytes: s.RSSBytes, TemperatureC: s.TemperatureC, UptimeS: s.Uptime.Seconds(),
	}
}

// bitsPerSecond is 0 for a counter that started again.
func bitsPerSecond(before, after uint64, passed time.Duration) uint64 {
	if after < before {
		return 0
	}
	return uint64(float64(after-before) * 8 / passed.Seconds())
}

func (r *rates) get() ([]config.UplinkFigures, config.SystemFigures) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.uplinks, r.system
}

// publishTelemetry tells the figures of now to those who listen now.
func (a *Agent) publishTelemetry() {
	body := marshal(a.telemetry())
	a.client.Offer(a.topic("telemetry"), body)
	a.board.set("telemetry", body)
}

func (a *Agent) telemetry() config.Telemetry {
	uplinks, box := a.rates.get()
	t := config.Telemetry{
		Timestamp: now(), System: box,
		Uplinks: append([]config.UplinkFigures{}, uplinks...), Flows: []config.FlowFigures{},
	}
	for _, f := range a.o.Engine.Report().Flows {
		ff := config.FlowFigures{ID: f.ID, Inputs: []config.InputFigures{}, Outputs: []config.OutputFigures{}}
		for _, i := range f.Inputs {
			ff.Inputs = append(ff.Inputs, inputFigures(i))
		}
		for _, o := range f.Outputs {
			ff.Outputs = append(ff.Outputs, outputFigures(o))
		}
		t.Flows = append(t.Flows, ff)
	}
	return t
}

func inputFigures(i relay.InputReport) config.InputFigures {
	return config.InputFigures{
		ID: i.ID, BitrateBps: i.BitrateBps, Bytes: i.Counters.Bytes,
		Packets: config.InputPackets{
			Received: i.Counters.Packets, Lost: i.Counters.Lost,
			Retransmitted: i.Counters.Retransmitted, Dropped: reasons(i.Counters.Dropped),
		},
		RTTMs: milliseconds(i.Status.RTT), LatencyMs: milliseconds(i.Status.Latency),
		Sessions: sessions(i.Status.Sessions), SRT: links(i.Status.Links),
	}
}

func outputFigures(o relay.OutputReport) config.OutputFigures {
	return config.OutputFigures{
		ID: o.ID, BitrateBps: o.BitrateBps, Bytes: o.Counters.Bytes, BytesAcked: o.Counters.BytesAcked,
		Packets: config.OutputPackets{
			Sent: o.Counters.Packets, Lost: o.Counters.Lost,
			Retransmitted: o.Counters.Retransmitted, Dropped: reasons(o.Counters.Dropped),
		},
		RTTMs: milliseconds(o.Status.RTT), LatencyMs: milliseconds(o.Status.Latency),
		Reconnections: o.Counters.Reconnections, Refused: o.Counters.Refused,
		Sessions: sessions(o.Status.Sessions), SRT: links(o.Status.Links), Destinations: destinations(o.Destinations),
		Conversion: conversion(o.Conversion),
	}
}

func conversion(c *remux.Counters) *config.ConversionFigures {
	if c == nil {
		return nil
	}
	return &config.ConversionFigures{Frames: c.Frames, Jumps: c.Jumps, Repaired: c.Repaired, Dropped: reasons(c.Dropped)}
}

// destinations are left out where there is one: it is what the output is.
func destinations(all []relay.DestinationReport) []config.DestinationState {
	if len(all) < 2 {
		return nil
	}
	states := make([]config.DestinationState, 0, len(all))
	for _, d := range all {
		states = append(states, config.DestinationState(d))
	}
	return states
}

func sessions(all []endpoint.Session) []config.SessionFigures {
	figures := make([]config.SessionFigures, 0, len(all))
	for _, s := range all {
		figures = append(figures, config.SessionFigures{ID: s.ID, Peer: s.Peer, Since: stamp(s.Since), BitrateBps: s.BitrateBps})
	}
	return figures
}

// reasons is never null in a document.
func reasons(dropped map[string]uint64) map[string]uint64 {
	if dropped == nil {
		return map[string]uint64{}
	}
	return dropped
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// jitter draws from d, give or take a tenth, so that a fleet that was powered
// up together does not report together.
func jitter(d time.Duration) time.Duration { return d - d/10 + rand.N(d/5+1) }
