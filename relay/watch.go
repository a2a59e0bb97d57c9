package relay

import (
	"slices"
	"time"

	"sluice/relay/endpoint"
)

// rateWindow is how much of the past a bitrate tells of.
const rateWindow = 2 * time.Second

// A watch remembers of one item what takes more than one look.
type watch struct {
	state    State
	since    time.Time // when state became what it is
	rate     uint64    // bits per second over the last rateWindow
	meter    meter
	sessions map[string]*meter // by the session's id
}

// see notes the state and how many bytes there have been so far.
func (w *watch) see(now time.Time, s State, bytes uint64) {
	if s != w.state {
		w.state, w.since = s, now
	}
	w.rate = w.meter.rate(now, bytes)
}

// rateSessions returns a copy of the sessions with their bitrates filled in.
func (w *watch) rateSessions(now time.Time, sessions []endpoint.Session) []endpoint.Session {
	sessions = slices.Clone(sessions)
	meters := make(map[string]*meter, len(sessions))
	for i := range sessions {
		s := &sessions[i]
		m := w.sessions[s.ID]
		if m == nil {
			m = &meter{samples: []sample{{at: s.Since}}}
		}
		meters[s.ID] = m
		s.BitrateBps = m.rate(now, s.Bytes)
	}
	w.sessions = meters
	return sessions
}

// A meter tells the rate of a counter that only grows.
type meter struct {
	samples []sample // oldest first
}

type sample struct {
	at    time.Time
	bytes uint64
}

// rate takes a sample and returns bits per second since the oldest one that
// is no older than rateWindow.
func (m *meter) rate(now time.Time, bytes uint64) uint64 {
	m.samples = append(m.samples, sample{now, bytes})
	stale := 0
	for stale < len(m.samples)-2 && now.Sub(m.samples[stale].at) > rateWindow {
		stale++
	}
	m.samples = append(m.samples[:0], m.samples[stale:]...)
	oldest := m.samples[0]
	seconds := now.Sub(oldest.at).Seconds()
	if seconds <= 0 || bytes < oldest.bytes {
		return 0
	}
	return uint64(float64(bytes-oldest.bytes) * 8 / seconds)
}
