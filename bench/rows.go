package main

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"sluice/bench/load"
	"sluice/bench/peers"
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
	quick       []string        // those of them in a quick bench; none: no such row
}

// pairs joins the names of two relays with a network between them.
const pairs = " > "

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

// rows returns all the work there is.
func rows() []row {
	return slices.Concat(srtRows(), rateRows(), rtpRows(), lossRows())
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

func srtRows() (all []row) {
	everyone := []string{peers.Sluice, peers.SRTTransmit, peers.Gosrt, peers.GStreamer, peers.FFmpeg, peers.FloorOffload, peers.FloorSendmmsg}
	ours := []string{peers.Sluice, peers.Gosrt, peers.FloorOffload}
	for _, mode := range []struct {
		suffix, title, passphrase string
		environment               []string
		relays                    []string
	}{
		{"", "clear", "", nil, everyone},
		{"-aes", "AES-128", passphrase, nil, everyone},
		{"-noaes", "AES-128 without AES instructions", passphrase, []string{"GODEBUG=cpu.aes=off"}, ours},
	} {
		for _, outputs := range []int{1, 10, 50, 200} {
			for _, listen := range []bool{true, false} {
				r := row{
					protocol: load.SRT, outputs: outputs, listen: listen, inputs: 1, mbps: 10,
					passphrase: mode.passphrase, environment: mode.environment, relays: mode.relays,
				}
				shape, said := "ports", count(outputs, "port")
				if listen {
					shape, said = "listener", "a listener with "+count(outputs, "viewer")
				}
				if outputs == 200 {
					r.mbps, r.relays = bigMbps, ours
					if !listen { // a flow has 50 outputs at most
						r.inputs, said = 4, "50 ports each, 4 streams"
					}
				}
				r.name = fmt.Sprintf("srt-%d-%s%s", outputs, shape, mode.suffix)
				r.title = fmt.Sprintf("SRT to %s, %s, %v Mbit/s", said, mode.title, r.mbps)
				r.quick = quickSRT[r.name]
				all = append(all, r)
				if mode.suffix == "" && (outputs == 10 || outputs == 50) {
					// To compare with 200.
					r.name, r.title = r.name+"-2M", strings.Replace(r.title, "10 Mbit/s", "2 Mbit/s", 1)
					r.mbps, r.relays, r.quick = bigMbps, ours, nil
					all = append(all, r)
				}
			}
		}
	}
	return all
}

// rateRows are one stream to one port, at other rates than 10 Mbit/s.
func rateRows() (all []row) {
	for _, mbps := range []float64{2, 50, 200} {
		all = append(all, row{
			name: fmt.Sprintf("srt-1-ports-%vM", mbps), title: fmt.Sprintf("SRT to 1 port, clear, %v Mbit/s", mbps),
			protocol: load.SRT, outputs: 1, inputs: 1, mbps: mbps,
			relays: []string{peers.Sluice, peers.SRTTransmit, peers.Gosrt, peers.FloorOffload},
		})
	}
	return all
}

func rtpRows() (all []row) {
	for _, outputs := range []int{1, 10, 50} {
		var quick []string
		if outputs == 50 {
			quick = []string{peers.Sluice, peers.FFmpeg, peers.FloorOffload}
		}
		all = append(all, row{
			name: fmt.Sprintf("rtp-%d", outputs), title: fmt.Sprintf("RTP to %s, 10 Mbit/s", count(outputs, "port")),
			protocol: load.RTP, outputs: outputs, inputs: 1, mbps: 10, quick: quick,
			relays: []string{peers.Sluice, peers.FFmpeg, peers.FloorOffload, peers.FloorSendmmsg, peers.Loop},
		})
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
			protocol: load.UDP, outputs: 1, inputs: 1, mbps: 10, network: &n.path,
			relays: []string{libsrt + pairs + libsrt, ours + pairs + libsrt, libsrt + pairs + ours, ours + pairs + ours},
		})
	}
	return all
}
