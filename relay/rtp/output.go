package rtp

import (
	"context"
	"errors"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"sluice/relay/endpoint"
	"sluice/relay/flow"
	"sluice/relay/media"
)

// NewOutput returns an output that sends RTP or UDP to one or two
// destinations, each on its own uplink or on that of env.
func NewOutput(cfg OutputConfig, env endpoint.Env) endpoint.Output {
	out := &output{cfg: cfg, env: env}
	for _, d := range cfg.Destinations {
		up := env.Uplink
		if d.Uplink != "" {
			up = env.UplinkNamed(d.Uplink)
		}
		out.legs = append(out.legs, &leg{destination: d, uplink: up, ttl: cfg.TTL, env: env})
	}
	return out
}

type output struct {
	cfg  OutputConfig
	env  endpoint.Env
	legs []*leg
	sent atomic.Int64 // when media last left, in nanoseconds of Unix time; 0 if never
}

// Status is connected as soon as one destination is.
func (out *output) Status() endpoint.OutputStatus {
	var s endpoint.OutputStatus
	if n := out.sent.Load(); n != 0 {
		s.Sent = time.Unix(0, n)
	}
	for _, l := range out.legs {
		d := l.status()
		s.Destinations = append(s.Destinations, d)
		switch {
		case d.Phase == endpoint.Connected:
			s.Phase, s.Reason = d.Phase, nil
		case s.Phase != endpoint.Connected && s.Reason == nil:
			s.Phase, s.Reason = d.Phase, d.Reason
		}
	}
	return s
}

// Run sends until ctx is done. A destination that cannot be reached is tried
// again beside the other one.
func (out *output) Run(ctx context.Context, from flow.Source) error {
	if out.cfg.SmoothingLatencyMS > 0 {
		return endpoint.Fail(endpoint.Unworkable, nil, "unsupported", "smoothing is not in this build: set smoothing_latency_ms to 0")
	}
	cursor := from.Open()
	defer cursor.Close()
	ctx, cancel := context.WithCancel(ctx)
	var legs sync.WaitGroup
	defer legs.Wait()
	defer cancel()
	for _, l := range out.legs {
		legs.Go(func() { l.keep(ctx) })
	}
	w := newWindow(cursor)
	defer w.stop()
	return out.send(ctx, w, out.streams())
}

// A stream is legs whose datagrams are the same, headers included.
type stream struct {
	packetizer *packetizer // nil for bare UDP
	headers    []byte      // of the datagrams that are queued
	legs       []*leg
}

// streams returns one stream for each destination, or one for both where they
// are a hitless pair (SMPTE ST 2022-7).
func (out *output) streams() []*stream {
	var streams []*stream
	for i, l := range out.legs {
		if i > 0 && out.cfg.Hitless {
			streams[0].legs = append(streams[0].legs, l)
			continue
		}
		s := &stream{legs: []*leg{l}}
		if out.cfg.Encapsulation != EncapsulationUDP {
			s.packetizer = newPacketizer(out.cfg.PreserveRTPHeader)
		}
		streams = append(streams, s)
	}
	return streams
}

func (out *output) send(ctx context.Context, w *window, streams []*stream) error {
	for {
		packets, lost, err := w.next(ctx)
		if lost > 0 {
			for _, l := range out.legs {
				l.overrun(lost)
			}
		}
		for _, p := range packets {
			for part := range parts(p) {
				for _, s := range streams {
					s.take(p, part)
				}
			}
		}
		for _, s := range streams {
			s.flush()
		}
		if len(packets) > 0 {
			out.noteSent()
		}
		w.done()
		switch {
		case errors.Is(err, io.EOF):
			return endpoint.Fail(endpoint.Connecting, nil, "ended", "the flow has ended")
		case err != nil:
			return err
		}
	}
}

// take queues a datagram on every leg.
func (s *stream) take(p media.Packet, part []byte) {
	var header []byte
	if s.packetizer != nil {
		begin := len(s.headers)
		// Where this moves the headers, those before stay where they are.
		s.headers = append(s.headers, s.packetizer.next(p, len(part) == len(p.Data))...)
		header = s.headers[begin:len(s.headers):len(s.headers)]
	}
	for _, l := range s.legs {
		l.take(header, part)
	}
}

// flush sends what is queued.
func (s *stream) flush() {
	for _, l := range s.legs {
		l.flush()
	}
	s.headers = s.headers[:0]
}

// noteSent notes the time at which media last left on any leg.
func (out *output) noteSent() {
	for _, l := range out.legs {
		if l.delivered {
			l.delivered = false
			out.sent.Store(time.Now().UnixNano())
		}
	}
}
