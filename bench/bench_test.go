package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sluice/bench/load"
	"sluice/bench/peers"
	"sluice/bench/report"
	"sluice/provisioning/config"
	"sluice/relay/relaytest"
)

// sluiced is the product, built for these tests.
var sluiced string

// TestMain is the bench itself where a run starts it as a relay.
func TestMain(m *testing.M) {
	if len(os.Args) > 2 && (os.Args[1] == "relay" || os.Args[1] == "burn") {
		main()
		return
	}
	os.Exit(tests(m))
}

func tests(m *testing.M) int {
	dir, err := os.MkdirTemp("", "bench-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	sluiced = filepath.Join(dir, "sluiced")
	build := exec.Command("go", "build", "-o", sluiced, "sluice/cmd/sluiced")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "sluiced: %v\n%s", err, out)
		return 1
	}
	return m.Run()
}

func relays(t *testing.T, product string) []peers.Relay {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return peers.All(product, self)
}

// short returns a bench of short runs, whatever else the machine does.
func short() *bench {
	return &bench{runs: 1, window: 500 * time.Millisecond, warmUp: 50 * time.Millisecond, busyLimit: 1000, commit: "test"}
}

func one(t *testing.T, f *report.File, relay string) report.Run {
	t.Helper()
	s := f.Rows[0].Of(relay)
	if s == nil || len(s.Runs) != 1 || !s.Runs[0].Good() {
		t.Fatalf("%s did not run: %+v", relay, s)
	}
	return s.Runs[0]
}

// Every plain relay delivers, whatever the work.
func TestPlainRelaysDeliver(t *testing.T) {
	for _, r := range []row{
		{name: "listener", protocol: load.SRT, outputs: 2, listen: true, passphrase: passphrase, relays: []string{peers.Gosrt, peers.FloorOffload}},
		{name: "ports", protocol: load.SRT, outputs: 2, relays: []string{peers.Gosrt, peers.FloorOffload, peers.FloorSendmmsg}},
		{name: "datagrams", protocol: load.RTP, outputs: 2, relays: []string{peers.FloorOffload, peers.FloorSendmmsg, peers.Loop}},
	} {
		r.inputs, r.mbps = 1, 4
		t.Run(r.name, func(t *testing.T) {
			t.Parallel()
			var out bytes.Buffer
			f, err := short().measure(t.Context(), []row{r}, relays(t, "/none"), &out)
			if err != nil {
				t.Fatal(err)
			}
			for _, name := range r.relays {
				got := one(t, f, name)
				if got.Received.Sinks != 2 || got.CPU <= 0 || got.PeakRSS == 0 || got.Due == 0 {
					t.Errorf("%s: %+v", name, got)
				}
				if !strings.Contains(out.String(), name) {
					t.Errorf("%s is not shown:\n%s", name, out.String())
				}
			}
		})
	}
}

// A build that costs more is seen to cost more, and misses a goal that the
// same build without the burden meets.
func TestSlowBuildIsSeen(t *testing.T) {
	r := row{name: "srt-1-ports", protocol: load.SRT, outputs: 1, inputs: 1, mbps: 2, relays: []string{peers.Sluice}}
	cost := func(slow string) float64 {
		t.Setenv(slowVariable, slow)
		b, err := readFlags(nil)
		if err != nil {
			t.Fatal(err)
		}
		fast := short()
		fast.burn = b.burn
		f, err := fast.measure(t.Context(), []row{r}, relays(t, sluiced), io.Discard)
		if err != nil {
			t.Fatal(err)
		}
		return one(t, f, peers.Sluice).PerGbit()
	}
	as, slow := cost(""), cost("80")
	if slow < 2*as {
		t.Errorf("the product costs %.2f core-s/Gbit, and %.2f slowed down: the bench does not see it", as, slow)
	}
}

