package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
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

// anyhow returns a bench that measures whatever else the machine does.
func anyhow() *bench { return &bench{busyLimit: 1000, commit: "test"} }

// once returns a row of one short run of each relay.
func once(r row) []row {
	r.effort = effort{1, 500 * time.Millisecond, 50 * time.Millisecond}
	return []row{r}
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
			f, err := anyhow().measure(t.Context(), once(r), relays(t, "/none"), &out)
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

// nginx's RTMP module passes on what the bench publishes to each of the
// bench's players, all of it and in order.
func TestRTMP(t *testing.T) {
	t.Parallel()
	r := row{name: "rtmp", protocol: load.RTMP, outputs: 3, listen: true, inputs: 1, mbps: 10, relays: []string{peers.NginxRTMP}}
	f, err := anyhow().measure(t.Context(), once(r), relays(t, "/none"), io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	if absent := f.Rows[0].Series[0].Absent; absent != "" {
		t.Fatalf("%s (scripts/deps test installs it)", absent)
	}
	got := one(t, f, peers.NginxRTMP)
	if n := got.Received; n.Sinks != 3 || n.Silent > 0 || n.Lost > 0 || n.Repeated > 0 || n.Behind > 0 || n.Median <= 0 {
		t.Errorf("%+v", n)
	}
	// A frame may be on its way at either end.
	if d := got.Delivered(); d < 0.7 || d > 1.3 || got.CPU <= 0 {
		t.Errorf("%.0f %% of %d packets came, for %v of CPU", d*100, got.Due, got.CPU)
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
		b.busyLimit = 1000
		f, err := b.measure(t.Context(), once(r), relays(t, sluiced), io.Discard)
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
	f, err := anyhow().measure(t.Context(), once(r), relays(t, sluiced), io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	if got := one(t, f, r.relays[0]); got.Seed != 1 || got.Received.Packets == 0 {
		t.Errorf("%+v", got)
	}
}

func TestBusyMachineIsSaid(t *testing.T) {
	b := anyhow()
	b.busyLimit = -1 // more than that is always used
	r := row{name: "datagrams", protocol: load.RTP, outputs: 1, inputs: 1, mbps: 1, relays: []string{peers.Loop}}
	var out bytes.Buffer
	f, err := b.measure(t.Context(), once(r), relays(t, "/none"), &out)
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
	if _, err := anyhow().measure(t.Context(), once(r), broken, &out); err != nil {
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
	if _, err := anyhow().measure(ctx, once(r), relays(t, "/none"), io.Discard); err == nil {
		t.Error("goes on though it was told to end")
	}
}

// Every row has a name of its own and relays that are known, and the product
// accepts what it is asked to do.
func TestRows(t *testing.T) {
	all := relays(t, "/none")
	names := map[string]bool{}
	for _, r := range everyRow() {
		if r.effort.runs == 0 || r.effort.window == 0 || len(r.relays) == 0 {
			t.Errorf("%s is measured %d times for %v, of %v", r.name, r.effort.runs, r.effort.window, r.relays)
		}
		if compared := report.Compared(r.name); compared != nil && (!slices.Equal(r.relays, compared) || r.effort != thorough) {
			t.Errorf("%s: %v are measured %d times for %v; a goal compares %v", r.name, r.relays, r.effort.runs, r.effort.window, compared)
		}
		if names[r.name] {
			t.Errorf("%s is there twice", r.name)
		}
		names[r.name] = true
		for _, name := range slices.Concat(r.relays, r.quick, []string{peers.Sluice}) {
			if chain, _ := find(all, name); !able(r, chain) { // find panics where there is none
				t.Errorf("%s: %s cannot", r.name, name)
			}
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
	for _, name := range report.Rows() {
		if !names[name] {
			t.Errorf("there is no row %s, which a goal is about", name)
		}
	}
}

// everyRow returns also those that this build of the product cannot do yet.
func everyRow() []row {
	all := rows()
	if !slices.ContainsFunc(all, func(r row) bool { return r.protocol == load.RTMP }) {
		all = append(all, rtmpRows()...)
	}
	return all
}

func TestFlags(t *testing.T) {
	b, err := readFlags([]string{"--quick", "--only", "^rtp"})
	if err != nil || !b.only.MatchString("rtp-1") || b.only.MatchString("srt-1") {
		t.Errorf("%+v, %v", b, err)
	}
	if all := b.chosen(); len(all) != 1 || all[0].name != "rtp-50" || all[0].effort != quick {
		t.Errorf("chosen: %+v", all)
	}
	b, err = readFlags([]string{"--only", "^rtp-", "--runs", "2", "--window", "3s", "--relays", "sluice,write-loop"})
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range b.chosen() {
		if r.effort.runs != 2 || r.effort.window != 3*time.Second || r.effort.warmUp == 0 || !slices.Equal(r.relays, []string{peers.Sluice, peers.Loop}) {
			t.Errorf("%s: %+v of %v", r.name, r.effort, r.relays)
		}
	}
	if _, err := readFlags([]string{"--only", "("}); err == nil {
		t.Error("a broken expression is taken")
	}
	t.Setenv(slowVariable, "fast")
	if _, err := readFlags(nil); err == nil {
		t.Errorf("%s=fast is taken", slowVariable)
	}
}

// A quick bench takes less than three minutes, with half a minute for the
// building, and a whole one about an hour.
func TestTime(t *testing.T) {
	for _, c := range []struct {
		quick bool
		most  time.Duration
	}{{true, 150 * time.Second}, {false, 63 * time.Minute}} {
		var chosen []row
		for _, r := range everyRow() {
			if c.quick {
				r.relays, r.effort = r.quick, quick
			}
			chosen = append(chosen, r)
		}
		if d := takes(chosen); d == 0 || d > c.most {
			t.Errorf("quick: %v: takes about %v, more than %v", c.quick, d, c.most)
		}
	}
	if got := takes([]row{{relays: []string{"a", "b"}, effort: effort{3, 2 * time.Second, time.Second}}}); got != 23*time.Second {
		t.Errorf("two relays, 3 times 2 s, 1 s and what it takes besides: %v", got)
	}
}

// What takes how long is said first.
func TestTimeIsSaid(t *testing.T) {
	r := row{name: "datagrams", protocol: load.RTP, outputs: 1, inputs: 1, mbps: 1, relays: []string{peers.Loop}}
	var out bytes.Buffer
	if _, err := anyhow().measure(t.Context(), once(r), relays(t, "/none"), &out); err != nil {
		t.Fatal(err)
	}
	if i := strings.Index(out.String(), "1 row, about 1s"); i < 0 || i > strings.Index(out.String(), "core-s/Gbit") {
		t.Errorf("not said first:\n%s", out.String())
	}
}

// The program tells whether two benches agree, by its exit status too.
func TestCompare(t *testing.T) {
	dir := t.TempDir()
	write := func(name string, cost time.Duration) string {
		series := func(relay string, cpu time.Duration) report.Series {
			run := report.Run{CPU: cpu, Received: load.Received{Bytes: 125_000_000}}
			again := run
			again.Round = 1
			return report.Series{Relay: relay, Runs: []report.Run{run, again}}
		}
		f := report.File{Commit: name, Rows: []report.Row{{
			Name: "rtp-50", Series: []report.Series{series(peers.Sluice, cost), series(peers.FFmpeg, time.Second)},
		}}}
		path := filepath.Join(dir, name)
		if err := f.Save(path); err != nil {
			t.Fatal(err)
		}
		return path
	}
	a, b, c := write("a", 300*time.Millisecond), write("b", 320*time.Millisecond), write("c", 400*time.Millisecond)
	var out bytes.Buffer
	if err := command(t.Context(), []string{"--compare", a, b}, &out); err != nil || !strings.Contains(out.String(), "+6.7 %") {
		t.Errorf("%v\n%s", err, out.String())
	}
	if err := command(t.Context(), []string{"--compare", a, c}, io.Discard); err == nil {
		t.Error("a third more is no difference")
	}
	for _, args := range [][]string{{"--compare", a}, {"--compare", a, filepath.Join(dir, "none")}, {a}} {
		if err := command(t.Context(), args, io.Discard); err == nil {
			t.Errorf("%v is taken", args)
		}
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
