package srt

import "time"

// A meter tells how many bytes there were in the last second.
type meter struct {
	begun     time.Duration // of the second that is on
	bytes     uint64        // in it so far
	packets   uint64
	perSecond uint64 // bytes, in the one before
	rate      uint64 // packets, in the one before
}

func (m *meter) add(at time.Duration, bytes int) {
	m.turn(at)
	m.bytes += uint64(bytes)
	m.packets++
}

// turn begins another second where it is time; a stream that has just begun is
// measured after a tenth of one.
func (m *meter) turn(at time.Duration) {
	passed := at - m.begun
	if passed < time.Second && (m.rate > 0 || passed < time.Second/10) {
		return
	}
	m.perSecond = uint64(float64(m.bytes) / passed.Seconds())
	m.rate = uint64(float64(m.packets) / passed.Seconds())
	m.begun, m.bytes, m.packets = at, 0, 0
}

// mbps is the rate in Mbit/s.
func (m *meter) mbps(at time.Duration) float64 {
	m.turn(at)
	return float64(m.perSecond) * 8e-6
}