// Two relays in a row, and a network that is theirs alone.
func TestLossIsSeen(t *testing.T) {
	t.Parallel()
	r := row{
		name: "loss", protocol: load.UDP, outputs: 1, inputs: 1, mbps: 4, relays: []string{peers.Sluice + pairs + peers.Sluice},
		network: &relaytest.Path{Delay: time.Millisecond, Loss: 0.02},
	}
	f, err := short().measure(t.Context(), []row{r}, relays(t, sluiced), io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	if got := one(t, f, r.relays[0]); got.Seed != 1 || got.Received.Packets == 0 {
		t.Errorf("%+v", got)
	}
}

func TestBusyMachineIsSaid(t *testing.T) {
	b := short()
	b.busyLimit = -1 // more than that is always used
	r := row{name: "datagrams", protocol: load.RTP, outputs: 1, inputs: 1, mbps: 1, relays: []string{peers.Loop}}
	var out bytes.Buffer
	f, err := b.measure(t.Context(), []row{r}, relays(t, "/none"), &out)
	if err != nil {
		t.Fatal(err)
	}
	if !f.Rows[0].Series[0].Runs[0].Busy || !strings.Contains(out.String(), "machine too busy") {
		t.Errorf("not said:\n%s", out.String())
	}
}

func TestFailuresAreSaid(t *testing.T) {
	r := row{name: "datagrams", protocol: load.RTP, outputs: 1, inputs: 1, mbps: 1, relays: []string{"ends", "absent"}}
	always := func(peers.Job) bool { return true }
	broken := []peers.Relay{
		{Name: "ends", Can: always, Command: func(peers.Job, string) []string { return []string{"sh", "-c", "echo no such stream; exit 3"} }},
		{Name: "absent", Can: always, Needs: []string{"no-such-program"}},
	}
	var out bytes.Buffer
	if _, err := short().measure(t.Context(), []row{r}, broken, &out); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"exit status 3", "no such stream", "not installed: no-such-program"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in:\n%s", want, out.String())
		}
	}
}

func TestStops(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	stop()
	r := row{name: "datagrams", protocol: load.RTP, outputs: 1, inputs: 1, mbps: 1, relays: []string{peers.Loop}}
	if _, err := short().measure(ctx, []row{r}, relays(t, "/none"), io.Discard); err == nil {
		t.Error("goes on though it was told to end")
	}
}

// Every row has a name of its own and relays that are known, and the product
// accepts what it is asked to do.
func TestRows(t *testing.T) {
	all := relays(t, "/none")
	names := map[string]bool{}
	for _, r := range rows() {
		if names[r.name] {
			t.Errorf("%s is there twice", r.name)
		}
		names[r.name] = true
		for _, name := range r.relays {
			find(all, name) // panics where there is none
		}
		chain, _ := find(all, peers.Sluice)
		if !able(r, chain) {
			t.Errorf("%s: sluice cannot", r.name)
		}
		j := peers.Job{In: r.protocol, Out: r.protocol, Latency: r.latency(), Passphrase: r.passphrase}
		for n := range r.inputs {
			j.InPorts = append(j.InPorts, 20_000+2*n)
		}
		if r.listen {
			j.Listen, j.Viewers = 30_000, r.outputs
		} else {
			for n := range r.outputs {
				j.OutPorts = append(j.OutPorts, 40_000+2*n)
			}
		}
		if _, err := config.Parse(peers.Document(j), config.Options{}); err != nil {
			t.Errorf("%s: %v", r.name, err)
		}
	}
	for _, name := range []string{"srt-50-listener", "srt-50-ports", "srt-1-ports", "rtp-50", "loss-10"} {
		if !names[name] {
			t.Errorf("there is no row %s, which a goal is about", name)
		}
	}
}

func TestFlags(t *testing.T) {
	b, err := readFlags([]string{"--quick", "--only", "^rtp"})
	if err != nil || b.runs != 3 || b.window != 2*time.Second || !b.only.MatchString("rtp-1") || b.only.MatchString("srt-1") {
		t.Errorf("%+v, %v", b, err)
	}
	if _, err := readFlags([]string{"--only", "("}); err == nil {
		t.Error("a broken expression is taken")
	}
	t.Setenv(slowVariable, "fast")
	if _, err := readFlags(nil); err == nil {
		t.Errorf("%s=fast is taken", slowVariable)
	}
}

// It takes less than three minutes, with half a minute for the building.
func TestQuickIsQuick(t *testing.T) {
	b, err := readFlags([]string{"--quick"})
	if err != nil {
		t.Fatal(err)
	}
	runs := 0
	for _, r := range b.chosen() {
		runs += len(r.relays) * b.runs
	}
	if takes := time.Duration(runs) * (b.window + b.warmUp + overhead); runs == 0 || takes > 150*time.Second {
		t.Errorf("%d runs take about %v", runs, takes)
	}
}

func TestReadMicro(t *testing.T) {
	got := readMicro(strings.NewReader(`goos: linux
pkg: sluice/relay/flow
BenchmarkPublish/1_cursor-2         	  301322	      3981 ns/op	     896 B/op	       1 allocs/op
BenchmarkIngest/aligned-2           	 5093894	       235.7 ns/op	5583.11 MB/s	       0 B/op	       0 allocs/op
PASS
ok  	sluice/relay/flow	3.2s
`))
	want := []report.Micro{
		{Package: "relay/flow", Name: "Publish/1_cursor-2", Nanoseconds: 3981, Bytes: 896, Allocations: 1},
		{Package: "relay/flow", Name: "Ingest/aligned-2", Nanoseconds: 235.7},
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got %+v", got)
	}
}
