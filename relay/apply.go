package relay

import (
	"log/slog"
	"time"

	"sluice/relay/endpoint"
	"sluice/relay/flow"
)

// A plan is what an Apply does once it has edited the tree.
type plan struct {
	stops  []*runner
	starts []*runner
	closes []*flow.Flow
}

// apply edits the tree, then stops, then starts. e.applying is held.
func (e *Engine) apply(c Config) {
	p := e.plan(c)
	e.stop(p.stops)
	for _, f := range p.closes {
		f.Close()
	}
	for _, r := range p.starts {
		e.start(r)
	}
	e.observe(time.Now())
}

// plan edits the tree to hold what c says and returns what is to be stopped
// and started for it.
func (e *Engine) plan(c Config) *plan {
	e.mu.Lock()
	defer e.mu.Unlock()
	p := &plan{}
	before := e.streams
	e.streams = make([]*stream, 0, len(c.Flows))
	for _, cf := range c.Flows {
		s := find(before, func(s *stream) bool { return s.config.ID == cf.ID })
		if s == nil {
			s = &stream{flow: flow.New(limits(cf, carries(cf)))}
		}
		s.config = cf
		s.flow.SetLimits(limits(cf, carries(cf)))
		for key, st := range s.stages {
			st.to.SetLimits(limits(cf, key.want))
		}
		e.planInputs(p, s)
		e.planOutputs(p, s)
		e.streams = append(e.streams, s)
	}
	for _, s := range before {
		if find(e.streams, func(t *stream) bool { return t == s }) != nil {
			continue
		}
		for it := range s.items() {
			p.end(it)
		}
		p.closes = append(p.closes, s.flow)
	}
	return p
}

func (e *Engine) planInputs(p *plan, s *stream) {
	before := s.inputs
	s.inputs = make([]*inputItem, 0, len(s.config.Inputs))
	for _, c := range s.config.Inputs {
		it := find(before, func(it *inputItem) bool { return it.config.ID == c.ID })
		if it == nil {
			it = &inputItem{item: e.newItem(s, "input", c.ID), config: c}
		}
		how := inputChange(it.config, c)
		it.config, it.gap, it.spare = c, InputGap(c), InputStandby(s.config, c)
		wanted := e.running && s.config.Enabled && c.Enabled && it.gap == nil && it.spare == nil
		p.update(&it.item, how, wanted, inputAccess(c), func() *runner { return e.newInputRunner(s, it) })
		s.inputs = append(s.inputs, it)
	}
	for _, it := range before {
		if find(s.inputs, func(k *inputItem) bool { return k == it }) == nil {
			p.end(&it.item)
		}
	}
}

func (e *Engine) planOutputs(p *plan, s *stream) {
	before := s.outputs
	s.outputs = make([]*outputItem, 0, len(s.config.Outputs))
	for _, c := range s.config.Outputs {
		it := find(before, func(it *outputItem) bool { return it.config.ID == c.ID })
		if it == nil {
			it = &outputItem{item: e.newItem(s, "output", c.ID), config: c}
		}
		how := outputChange(it.config, c)
		from := s.stage(c, e.options.Log)
		if from != it.stage {
			how = replace
		}
		it.config, it.gap, it.stage = c, OutputGap(s.config, c), from
		wanted := e.running && s.config.Enabled && c.Enabled && it.gap == nil
		if how == handover {
			it.leaveBy = time.Now().Add(e.options.Handover)
		}
		p.update(&it.item, how, wanted, outputAccess(c), func() *runner { return e.newOutputRunner(s, it) })
		s.outputs = append(s.outputs, it)
	}
	for _, it := range before {
		if find(s.outputs, func(k *outputItem) bool { return k == it }) == nil {
			p.end(&it.item)
		}
	}
}

// update brings one item from what it runs to what it is to run.
func (p *plan) update(it *item, how change, wanted bool, access endpoint.Access, fresh func() *runner) {
	switch {
	case !wanted:
		p.end(it)
		return
	case it.runner == nil:
	case how == inPlace:
		it.runner.setAccess(access)
		return
	case how == handover && it.runner.works():
		p.stop(it.leaving)
		it.leaving = it.runner
	default:
		p.end(it)
	}
	it.runner = fresh()
	it.runner.access = access
	p.starts = append(p.starts, it.runner)
}

// end stops whatever an item runs.
func (p *plan) end(it *item) {
	p.stop(it.runner)
	p.stop(it.leaving)
	it.runner, it.leaving = nil, nil
}

func (p *plan) stop(r *runner) {
	if r != nil {
		p.stops = append(p.stops, r)
	}
}

// stop ends runners and waits for them, for StopTimeout at most: one that
// hangs must not keep the others from being started. Run waits for it.
func (e *Engine) stop(runners []*runner) {
	for _, r := range runners {
		r.cancel()
	}
	bound := time.NewTimer(e.options.StopTimeout)
	defer bound.Stop()
	for i, r := range runners {
		select {
		case <-r.done:
			continue
		case <-bound.C:
		}
		for _, r := range runners[i:] {
			select {
			case <-r.done:
			default:
				r.log.Error("endpoint does not stop", "waited", e.options.StopTimeout)
			}
		}
		return
	}
}

// find returns the first of items that fits, or nil.
func find[T any](items []*T, fits func(*T) bool) *T {
	for _, it := range items {
		if fits(it) {
			return it
		}
	}
	return nil
}

func (e *Engine) newItem(s *stream, kind, id string) item {
	return item{
		ledger: &endpoint.Ledger{},
		log:    e.options.Log.With(slog.String("flow", s.config.ID), slog.String(kind, id)),
	}
}
