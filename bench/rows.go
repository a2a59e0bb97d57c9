package main

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"sluice/bench/load"
	"sluice/bench/peers"
	"sluice/bench/report"
	"sluice/relay"
	"sluice/relay/relaytest"
)

// A row is one kind of work.
type row struct {
	name, title string
	protocol    load.Protocol
	outputs     int
	listen      bool // viewers of one listener, rather than ports of their own
	inputs      int
	mbps        float64
	passphrase  string
	environment []string        // of the relays
	network     *relaytest.Path // between two relays, each way; nil: one relay
	relays      []string        // two are joined by pairs
	effort      effort
	quick       []string // relays in a quick bench; none: no such row
}

// pairs joins the names of two relays with a network between them.
const pairs = " > "

// An effort is how thoroughly a row is measured.
type effort struct {
	runs           int // of each relay
	window, warmUp time.Duration
}

// The efforts. A ratio that is a goal needs many runs; a loss needs many
// packets, and as many seeds as runs.
var (
	thorough = effort{5, 15 * time.Second, 2 * time.Second}
	seeds    = effort{3, 10 * time.Second, time.Second}
	brief    = effort{3, 5 * time.Second, time.Second}
	quick    = effort{3, 2 * time.Second, 500 * time.Millisecond}
)

// but returns e with what is not 0 in o.
func (e effort) but(o effort) effort {
	if o.runs > 0 {
		e.runs = o.runs
	}
	if o.window > 0 {
		e.window = o.window
	}
	if o.warmUp > 0 {
		e.warmUp = o.warmUp
	}
	return e
}

// overhead is about how long a run takes besides.
const overhead = 900 * time.Millisecond

// takes is about how long rows take.
func takes(rows []row) (d time.Duration) {
	for _, r := range rows {
		e := r.effort
		d += time.Duration(len(r.relays)*e.runs) * (e.window + e.warmUp + overhead)
	}
	return d.Round(time.Second)
}

// The terms of SRT: on the loopback, and over a bad network.
const (
	latency      = 120 * time.Millisecond
	lossyLatency = 200 * time.Millisecond
	passphrase   = "sixteen or seventy-nine"
)

func (r row) latency() time.Duration {
	switch {
	case r.network != nil:
		return lossyLatency
	case r.protocol == load.SRT:
		return latency
	}
	return 0
}

// rows returns all the work there is for this build of the product.
func rows() []row {
	all := slices.Concat(srtRows(), rateRows(), rtpRows(), lossRows())
	able := relay.Built()
	if slices.Contains(able.Inputs, relay.RTMP) && slices.Contains(able.Outputs, relay.RTMPPull) {
		all = append(all, rtmpRows()...)
	}
	return all
}

