package srt

import (
	"math"
	"time"
)

// How a latency is advised.
const (
	advisedAfter = 500                   // packets
	advisedLoss  = 1e-6                  // share that may be lost for good
	advisedStep  = 10 * time.Millisecond // what is advised is a multiple
	mostLatency  = 15 * time.Second
	roundTrips   = 4 // the rule of thumb: so many of them, whatever is lost
)

// advice is the least latency that suits the path: enough for a lost packet to
// be asked for and sent again until all but one in a million have come. 0 as
// long as too little is known.
func (c *conn) advice(f *figures) time.Duration {
	l := &f.link
	sent, lost := l.PktSent+l.PktRecv, l.PktSndLoss+l.PktRcvLoss
	if !c.measured || sent < advisedAfter {
		return 0
	}
	share := min(0.5, float64(lost)/float64(sent))
	tries := 1.0 // beside the first
	if share > 0 {
		tries = max(1, math.Ceil(math.Log(advisedLoss)/math.Log(share))-1)
	}
	enough := time.Duration(tries)*c.patience() + c.rtt/2 + 2*tick
	enough = max(enough, roundTrips*c.rtt)
	return min(mostLatency, (enough + advisedStep - 1).Truncate(advisedStep))
}
