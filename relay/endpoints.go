package relay

import (
	"context"

	"sluice/relay/endpoint"
	"sluice/relay/flow"
	"sluice/relay/rtmp"
	"sluice/relay/rtp"
	"sluice/relay/srt"
)

// newInputRunner returns what is to run an input as it is configured now.
func (e *Engine) newInputRunner(s *stream, it *inputItem) *runner {
	c, to := it.config, s.flow
	r := e.newRunner(&it.item, inputUplinks(c))
	r.make = func() (end, error) {
		in, err := e.options.MakeInput(c, e.env(&it.item, c.Uplink, 0))
		if err != nil {
			return nil, err
		}
		return inputEnd{in, to}, nil
	}
	return r
}

// newOutputRunner returns what is to run an output as it is configured now.
func (e *Engine) newOutputRunner(s *stream, it *outputItem) *runner {
	c, via := it.config, it.stage
	var from flow.Source = s.flow
	if via != nil {
		from = via
	}
	r := e.newRunner(&it.item, outputUplinks(c))
	r.apart = c.RTP != nil
	r.make = func() (end, error) {
		out, err := e.options.MakeOutput(c, e.env(&it.item, c.Uplink, c.DSCP))
		if err != nil {
			return nil, err
		}
		return outputEnd{out, from, via}, nil
	}
	return r
}

func (e *Engine) newRunner(it *item, uplinks []string) *runner {
	return &runner{
		uplinks: func() []endpoint.Uplink { return e.uplinks(uplinks) },
		retry:   e.options.Retry,
		starts:  e.starts,
		log:     it.log,
		done:    make(chan struct{}),
		wake:    make(chan struct{}, 1),
	}
}

// start lets a runner run. Run joins it.
func (e *Engine) start(r *runner) {
	ctx, cancel := context.WithCancel(context.Background())
	r.cancel = cancel
	e.runners.Go(func() {
		defer cancel()
		r.run(ctx)
	})
}

func (e *Engine) env(it *item, uplink string, dscp int) endpoint.Env {
	return endpoint.Env{
		Uplink:      e.options.Uplink(uplink),
		UplinkNamed: e.options.Uplink,
		DSCP:        dscp,
		Ledger:      it.ledger,
		Log:         it.log,
	}
}

func (e *Engine) uplinks(names []string) []endpoint.Uplink {
	uplinks := make([]endpoint.Uplink, len(names))
	for i, name := range names {
		uplinks[i] = e.options.Uplink(name)
	}
	return uplinks
}

// inputUplinks names the uplinks of an input's sockets.
func inputUplinks(c Input) []string { return []string{c.Uplink} }

// outputUplinks names the uplinks of an output's sockets: each destination of
// an RTP output may have its own.
func outputUplinks(c Output) []string {
	if c.RTP == nil || len(c.RTP.Destinations) == 0 {
		return []string{c.Uplink}
	}
	var names []string
	for _, d := range c.RTP.Destinations {
		if d.Uplink == "" {
			d.Uplink = c.Uplink
		}
		names = append(names, d.Uplink)
	}
	return names
}

// protocols make endpoints, with what those of one protocol share.
type protocols struct {
	srt  *srt.Transport
	rtmp *rtmp.Transport
}

// newInput makes the endpoint of an input by its protocol. The error is an
// *endpoint.Error.
func (p protocols) newInput(c Input, env endpoint.Env) (endpoint.Input, error) {
	switch {
	case c.SRT != nil:
		return srt.NewInput(p.srt, *c.SRT, inputAccess(c), env), nil
	case c.RTMP != nil:
		return rtmp.NewInput(p.rtmp, *c.RTMP, inputAccess(c), env), nil
	case c.RTP != nil:
		return rtp.NewInput(*c.RTP, c.Allow, env), nil
	}
	return nil, absent(c.Protocol)
}

// newOutput makes the endpoint of an output by its protocol. The error is an
// *endpoint.Error.
func (p protocols) newOutput(c Output, env endpoint.Env) (endpoint.Output, error) {
	switch {
	case c.SRT != nil:
		return srt.NewOutput(p.srt, *c.SRT, outputAccess(c), env), nil
	case c.RTMP != nil:
		return rtmp.NewOutput(p.rtmp, *c.RTMP, outputAccess(c), env), nil
	case c.RTP != nil:
		return rtp.NewOutput(*c.RTP, env), nil
	}
	return nil, absent(c.Protocol)
}

func absent(protocol string) error {
	return endpoint.Fail(endpoint.Unworkable, nil, ReasonUnsupported, "%s is not in this build", protocol)
}

// inputAccess says who may publish to an input: one at a time.
func inputAccess(c Input) endpoint.Access { return endpoint.Access{Allow: c.Allow, Max: 1} }

// outputAccess says who may play an output.
func outputAccess(c Output) endpoint.Access {
	return endpoint.Access{Allow: c.Allow, Max: c.MaxViewers}
}