// weighed decides how much a row is worth. Where a goal is about it, it is
// measured thoroughly, with the relays that the goal compares; otherwise
// briefly, with those that it names.
func weighed(r row) row {
	r.effort = brief
	if compared := report.Compared(r.name); compared != nil {
		r.relays, r.effort = compared, thorough
	}
	return r
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// bigMbps is the rate where a stream has hundreds of outputs: what receives
// them runs on the same machine.
const bigMbps = 2

// quickSRT is what a quick bench has of SRT: each shape, and the smallest job.
var quickSRT = map[string][]string{
	"srt-50-listener": {peers.Sluice, peers.Gosrt, peers.GStreamer, peers.FloorOffload},
	"srt-50-ports":    {peers.Sluice, peers.Gosrt, peers.FloorOffload},
	"srt-1-ports":     {peers.Sluice, peers.SRTTransmit},
}

// withFloor are rows, of those that are compared with nothing, that tell more
// beside the floor.
var withFloor = []string{"srt-200-listener", "srt-50-listener-noaes", "srt-50-ports-noaes"}

func srtRows() (all []row) {
	for _, mode := range []struct {
		suffix, title, passphrase string
		environment               []string
	}{
		{"", "clear", "", nil},
		{"-aes", "AES-128", passphrase, nil},
		{"-noaes", "AES-128 without AES instructions", passphrase, []string{"GODEBUG=cpu.aes=off"}},
	} {
		for _, outputs := range []int{1, 10, 50, 200} {
			for _, listen := range []bool{true, false} {
				r := row{
					protocol: load.SRT, outputs: outputs, listen: listen, inputs: 1, mbps: 10,
					passphrase: mode.passphrase, environment: mode.environment,
				}
				shape, said := "ports", count(outputs, "port")
				if listen {
					shape, said = "listener", "a listener with "+count(outputs, "viewer")
				}
				if outputs == 200 {
					r.mbps = bigMbps
					if !listen { // a flow has 50 outputs at most
						r.inputs, said = 4, "50 ports each, 4 streams"
					}
				}
				r.name = fmt.Sprintf("srt-%d-%s%s", outputs, shape, mode.suffix)
				r.title = fmt.Sprintf("SRT to %s, %s, %v Mbit/s", said, mode.title, r.mbps)
				r.quick = quickSRT[r.name]
				if r.relays = []string{peers.Sluice}; slices.Contains(withFloor, r.name) {
					r.relays = append(r.relays, peers.FloorOffload)
				}
				all = append(all, weighed(r))
				if mode.suffix == "" && (outputs == 10 || outputs == 50) {
					// To compare with 200.
					r.name, r.title = r.name+"-2M", strings.Replace(r.title, "10 Mbit/s", "2 Mbit/s", 1)
					r.mbps, r.quick = bigMbps, nil
					all = append(all, weighed(r))
				}
			}
		}
	}
	return all
}

// rateRows are one stream to one port, at other rates than 10 Mbit/s.
func rateRows() (all []row) {
	for _, mbps := range []float64{2, 50, 200} {
		all = append(all, weighed(row{
			name: fmt.Sprintf("srt-1-ports-%vM", mbps), title: fmt.Sprintf("SRT to 1 port, clear, %v Mbit/s", mbps),
			protocol: load.SRT, outputs: 1, inputs: 1, mbps: mbps,
			relays: []string{peers.Sluice, peers.FloorOffload},
		}))
	}
	return all
}

func rtpRows() (all []row) {
	relays := map[int][]string{
		1:  {peers.Sluice, peers.Loop},
		10: {peers.Sluice, peers.FloorSendmmsg, peers.Loop},
	}
	quick := map[int][]string{50: {peers.Sluice, peers.FFmpeg, peers.FloorOffload}}
	for _, outputs := range []int{1, 10, 50} {
		all = append(all, weighed(row{
			name: fmt.Sprintf("rtp-%d", outputs), title: fmt.Sprintf("RTP to %s, 10 Mbit/s", count(outputs, "port")),
			protocol: load.RTP, outputs: outputs, inputs: 1, mbps: 10, relays: relays[outputs], quick: quick[outputs],
		}))
	}
	return all
}

// rtmpRows are one publisher and players of one path.
func rtmpRows() (all []row) {
	relays := []string{peers.Sluice, peers.NginxRTMP}
	quick := map[int][]string{50: relays}
	for _, outputs := range []int{1, 10, 50} {
		all = append(all, weighed(row{
			name: fmt.Sprintf("rtmp-%d", outputs), title: fmt.Sprintf("RTMP to %s, 10 Mbit/s", count(outputs, "player")),
			protocol: load.RTMP, outputs: outputs, listen: true, inputs: 1, mbps: 10, relays: relays, quick: quick[outputs],
		}))
	}
	return all
}

// lossRows are SRT between two relays, over a network with a round trip of 60
// ms that loses in both directions.
func lossRows() (all []row) {
	const oneWay = 30 * time.Millisecond
	libsrt, ours := peers.SRTTransmit, peers.Sluice
	for _, n := range []struct {
		name, title string
		path        relaytest.Path
	}{
		{"1", "1 % lost", relaytest.Path{Loss: 0.01}},
		{"5", "5 % lost", relaytest.Path{Loss: 0.05}},
		{"10", "10 % lost", relaytest.Path{Loss: 0.10}},
		{"burst", "bursts of 20 lost, 5 % in all", relaytest.Path{Burst: 0.0026, BurstLength: 20}},
	} {
		n.path.Delay = oneWay
		all = append(all, row{
			name: "loss-" + n.name, title: fmt.Sprintf("SRT, %s each way, 60 ms, 10 Mbit/s", n.title),
			protocol: load.UDP, outputs: 1, inputs: 1, mbps: 10, network: &n.path, effort: seeds,
			relays: []string{libsrt + pairs + libsrt, ours + pairs + libsrt, libsrt + pairs + ours, ours + pairs + ours},
		})
	}
	return all
}
