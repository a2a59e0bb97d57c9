package console

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"sluice/device/console/figure"
)

// A connection is an SRT connection of an input or output.
type connection struct {
	flow, id string
	inward   bool // to us, as the box sees it
	srtLink
}

// connections returns those of one item, of one flow for an empty item, or of
// every flow for an empty id.
func (v *view) connections(flow, id string) []connection {
	var all []connection
	add := func(of string, items []itemFigures, inward bool) {
		for _, i := range items {
			if flow != "" && of != flow || id != "" && i.ID != id {
				continue
			}
			for _, l := range i.SRT {
				all = append(all, connection{of, i.ID, inward, l})
			}
		}
	}
	for _, f := range v.figures.Flows {
		add(f.ID, f.Inputs, true)
		add(f.ID, f.Outputs, false)
	}
	return all
}

// String names the connection by its item and peer.
func (c connection) String() string {
	if c.inward {
		return c.flow + "/" + c.id + " from " + c.Peer
	}
	return c.flow + "/" + c.id + " to " + c.Peer
}

// traffic is the half of a connection's figures that its direction is about.
type traffic struct {
	packets, lost, again, dropped uint64
	mbps, latency, buffer         float64 // times in ms
	flight, drift                 string
}

func (c connection) traffic() traffic {
	if c.inward {
		return traffic{
			c.PktRecv, c.PktRcvLoss, c.PktRcvRetrans, c.PktRcvDrop,
			c.MbpsRecvRate, c.MsRcvTsbPdDelay, c.MsRcvBuf, "-", figure.Short(c.MsDrift),
		}
	}
	return traffic{
		c.PktSent, c.PktSndLoss, c.PktRetrans, c.PktSndDrop,
		c.MbpsSendRate, c.MsSndTsbPdDelay, c.MsSndBuf, strconv.FormatUint(c.PktFlightSize, 10), "-",
	}
}

func (s *session) showSRT(ctx context.Context, c call) (string, error) {
	v, err := s.load(ctx)
	if err != nil {
		return "", err
	}
	flow, id, _ := strings.Cut(c.arg(0), "/")
	if err := v.flow(flow); err != nil {
		return "", err
	}
	all := v.connections(flow, id)
	if len(all) == 0 {
		return "There are no SRT connections.\n", nil
	}
	t := table{head: []string{
		"FLOW/ITEM AND PEER, TIMES IN MS", "RTT", "VAR", "LATENCY", "RATE", "LOST", "RESENT", "DROPPED", "BUFFER", "FLIGHT", "DRIFT",
	}}
	advice := ""
	for _, l := range all {
		f := l.traffic()
		name := l.String()
		if l.Session != "" {
			name += ", session " + l.Session[:min(len(l.Session), 8)]
		}
		t.add(name, figure.Short(l.MsRTT), figure.Short(l.MsRTTVar), figure.Short(f.latency), figure.Bitrate(uint64(f.mbps*1e6)),
			figure.Percent(f.lost, f.packets)+"%", figure.Percent(f.again, f.packets)+"%", strconv.FormatUint(f.dropped, 10),
			figure.Short(f.buffer), f.flight, f.drift)
		// The larger of both sides' latencies is used: ours alone will do.
		if float64(l.AdvisedLatencyMs) > f.latency {
			advice += fmt.Sprintf("%s: use latency_ms %d or more (round trip %s ms +- %s, %s lost; %s ms is in use)\n",
				clean(l.String()), l.AdvisedLatencyMs, figure.Short(l.MsRTT), figure.Short(l.MsRTTVar), figure.Percent(f.lost, f.packets)+"%", figure.Short(f.latency))
		}
	}
	if advice != "" {
		advice = "\n" + fold(advice, s.width)
	}
	return t.lines(s.width) + advice, nil
}

// advised is the latency that suits all the connections, 0 where none is known.
func advised(links []srtLink) int {
	most := 0
	for _, l := range links {
		most = max(most, l.AdvisedLatencyMs)
	}
	return most
}
