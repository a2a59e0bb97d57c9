package srt

import (
	"context"
	"math/rand/v2"
	"runtime"
	"testing"
	"time"

	"sluice/relay/endpoint"
	"sluice/relay/flow"
	"sluice/relay/relaytest"
)

// A hostilePeer has shaken hands in order, and then sends what it likes.
type hostilePeer struct {
	*rawCaller
	id uint32 // of our end
}

func newHostilePeer(t *testing.T, port int) hostilePeer {
	t.Helper()
	c := newRawCaller(t, port)
	h := c.conclude(5, nil, hello(0x010500, flags150))
	if code, refused := h.refusal(); refused {
		t.Fatalf("refused: %d", code)
	}
	go func() { // so that its port does not fill
		for b := make([]byte, maxDatagram); ; {
			if _, err := c.conn.Read(b); err != nil && t.Context().Err() != nil {
				return
			}
		}
	}()
	return hostilePeer{c, h.SRTSocketId}
}

func (p hostilePeer) control(kind controlType, specific uint32, body []byte) {
	b := make([]byte, headerSize, headerSize+len(body))
	h := header{control: true, kind: kind, specific: specific, time: rand.Uint32(), to: p.id}
	h.put(b)
	_, _ = p.conn.Write(append(b, body...))
}

func (p hostilePeer) data(q sequence, stamp uint32, payload []byte) {
	b := make([]byte, headerSize, headerSize+len(payload))
	h := header{sequence: q, flags: flagSolo | 1, time: stamp, to: p.id}
	h.put(b)
	_, _ = p.conn.Write(append(b, payload...))
}

// hugeRanges is a loss list of as many ranges as fit, each of nearly half of
// all numbers.
func hugeRanges() (list []byte) {
	for len(list)+8 <= lossListSize {
		first := sequence(rand.Uint32() & maxSequence)
		list = appendLoss(list, span{first, first.plus(1<<30 - 2)})
	}
	return list
}

// attacks are what hostile peers do to a connection, over and over.
var attacks = map[string]func(p hostilePeer, i int){
	"reports of everything": func(p hostilePeer, _ int) { p.control(controlNAK, 0, hugeRanges()) },
	"reports that run backwards": func(p hostilePeer, i int) {
		p.control(controlNAK, 0, []byte{0x80 | byte(i), 0, 0, 9, 0, 0, 0, 3})
	},
	"acknowledgements of anything": func(p hostilePeer, i int) {
		p.control(controlACK, uint32(i), fullACK(sequence(rand.Uint32()&maxSequence), 1<<32-1, 1<<32-1, uint32(i%2)))
	},
	"acknowledgements of nothing": func(p hostilePeer, i int) {
		p.control(controlACK, uint32(i), fullACK(0, 1, 0, 0))
	},
	"answers that nobody waits for": func(p hostilePeer, i int) { p.control(controlACKACK, uint32(i), nil) },
	"drops of everything": func(p hostilePeer, i int) {
		q := sequence(i).plus(-1 << 29)
		p.control(controlDropReq, 0, dropRequest(span{q, q.plus(1<<30 - 2)}))
	},
	"jumps": func(p hostilePeer, i int) {
		p.data(sequence(i).plus(i%2*(1<<30-1)), uint32(i)<<20, marked(inClear, 200))
		p.data(sequence(i).plus(mostHeld-1), uint32(i)*3_600_000_000, marked(inClear, 200))
	},
	"holes": func(p hostilePeer, i int) { p.data(sequence(2*i), uint32(i)+1<<31, marked(inClear, 200)) },
	"kinds that there are not": func(p hostilePeer, i int) {
		p.control(controlType(i)&0x7FFF|8, rand.Uint32(), hugeRanges()[:i%100])
	},
}

// TestNeighbours has hostile viewers on an output, and a hostile source on an
// input that the same loop serves: a good viewer loses nothing, nobody waits for
// the loop, and memory does not grow.
func TestNeighbours(t *testing.T) {
	relaytest.TakesSeconds(t)
	const each = 1500 // of each attack, by a viewer and by a source
	e, log := env(t)
	shared := NewTransport(e.Log)
	from, to := live(t), flow.New(flow.DefaultLimits)
	cfg := listenerConfig()
	cfg.PeerIdleTimeoutMS = 10_000 // each waits for its turn
	out := &sendingOutput{Output: NewOutput(shared, cfg, endpoint.Access{Max: 2 + len(attacks)}, e), env: e, log: log}
	out.stop = background(t, func(ctx context.Context) error { return out.Run(ctx, from) })
	port := out.port(t)
	viewer := watching(t, port)

	// The input is made to share the output's loop.
	loop := shared.acquire(from)
	shared.mu.Lock()
	shared.uses[to] = &use{loop: loop, n: 1}
	shared.mu.Unlock()
	in := NewInput(shared, cfg, anyone, e)
	stop := background(t, func(ctx context.Context) error { return in.Run(ctx, to) })
	await(t, "the input listens", func() bool { return in.Status().Phase == endpoint.Listening })
	source := newHostilePeer(t, in.(*listenInput).View().Port)
	peers := make(map[string]hostilePeer)
	for name := range attacks {
		peers[name] = newHostilePeer(t, port)
	}

	memory, slowest := heap(), time.Duration(0)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for name, attack := range attacks {
			p := peers[name]
			for i := range each {
				attack(p, i)
				attack(source, i)
				if i%64 == 0 { // not faster than it is read
					loop.do(func(time.Time) {})
				}
			}
			if name == "holes" { // and then, that it has all
				source.control(controlDropReq, 0, dropRequest(span{0, 2 * each}))
			}
		}
	}()
	for over := false; !over; {
		began := time.Now()
		loop.do(func(time.Time) {})
		slowest = max(slowest, time.Since(began))
		select {
		case <-done:
			over = true
		default:
			runtime.Gosched()
		}
	}
	n := viewer.seen.Report().Received
	await(t, "the viewer goes on", func() bool { return viewer.seen.Report().Received > n+50 })
	intact(t, viewer.seen)
	if now := heap(); now > memory+48<<20 {
		t.Errorf("%d MiB are in use, %d before", now>>20, memory>>20)
	}
	t.Logf("the loop was busy for %v at most", slowest)
	if slowest > time.Second && relaytest.Emulator() == "" {
		t.Errorf("the loop was busy for %v", slowest)
	}
	if loop.do(func(time.Time) {
		if loop.faults > 0 || !loop.faultAt.IsZero() {
			t.Error("it panicked")
		}
	}); t.Failed() {
		t.Log(tail(log.String()))
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
	if err := out.stop(); err != nil {
		t.Error(err)
	}
	shared.release(to)
	shared.release(from)
	empty(t, shared)
	balanced(t, e.Ledger)
}
