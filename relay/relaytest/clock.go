package relaytest

import (
	"encoding/binary"
	"math"
)

// Every SRT packet, data and control, begins with a header that ends in a
// timestamp and a socket id (draft-sharabayko-srt section 3). The timestamp is
// the sender's clock in microseconds, and wraps.
const (
	srtHeader      = 16
	srtTimestampAt = 8
)

// A clock lets the clock that an SRT peer shows run at another rate. The first
// timestamp stays as it is. No other field of a packet tells the time: what
// acknowledges is answered by number.
type clock struct {
	ppm     float64
	started bool
	origin  uint32 // the first timestamp
	elapsed int64  // microseconds from it to the last one, which may be an earlier time
}

// rescale changes the timestamp of a packet.
func (c *clock) rescale(b []byte) {
	if c.ppm == 0 || len(b) < srtHeader {
		return
	}
	now := binary.BigEndian.Uint32(b[srtTimestampAt:])
	if !c.started {
		c.started, c.origin = true, now
	}
	// Whatever is sent again carries its old time: the nearest to the last one
	// is meant, before or after it.
	last := c.origin + uint32(c.elapsed)
	c.elapsed += int64(int32(now - last))
	gain := int64(math.Round(float64(c.elapsed) * c.ppm / 1e6))
	binary.BigEndian.PutUint32(b[srtTimestampAt:], c.origin+uint32(c.elapsed+gain))
}
