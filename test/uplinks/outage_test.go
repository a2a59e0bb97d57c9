package uplinks

import (
	"context"
	"errors"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	srt "github.com/datarhei/gosrt"

	"sluice/test/harness"
)

// A headend receives SRT from any number of callers, at once and one after
// another.
type headend struct {
	mu       sync.Mutex
	sessions []*harness.Viewer // one for each, in their order
}

// receiveSRTs starts a headend on a host.
func (h *host) receiveSRTs(t *testing.T, at string) *headend {
	t.Helper()
	e := &headend{}
	var l srt.Listener
	h.do(t, func() {
		config := srt.DefaultConfig()
		config.Latency = srtLatency * time.Millisecond
		var err error
		l, err = srt.Listen("srt", at, config)
		must(t, err)
	})
	var all sync.WaitGroup
	all.Go(func() {
		for {
			request, err := l.Accept2()
			if errors.Is(err, srt.ErrListenerClosed) {
				return
			}
			if err != nil {
				continue
			}
			conn, err := request.Accept()
			if err != nil {
				continue
			}
			v := harness.NewViewer("a session with "+at, seed)
			e.mu.Lock()
			e.sessions = append(e.sessions, v)
			e.mu.Unlock()
			all.Go(func() {
				defer conn.Close()
				b := make([]byte, 2048)
				for {
					n, err := conn.Read(b)
					if err != nil {
						return
					}
					v.Verifier.Feed(b[:n])
				}
			})
		}
	})
	t.Cleanup(func() {
		l.Close()
		all.Wait()
	})
	return e
}

// count is how many sessions there have been.
func (e *headend) count() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return len(e.sessions)
}

// received is how much came in all sessions together.
func (e *headend) received() (n uint64) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, v := range e.sessions {
		n += v.Verifier.Report().Received
	}
	return n
}

// flows waits until something more comes than came so far.
func (e *headend) flows(t *testing.T, n uint64) {
	t.Helper()
	before := e.received()
	harness.Await(t, 40*time.Second, "SRT flows", func() bool { return e.received() >= before+n })
}

// rig is the topology with one RTP output and one SRT caller on each uplink.
type rig struct {
	*topology
	x      *box
	broker *broker
	rtp    []*harness.Viewer // by uplink
	srt    []*headend        // by uplink
}

// newRig starts everything; the uplinks are as in the document.
func newRig(t *testing.T, uplinks []object) *rig {
	t.Helper()
	r := &rig{topology: newTopology(t)}
	r.broker = startBroker(t, r.wan)
	for i, sender := range []string{"10.0.0.", "198.18.1.1"} {
		r.rtp = append(r.rtp, r.wan.receive(t, 5000+i, sender)[sender])
		r.srt = append(r.srt, r.wan.receiveSRTs(t, net.JoinHostPort(peers[i], "5010")))
	}
	r.x = startBox(t, r.box, nil, "--broker", "mqtt://"+peers[0]+":1883", "--broker-uplink", "wan0")
	r.x.relay(t, uplinks,
		rtpOutput("rtp-0", "wan0", "peer.test", 5000), rtpOutput("rtp-1", "wan1", peers[0], 5001),
		srtCaller("srt-0", "wan0", peers[0], 5010), srtCaller("srt-1", "wan1", peers[1], 5010))
	r.send(t)
	r.flow(t)
	r.broker.awaitClients(t, 1)
	return r
}

// flow waits until every output has brought something.
func (r *rig) flow(t *testing.T) {
	t.Helper()
	for i := range r.rtp {
		r.rtp[i].Receives(t, 50, 40*time.Second)
		r.srt[i].flows(t, 50)
	}
}

// othersLostNothing asserts that what goes over wan1 was one session that came
// whole.
func (r *rig) othersLostNothing(t *testing.T) {
	t.Helper()
	r.rtp[1].Receives(t, 100, 10*time.Second)
	r.rtp[1].Intact(t)
	if n := r.srt[1].count(); n != 1 {
		t.Errorf("SRT over wan1 took %d sessions", n)
	}
	r.srt[1].sessions[0].Intact(t)
}

// A cable that is out for two seconds ends no session: neither SRT's nor
// MQTT's.
func TestCableOutForTwoSeconds(t *testing.T) {
	t.Parallel()
	r := newRig(t, []object{routed(0), routed(1)})
	for range 2 {
		r.pull(t, 0)
		<-time.After(2 * time.Second) // that long it is out
		r.putBack(t, 0)
		r.flow(t)
	}
	if n := r.srt[0].count(); n != 1 {
		t.Errorf("SRT took %d sessions", n)
	}
	// What the broker is told now comes over the session of before.
	if n := r.broker.clients(); n != 1 {
		t.Errorf("MQTT took %d sessions", n)
	}
	r.othersLostNothing(t)
	r.onItsNIC(t, "with the cable out twice")
}

// promised is the median time after which an output is back by itself, once
// its uplink is ready again; slack is for a busy machine.
const (
	promised = time.Second
	slack    = 3
)

// back measures how long after now RTP and SRT over wan0 are back.
func (r *rig) back(t *testing.T) (rtp, srt time.Duration) {
	t.Helper()
	begin := time.Now()
	rtpBefore, srtBefore := r.rtp[0].Verifier.Report().Received, r.srt[0].received()
	harness.Await(t, 60*time.Second, "the outputs over wan0 are back", func() bool {
		if rtp == 0 && r.rtp[0].Verifier.Report().Received > rtpBefore {
			rtp = time.Since(begin)
		}
		if srt == 0 && r.srt[0].received() > srtBefore {
			srt = time.Since(begin)
		}
		return rtp != 0 && srt != 0
	})
	return rtp, srt
}
