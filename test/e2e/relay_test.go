package e2e

import (
	"fmt"
	"testing"
	"time"

	"sluice/test/harness"
)

// What is published is in force and reported within a second of its turn, and
// what comes out of the outputs is byte for byte what went in.
func TestPublishedOutputsCarryTheStreamByteForByte(t *testing.T) {
	t.Parallel()
	b := startBroker(t)
	x := startBox(t, b)
	l := b.listen(t)
	d := document{version: 1, input: udpPort(t)}
	const slack = 2 * time.Second // for a busy machine, above the promised second

	if took := publish(t, b, l, d); took > slot+time.Second+slack {
		t.Errorf("version 1 was reported after %v", took)
	}
	x.AwaitStates(t, 5*time.Second, map[string]string{"enc": "waiting"})
	f := feed(t, d.input, 1)
	x.AwaitStates(t, 10*time.Second, map[string]string{"enc": "receiving"})

	pull, push, rtp, udp := udpPort(t), udpPort(t), udpPort(t), udpPort(t)
	called := f.viewSRT(t, "SRT caller output", push, "mode=listener")
	received := f.viewUDP(t, "RTP output", rtp, 12)
	bare := f.viewUDP(t, "UDP output", udp, 0)
	d.version = 2
	d.outputs = []string{
		srtListener("pull", pull, ""), srtCaller("push", push, ""), rtpOutput("rtp", rtp, ""),
		rtpOutput("udp", udp, `, "encapsulation": "udp"`),
	}
	if took := publish(t, b, l, d); took > slot+time.Second+slack {
		t.Errorf("version 2 was reported after %v", took)
	}
	x.AwaitStates(t, 10*time.Second, map[string]string{"pull": "waiting", "push": "connected", "rtp": "sending", "udp": "sending"})

	joined := f.viewSRT(t, "SRT listener output", pull, "mode=caller")
	x.AwaitStates(t, 10*time.Second, map[string]string{"pull": "connected"})
	all := []*harness.Viewer{joined, called, received, bare}
	for _, v := range all {
		v.Receives(t, 1500, 30*time.Second)
		v.Intact(t)
	}
	// The fleet learned it from the retained topics as well.
	l.next(t, 0, 5*time.Second, "state", func(m message) bool {
		var r harness.Report
		m.decode(t, &r)
		s := r.States()
		return s["enc"] == "receiving" && s["pull"] == "connected" && s["push"] == "connected" && s["rtp"] == "sending"
	})
}

// Two outputs exchange their ports in one document, and each is then found at
// the other's.
func TestOutputsSwapPortsInOneDocument(t *testing.T) {
	t.Parallel()
	b := startBroker(t)
	x := startBox(t, b)
	l := b.listen(t)
	one, two := udpPort(t), udpPort(t)
	d := document{version: 1, input: udpPort(t), secrets: map[string]string{"key": "only-output-a-has-it"}}
	locked := `, "passphrase": {"secret": "key"}`
	d.outputs = []string{srtListener("a", one, locked), srtListener("b", two, "")}
	publish(t, b, l, d)
	f := feed(t, d.input, 2)
	x.AwaitStates(t, 10*time.Second, map[string]string{"enc": "receiving", "a": "waiting", "b": "waiting"})

	d.version = 2
	d.outputs = []string{srtListener("a", two, locked), srtListener("b", one, "")}
	publish(t, b, l, d)
	x.AwaitStates(t, 10*time.Second, map[string]string{"enc": "receiving", "a": "waiting", "b": "waiting"})
	plain := f.viewSRT(t, "b at a's former port", one, "mode=caller")
	encrypted := f.viewSRT(t, "a at b's former port", two, "mode=caller&pbkeylen=16&passphrase=only-output-a-has-it")
	for _, v := range []*harness.Viewer{plain, encrypted} {
		v.Receives(t, 300, 20*time.Second)
		v.Intact(t)
	}
}

// Ten outputs are added, edited and removed, one after another. Whoever watches
// another output loses nothing.
func TestWatchedOutputLosesNothingWhileOthersChange(t *testing.T) {
	t.Parallel()
	b := startBroker(t)
	x := startBox(t, b)
	l := b.listen(t)
	watched, rtp := udpPort(t), udpPort(t)
	kept := []string{srtListener("watched", watched, ""), rtpOutput("headend", rtp, "")}
	d := document{version: 1, input: udpPort(t), outputs: kept}
	publish(t, b, l, d)
	f := feed(t, d.input, 3)
	x.AwaitStates(t, 10*time.Second, map[string]string{"enc": "receiving"})
	viewer := f.viewSRT(t, "the watched SRT output", watched, "mode=caller")
	headend := f.viewUDP(t, "the watched RTP output", rtp, 12)
	viewer.Receives(t, 100, 20*time.Second)

	others := make([]string, 10)
	change := func(i int, output string) {
		others[i] = output
		d.version++
		d.outputs = append([]string{}, kept...)
		for _, o := range others {
			if o != "" {
				d.outputs = append(d.outputs, o)
			}
		}
		publish(t, b, l, d)
	}
	want := map[string]string{"watched": "connected", "headend": "sending"}
	ports := make([]int, len(others))
	for i := range others {
		ports[i] = udpPort(t)
		id := fmt.Sprintf("other-%d", i)
		if i%2 == 0 {
			change(i, srtListener(id, ports[i], ""))
			want[id] = "waiting"
		} else {
			change(i, rtpOutput(id, ports[i], ""))
			want[id] = "sending"
		}
	}
	x.AwaitStates(t, 10*time.Second, want)
	for i := range others {
		id := fmt.Sprintf("other-%d", i)
		if i%2 == 0 {
			change(i, srtListener(id, ports[i], `, "passphrase": "another passphrase"`))
		} else {
			change(i, rtpOutput(id, ports[i], `, "ttl": 3`))
		}
	}
	x.AwaitStates(t, 10*time.Second, want)
	for i := range others {
		change(i, "")
	}
	harness.Await(t, 5*time.Second, "the ten outputs are gone from the state", func() bool {
		return len(x.Report(t).Flows[0].Outputs) == len(kept)
	})
	viewer.Receives(t, 1000, 20*time.Second)
	viewer.Intact(t)
	headend.Intact(t)
	if first := viewer.Verifier.Report().First; first > f.sent.Load()/2 {
		t.Errorf("the viewer joined at datagram %d of %d: it did not watch all along", first, f.sent.Load())
	}
}
