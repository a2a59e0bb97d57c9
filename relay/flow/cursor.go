package flow

import (
	"context"
	"io"
	"time"

	"sluice/relay/media"
)

// maxSearch bounds how much of the stream an overrun cursor passes over in
// search of an entry: a stream with gradual refresh may show a random-access
// packet at its start and never again.
const maxSearch = 5 * time.Second

// A Cursor is one reader's place in a Flow. It is for one goroutine.
type Cursor struct {
	flow      *Flow
	pos       uint64    // position of the next packet to be read
	searching bool      // passing over packets up to the next entry
	joining   bool      // the search is for a first packet: what it passes over is not lost
	until     time.Time // arrival at which the search is given up; zero: not known yet
}

// Open returns a cursor at the live edge. The flow carries what came as it
// came, so a reader looks at the Format of what it gets.
func (f *Flow) Open() *Cursor { return &Cursor{flow: f, pos: f.next.Load()} }

// Rewind moves the cursor back to the newest entry that the flow still holds.
// Where there is none it stays, and passes over what a decoder cannot start
// with, uncounted, until one comes.
func (c *Cursor) Rewind() {
	f := c.flow
	if entry := f.entry.Load(); entry > 0 && entry-1 >= f.tail.Load() {
		c.pos = entry - 1
		return
	}
	c.searching, c.joining = f.entries.Load(), true
}

// Close releases what the cursor holds. A Flow keeps no list of its cursors,
// so there is nothing to undo for a plain one.
func (c *Cursor) Close() {}

// Position returns the position of the packet that the next read begins with.
func (c *Cursor) Position() uint64 { return c.pos }

// Flow returns the flow that the cursor reads, for Flow.At.
func (c *Cursor) Flow() *Flow { return c.flow }

// Next fills dst with the packets that are there, waiting until there is at
// least one. lost is how many packets the cursor passed over because it was
// too slow; it may be positive with n == 0 only together with an error. The
// error is io.EOF after Close, or ctx.Err().
func (c *Cursor) Next(ctx context.Context, dst []media.Packet) (n int, lost uint64, err error) {
	if n, lost = c.Poll(dst); n > 0 {
		return n, lost, nil
	}
	for {
		wake := c.flow.wait() // before the look, so that no publish is missed
		closed := c.flow.closed.Load()
		n, l := c.Poll(dst)
		lost += l
		switch {
		case n > 0:
			return n, lost, nil
		case closed:
			return 0, lost, io.EOF
		}
		select {
		case <-ctx.Done():
			return 0, lost, ctx.Err()
		case <-wake:
		}
	}
}

// News returns a channel that is closed when something is published next. A
// reader of several flows or for several peers asks for it, polls, and waits.
func (c *Cursor) News() <-chan struct{} { return c.flow.wait() }

// Poll fills dst with the packets that are there, without waiting. lost is as
// for Next, and may be positive with n == 0.
func (c *Cursor) Poll(dst []media.Packet) (n int, lost uint64) {
	f := c.flow
	for n < len(dst) {
		if c.pos >= f.next.Load() {
			return n, lost
		}
		s := f.at(c.pos)
		if s == nil {
			if c.pos >= f.tail.Load() {
				continue // the array was replaced between two loads: look again
			}
			if n > 0 {
				return n, lost // hand over what precedes the gap first
			}
			lost += c.resume()
			continue
		}
		if c.searching && !c.found(s) {
			c.pos++
			if !c.joining {
				lost++
			}
			continue
		}
		dst[n] = s.packet
		n++
		c.pos++
	}
	return n, lost
}

// resume moves an overrun cursor to the newest entry, or to the live edge:
// there to wait for the next one if the stream is known to have them. It
// returns how many packets were passed over.
func (c *Cursor) resume() (lost uint64) {
	f := c.flow
	entry, tail, to := f.entry.Load(), f.tail.Load(), f.next.Load()
	if entry > 0 && entry-1 >= tail && entry-1 >= c.pos {
		to = entry - 1
	}
	c.searching, c.joining, c.until = f.entries.Load(), false, time.Time{}
	lost = to - c.pos
	c.pos = to
	return lost
}

// found ends a search at s if a decoder may start there, or if the search has
// gone on for too long.
func (c *Cursor) found(s *slot) bool {
	if c.until.IsZero() {
		c.until = s.packet.Arrival.Add(maxSearch)
	}
	if s.entry || s.packet.Arrival.After(c.until) {
		c.searching, c.joining = false, false
	}
	return !c.searching
}
