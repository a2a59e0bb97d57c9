package rtp

import (
	"context"
	"time"

	"sluice/relay/flow"
	"sluice/relay/media"
)

// mostGathered is how many packets a window holds.
const mostGathered = 4 * burst

// A window takes from a cursor what comes within a few milliseconds, so that
// it can be sent together.
type window struct {
	cursor  *flow.Cursor
	pace    *pace
	packets [mostGathered]media.Packet
	count   int // of packets
}

func newWindow(c *flow.Cursor) *window { return &window{cursor: c, pace: newPace()} }

// next returns the packets of a window, waiting until there is at least one.
// They are valid until done is called. lost and err are those of Cursor.Next.
func (w *window) next(ctx context.Context) (packets []media.Packet, lost uint64, err error) {
	n, lost, err := w.cursor.Next(ctx, w.packets[:])
	if n == 0 {
		return nil, lost, err
	}
	if n < burst {
		// What a source brings together has waited there.
		w.pace.rest(ctx, time.Since(w.packets[0].Arrival))
		more, missed := w.cursor.Poll(w.packets[n:])
		n, lost = n+more, lost+missed
	}
	w.count = n
	w.pace.got(n)
	return w.packets[:n], lost, err
}

// done lets the packets go.
func (w *window) done() { clear(w.packets[:w.count]) }

func (w *window) stop() { w.pace.stop() }
