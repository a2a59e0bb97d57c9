package srt

import (
	"sync"
	"time"

	gosrt "github.com/datarhei/gosrt"
)

// hangups hears in gosrt's log, which goes nowhere else, that a peer says
// goodbye. gosrt would throw away at once what it holds for the time of the
// latency: the note is taken in its way, so that the end of the stream is
// still delivered.
type hangups struct{ conns sync.Map } // socket id -> *conn

const topicGoodbye = "control:recv:shutdown:dump"

func (h *hangups) add(socket uint32, c *conn) { h.conns.Store(socket, c) }
func (h *hangups) remove(socket uint32)       { h.conns.Delete(socket) }

// Print is called on the connection's own goroutine.
func (h *hangups) Print(topic string, socket uint32, _ int, _ func() string) {
	if topic != topicGoodbye {
		return
	}
	v, ok := h.conns.Load(socket)
	if !ok {
		return
	}
	c := v.(*conn)
	if c.goodbye.Swap(true) {
		return
	}
	t := time.NewTimer(c.stats().recvLatency + 2*tick)
	defer t.Stop()
	select {
	case <-t.C:
	case <-c.closing:
	}
}

// tick is how often gosrt sends and delivers.
const tick = 10 * time.Millisecond

func (h *hangups) HasTopic(topic string) bool { return topic == topicGoodbye }
func (h *hangups) Listen() <-chan gosrt.Log   { return nil }
func (h *hangups) Close()                     {}
