package relay

import "sluice/relay/endpoint"

// Bound tells whether everything that is to listen does, or has told why it
// does not yet: after a start, the moment from which peers are answered.
func (e *Engine) Bound() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, s := range e.streams {
		for _, in := range s.inputs {
			if len(in.config.claims("")) > 0 && in.binds() {
				return false
			}
		}
		for _, out := range s.outputs {
			if len(out.config.claims("")) > 0 && out.binds() {
				return false
			}
		}
	}
	return true
}

// binds tells whether the item is still on its way to its first socket.
func (it *item) binds() bool {
	if it.runner == nil || unready(it.runner.uplinks()) != nil {
		return false
	}
	g := it.runner.glance()
	if g.failure != nil {
		return false
	}
	return !g.running || g.end.phase() == endpoint.Connecting
}
