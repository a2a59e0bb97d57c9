package relay

import (
	"time"

	"sluice/relay/endpoint"
)

// observeEvery is how often every item is looked at.
const observeEvery = 200 * time.Millisecond

// Report returns what every item was doing when last looked at, which is at
// most observeEvery ago. It is shared: nobody may change it.
func (e *Engine) Report() Report { return *e.report.Load() }

// observe looks at every item, ends handovers, and makes the next Report.
func (e *Engine) observe(now time.Time) {
	e.mu.Lock()
	defer e.mu.Unlock()
	r := &Report{Time: now, Flows: make([]FlowReport, 0, len(e.streams))}
	for _, s := range e.streams {
		mark(&s.media, now, now.Sub(s.flow.LastArrival()) < mediaPause)
		fr := FlowReport{ID: s.config.ID, Inputs: []InputReport{}, Outputs: []OutputReport{}}
		for _, in := range s.inputs {
			in.tend(now)
			fr.Inputs = append(fr.Inputs, e.observeInput(now, s, in))
		}
		for _, out := range s.outputs {
			out.tend(now)
			fr.Outputs = append(fr.Outputs, e.observeOutput(now, s, out))
		}
		r.Flows = append(r.Flows, fr)
	}
	e.report.Store(r)
}

// tend lets the runner look at its uplinks, and ends a handover.
func (it *item) tend(now time.Time) {
	if it.runner != nil {
		it.runner.look(now)
	}
	if it.leaving == nil {
		return
	}
	it.leaving.look(now)
	if it.runner.works() || !now.Before(it.leaveBy) {
		it.leaving.cancel()
		it.leaving = nil
	}
}

func (e *Engine) observeInput(now time.Time, s *stream, in *inputItem) InputReport {
	g := in.glance()
	f := inputFacts{
		facts: e.facts(now, g, s.config.Enabled && in.config.Enabled, in.gap, inputUplinks(in.config)),
		spare: in.spare,
	}
	if end, ok := g.end.(inputEnd); ok {
		f.status = end.Status()
	}
	if !g.running {
		f.status.Sessions, f.status.Links, f.status.Peer = nil, nil, ""
	}
	state, why := inputState(f)
	in.watch.see(now, state, in.ledger.Bytes.Load())
	f.status.Sessions = in.watch.rateSessions(now, f.status.Sessions)
	return InputReport{
		ID: in.config.ID, State: state, Reason: why, Since: in.watch.since, Active: f.enabled && f.gap == nil && f.spare == nil,
		BitrateBps: in.watch.rate, Counters: count(in.ledger), Status: f.status,
	}
}

func (e *Engine) observeOutput(now time.Time, s *stream, out *outputItem) OutputReport {
	g := out.glance()
	f := outputFacts{
		facts: e.facts(now, g, s.config.Enabled && out.config.Enabled, out.gap, outputUplinks(out.config)),
		media: s.media,
	}
	if end, ok := g.end.(outputEnd); ok {
		f.status = end.Status()
	}
	if out.stage != nil && g.running {
		f.lack, f.nothing = out.stage.lack(now, out.config.Protocol)
	}
	if !g.running {
		f.status.Sessions, f.status.Links, f.status.Destinations = nil, nil, nil
	}
	state, why := outputState(f)
	out.watch.see(now, state, out.ledger.Bytes.Load())
	f.status.Sessions = out.watch.rateSessions(now, f.status.Sessions)
	r := OutputReport{
		ID: out.config.ID, State: state, Reason: why, Since: out.watch.since,
		BitrateBps: out.watch.rate, Destinations: destinations(f.status), Counters: count(out.ledger), Status: f.status,
	}
	if out.stage != nil {
		r.Conversion = out.stage.counters()
	}
	if state != Disabled && state != Invalid { // another program may have the port
		r.PlaybackURLs = playbackURLs(out.config, f.status.Playback, e.options.Uplink(out.config.Uplink))
	}
	if listens(out.config) {
		r.Counters.Reconnections = 0 // each viewer that comes is no reconnection of ours
	}
	return r
}

// glance is that of the runner; zero where the item does not run.
func (it *item) glance() glance {
	if it.runner == nil {
		return glance{}
	}
	return it.runner.glance()
}

func (e *Engine) facts(now time.Time, g glance, enabled bool, gap *endpoint.Reason, uplinks []string) facts {
	return facts{
		now: now, enabled: enabled, gap: gap, uplink: unready(e.uplinks(uplinks)),
		running: g.running, peer: g.peer, failure: g.failure,
	}
}

// count copies a ledger.
func count(l *endpoint.Ledger) Counters {
	c := Counters{
		Packets: l.Sent.Load(), Bytes: l.Bytes.Load(), BytesAcked: l.BytesAcked.Load(),
		Lost: l.Lost.Load(), Retransmitted: l.Retransmitted.Load(), Refused: l.Refused.Load(),
		Dropped: l.Dropped(),
	}
	if n := l.Connections.Load(); n > 1 {
		c.Reconnections = n - 1
	}
	return c
}
