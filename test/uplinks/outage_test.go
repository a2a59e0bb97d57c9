package uplinks

import (
	"errors"
	"net"
	"slices"
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
	h.Do(t, func() {
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

// last is the session that came last.
func (e *headend) last() *harness.Viewer {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.sessions[len(e.sessions)-1]
}

// flows waits until n more datagrams came in the last session.
func (e *headend) flows(t *testing.T, n uint64) {
	t.Helper()
	harness.Await(t, 40*time.Second, "an SRT caller comes", func() bool { return e.count() > 0 })
	e.last().Receives(t, n, 40*time.Second)
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
func newRig(t *testing.T, p *topology, uplinks []object) *rig {
	t.Helper()
	r := &rig{topology: p}
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
	r := newRig(t, newTopology(t), []object{routed(0), routed(1)})
	for range 2 {
		r.pull(t, 0)
		<-time.After(2 * time.Second) // that long it is out
		told := r.toBroker(t)
		r.putBack(t, 0)
		r.flow(t)
		// That the uplink was away and is ready is news.
		harness.Await(t, 20*time.Second, "the broker is told", func() bool { return r.toBroker(t) > told })
	}
	if n := r.srt[0].count(); n != 1 {
		t.Errorf("SRT took %d sessions", n)
	}
	if n, ended := r.broker.clients(), r.broker.ended(); n != 1 || ended != 0 {
		t.Errorf("MQTT took %d sessions, of which %d have ended", n, ended)
	}
	r.othersLostNothing(t)
	r.onItsNIC(t, "with the cable out twice")
}

// toBroker counts the packets to the broker at the far end of wan0.
func (r *rig) toBroker(t *testing.T) uint64 {
	t.Helper()
	return total(r.gates[0].counted(t, "port0"), func(c packets) bool { return c.toPort == 1883 })
}

// promised is the median time after which an output is back by itself, once
// its uplink is ready again; slack is for a busy machine.
const (
	promised = time.Second
	slack    = 3
)

// A comeback is how long it took, from when nothing was in the way any more,
// until the box found its uplink ready, RTP came over it, and an SRT caller.
type comeback struct{ ready, rtp, srt time.Duration }

// back measures a comeback, from now on. What an SRT session receives comes
// later, by its latency.
func (r *rig) back(t *testing.T) (c comeback) {
	t.Helper()
	begin := time.Now()
	rtp, srt := r.rtp[0].Verifier.Report().Received, r.srt[0].count()
	harness.Await(t, 60*time.Second, "the outputs over wan0 are back", func() bool {
		if c.rtp == 0 && r.rtp[0].Verifier.Report().Received > rtp {
			c.rtp = time.Since(begin)
		}
		if c.srt == 0 && r.srt[0].count() > srt {
			c.srt = time.Since(begin)
		}
		return c.rtp != 0 && c.srt != 0
	})
	c.ready = r.x.readyAt(t, "wan0").Sub(begin)
	t.Logf("ready after %v, RTP back after %v, SRT after %v", c.ready, c.rtp, c.srt)
	return c
}

// inTime asserts the median of the returns.
func inTime(t *testing.T, all []comeback) {
	t.Helper()
	var rtp, srt []time.Duration
	for _, c := range all {
		rtp, srt = append(rtp, c.rtp), append(srt, c.srt)
	}
	slices.Sort(rtp)
	slices.Sort(srt)
	if m := rtp[len(rtp)/2]; m > slack*promised {
		t.Errorf("RTP is back after %v (median)", m)
	}
	if m := srt[len(srt)/2]; m > slack*promised {
		t.Errorf("SRT is back after %v (median)", m)
	}
}

// A cable that is out until every session has ended: the outputs are back by
// themselves.
func TestCableOutForLong(t *testing.T) {
	t.Parallel()
	out, rounds := 6*time.Second, 2 // an SRT session survives five seconds
	if harness.Long() {
		out, rounds = 20*time.Second, 5
	}
	r := newRig(t, newTopology(t), []object{routed(0), routed(1)})
	var all []comeback
	for range rounds {
		r.pull(t, 0)
		r.x.AwaitStates(t, 15*time.Second, map[string]string{
			"rtp-0": "uplink_down", "srt-0": "uplink_down", "rtp-1": "sending", "srt-1": "connected",
		})
		<-time.After(out) // that long it is out
		r.putBack(t, 0)
		all = append(all, r.back(t))
		r.flow(t)
	}
	inTime(t, all)
	r.othersLostNothing(t)
	r.onItsNIC(t, "with a cable out for long")
}

// A NIC that goes and comes again has another index.
func TestNICReplaced(t *testing.T) {
	t.Parallel()
	rounds := 3
	if harness.Long() {
		rounds = 15
	}
	r := newRig(t, newTopology(t), []object{routed(0), routed(1)})
	index := func() string { return r.box.Sh(t, `cat /proc/net/dev_snmp6/w0 | head -1`) }
	var all []comeback
	for range rounds {
		before := index()
		r.box.Sh(t, `ip link del w0`)
		r.x.awaitReady(t, "wan0", false)
		r.plug(t, 0)
		if index() == before {
			t.Fatal("the NIC has the index of before")
		}
		r.box.Sh(t, `ip addr add 10.0.0.1/24 dev w0`)
		all = append(all, r.back(t))
		r.flow(t)
	}
	inTime(t, all)
	r.othersLostNothing(t)
	r.onItsNIC(t, "with a NIC replaced")
}
