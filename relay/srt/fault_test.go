package srt

import (
	"context"
	"encoding/binary"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/datarhei/gosrt/packet"

	"sluice/relay/endpoint"
	"sluice/relay/relaytest"
)

// A faulty half has a fault in one of its methods.
type faulty struct {
	half
	in string
}

func (f *faulty) fault(in string) {
	if in == f.in {
		panic("a fault that a test made")
	}
}

func (f *faulty) data(h header, b []byte, at time.Duration) {
	f.fault("data")
	f.half.data(h, b, at)
}

func (f *faulty) control(h header, b []byte, at time.Duration) {
	f.fault("control")
	f.half.control(h, b, at)
}

func (f *faulty) tick(at time.Duration) {
	f.fault("tick")
	f.half.tick(at)
}

func (f *faulty) pump(at time.Duration, again bool) bool {
	f.fault("pump")
	return f.half.pump(at, again)
}

func (f *faulty) finish(at time.Duration, gone bool) bool {
	f.fault("finish")
	return f.half.finish(at, gone)
}

func (f *faulty) close(at time.Duration) {
	f.fault("close")
	f.half.close(at)
}

func (f *faulty) show(g *figures, at time.Duration) {
	f.fault("show")
	f.half.show(g, at)
}

// TestFault has connections of a loop panic, wherever they can: they end, and
// another one loses nothing.
func TestFault(t *testing.T) {
	relaytest.TakesSeconds(t)
	t.Parallel()
	in := []string{"control", "tick", "pump", "show", "finish", "close"}
	out := runOutput(t, listenerConfig(), endpoint.Access{Max: len(in) + 1}, live(t))
	port := out.port(t)
	good := watching(t, port)
	var viewers []*receivingInput
	for range in {
		viewers = append(viewers, runInput(t, callerConfig("127.0.0.1", port)))
	}
	g := out.Output.(*listenOutput)
	sessions := func() []*session { return g.View().Sessions }
	await(t, "they are connected", func() bool { return len(sessions()) == len(in)+1 })
	for i, s := range sessions()[1:] {
		s.loop.do(func(time.Time) { s.conn.half = &faulty{s.conn.half, in[i]} })
		switch in[i] {
		case "finish":
			s.End(context.Canceled) // in order
		case "close":
			g.Kick(s.id)
		}
		await(t, "it ends: "+in[i], func() bool { return !slices.Contains(sessions(), s) })
		if n := strings.Count(out.log.String(), "stopped by a fault of this software"); n != i+1 {
			t.Errorf("%s: %d are logged to have ended so", in[i], n)
		}
	}
	for _, v := range viewers {
		await(t, "its viewer is told", func() bool { return v.Status().Reason != nil })
		if code := v.Status().Reason.Code; code != "peer_closed" {
			t.Errorf("a viewer: %s", code)
		}
	}
	n := good.seen.Report().Received
	await(t, "the other goes on", func() bool { return good.seen.Report().Received > n+50 })
	intact(t, good.seen)
	if n := strings.Count(out.log.String(), "a fault that a test made"); n != 1 {
		t.Errorf("%d faults are logged", n)
	}
	if err := out.stop(); err != nil {
		t.Error(err)
	}
}

// TestFaultElsewhere: neither a handshake nor what is posted to a loop ends it.
func TestFaultElsewhere(t *testing.T) {
	relaytest.TakesSeconds(t)
	t.Parallel()
	out := runOutput(t, listenerConfig(), anyone, live(t))
	port := out.port(t)
	good := watching(t, port)
	loop := out.Output.(*listenOutput).View().Sessions[0].loop
	loop.do(func(time.Time) {
		ln := loop.sockets[0].listener
		ln.door = panickyDoor{ln.door}
	})
	loop.do(func(time.Time) { panic("a fault that a test made") })
	c := newRawCaller(t, port)
	b := makeHandshake(5, packet.HSTYPE_CONCLUSION, 0, rawID, hello(0x010500, flags150))
	binary.BigEndian.PutUint32(b[headerSize+28:], c.ask(makeHandshake(4, packet.HSTYPE_INDUCTION, 0, rawID)).SynCookie)
	if _, err := c.conn.Write(b); err != nil {
		t.Fatal(err)
	}
	await(t, "both are noticed", func() (both bool) {
		loop.do(func(time.Time) { both = loop.faults == 1 }) // since the one that was logged
		return both
	})
	if n := strings.Count(out.log.String(), "a fault that a test made"); n != 1 {
		t.Errorf("%d faults are logged", n)
	}
	n := good.seen.Report().Received
	await(t, "the other goes on", func() bool { return good.seen.Report().Received > n+50 })
	intact(t, good.seen)
}

// A panickyDoor has a fault.
type panickyDoor struct{ doorkeeper }

func (panickyDoor) judge(*request) verdict { panic("a fault that a test made") }
