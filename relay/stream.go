package relay

import (
	"iter"
	"log/slog"
	"time"

	"sluice/relay/endpoint"
	"sluice/relay/flow"
	"sluice/relay/media"
)

// A stream is a configured flow at work. Its flow.Flow lives as long as the
// flow's id is configured, so that outputs outlive the inputs.
type stream struct {
	config Flow
	flow   *flow.Flow
	// stages convert the flow for outputs that need it otherwise. They run while
	// one does.
	stages  map[conversionKey]*stage
	media   time.Time // since when the flow has media without a pause; zero while it has none
	inputs  []*inputItem
	outputs []*outputItem
}

// An item is an input or output of a stream: what stays while its endpoints
// come and go.
type item struct {
	ledger *endpoint.Ledger
	log    *slog.Logger
	runner *runner // nil while the item is not to run
	// leaving is the predecessor that goes on until the runner is connected,
	// or until leaveBy; nil if there is none.
	leaving *runner
	leaveBy time.Time
	watch   watch
}

type inputItem struct {
	item
	config Input
	gap    *endpoint.Reason // why this build cannot run it
	spare  *endpoint.Reason // why it is held back while another is in use
}

type outputItem struct {
	item
	config Output
	gap    *endpoint.Reason // why this build cannot run it
	stage  *stage           // that it reads from; nil: from the flow itself
}

// items ranges over the inputs and outputs.
func (s *stream) items() iter.Seq[*item] {
	return func(yield func(*item) bool) {
		for _, in := range s.inputs {
			if !yield(&in.item) {
				return
			}
		}
		for _, out := range s.outputs {
			if !yield(&out.item) {
				return
			}
		}
	}
}

// A conversionKey tells stages of one flow apart.
type conversionKey struct {
	want    media.Kind
	program int // of the source; 0: the first
}

// stage returns what an output is to read from, nil for the flow itself.
func (s *stream) stage(o Output, log *slog.Logger) *stage {
	key := conversionKey{want: carriage(o.Protocol), program: inUse(s.config).Program}
	convert := false
	for _, in := range s.config.Inputs {
		convert = convert || carriage(in.Protocol) != key.want
	}
	if !convert {
		return nil
	}
	if s.stages == nil {
		s.stages = make(map[conversionKey]*stage)
	}
	if s.stages[key] == nil {
		s.stages[key] = newStage(s.flow, key, limits(s.config, key.want), log.With("flow", s.config.ID))
	}
	return s.stages[key]
}

// carries returns what the inputs of a flow bring.
func carries(c Flow) media.Kind {
	for _, in := range c.Inputs {
		if kind := carriage(in.Protocol); kind == media.FLV {
			return kind
		}
	}
	return media.TS
}

// limits returns what a flow must remember for its outputs: one and a half
// times the largest latency that they were given, and one second; of RTMP
// messages what follows the newest key frame, where players begin.
func limits(c Flow, kind media.Kind) flow.Limits {
	var latency time.Duration
	for _, o := range c.Outputs {
		switch {
		case o.SRT != nil:
			latency = max(latency, time.Duration(o.SRT.LatencyMS)*time.Millisecond)
		case o.RTP != nil:
			latency = max(latency, time.Duration(o.RTP.SmoothingLatencyMS)*time.Millisecond)
		}
	}
	l := flow.DefaultLimits
	l.Entry = kind == media.FLV
	l.Retain = max(l.Retain, latency*3/2+time.Second)
	return l
}
