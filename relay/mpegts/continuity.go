package mpegts

// A Continuity checks the continuity counters of every PID (2.4.3.3). The zero
// value is ready; it has seen nothing, so a PID's first packet is never wrong.
type Continuity struct {
	pids [pidCount]uint8 // last counter, with the flags below
}

const (
	seenPID   = 0x80
	duplicate = 0x40 // the last packet was a repetition
)

// Check tells whether p follows the packet before it on its PID. The counter
// stands still where there is no payload, a packet may be sent twice, and a
// discontinuity indicator excuses a jump; null packets are not counted.
func (c *Continuity) Check(p Packet) bool {
	pid := p.PID()
	if pid == PIDNull {
		return true
	}
	state := c.pids[pid]
	now, last := p.Continuity(), state&0x0F
	next := seenPID | now
	ok := true
	switch {
	case state&seenPID == 0, p.Discontinuity():
	case !p.HasPayload():
		ok = now == last
		next |= state & duplicate
	case now == last:
		ok = state&duplicate == 0 // once only
		next |= duplicate
	default:
		ok = now == (last+1)&0x0F
	}
	c.pids[pid] = next
	return ok
}

// Seen tells whether any packet of the PID was checked.
func (c *Continuity) Seen(pid uint16) bool { return c.pids[pid%pidCount]&seenPID != 0 }
