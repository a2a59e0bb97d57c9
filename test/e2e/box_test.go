package e2e

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"sluice/test/harness"
)

// A box is sluiced, with the loopback as its only NIC.
type box struct {
	state   string
	socket  string
	metrics int // TCP port
	args    []string
	process *harness.Process
	logs    []*harness.Output // of every process that it was
}

// startBox starts a box at a broker, with more arguments if there are any.
func startBox(t *testing.T, b *broker, more ...string) *box {
	t.Helper()
	dir := t.TempDir()
	x := &box{state: filepath.Join(dir, "state"), socket: filepath.Join(dir, "control.sock"), metrics: tcpPort(t)}
	x.args = []string{
		"--state", x.state, "--control", x.socket, "--uplink", "lan0=lo", "--device", deviceID,
		"--broker", b.url(), "--broker-user", brokerUser, "--broker-password-file", b.passwordFile,
		"--metrics", fmt.Sprintf("127.0.0.1:%d", x.metrics), "--log-level", "debug",
	}
	x.args = append(x.args, more...)
	x.start(t)
	return x
}

func (x *box) start(t *testing.T) {
	t.Helper()
	x.process = harness.Start(t, harness.Program("sluiced"), x.args, nil)
	x.logs = append(x.logs, x.process.Out)
	harness.Await(t, 15*time.Second, "the box tells its state on its socket", func() bool {
		if !x.process.Running() {
			t.Fatalf("sluiced ended: %v\n%s", x.process.Err, x.process.Out.Tail(4000))
		}
		return exec.Command(harness.Program("sluicectl"), "--control", x.socket, "get", "state").Run() == nil
	})
}

// ctl runs sluicectl over the socket and returns what it prints.
func (x *box) ctl(t *testing.T, args ...string) []byte {
	t.Helper()
	out, err := exec.Command(harness.Program("sluicectl"), append([]string{"--control", x.socket}, args...)...).CombinedOutput()
	if err != nil {
		t.Fatalf("sluicectl %q: %v\n%s", args, err, out)
	}
	return out
}

func (x *box) report(t *testing.T) harness.Report {
	t.Helper()
	var r harness.Report
	if out := x.ctl(t, "get", "state"); json.Unmarshal(out, &r) != nil {
		t.Fatalf("sluicectl get state: not a state document: %s", out)
	}
	return r
}

// awaitStates waits until each of the named items is in its state.
func (x *box) awaitStates(t *testing.T, within time.Duration, want map[string]string) {
	t.Helper()
	var got map[string]string
	deadline := time.Now().Add(within)
	for {
		got = x.report(t).States()
		missing := 0
		for id, state := range want {
			if got[id] != state {
				missing++
			}
		}
		if missing == 0 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("not within %v: states %v; they are %v", within, want, got)
		}
		<-time.After(100 * time.Millisecond)
	}
}

// scrape returns the text of the metrics page.
func (x *box) scrape(t *testing.T) string {
	t.Helper()
	resp, err := http.Get(fmt.Sprintf("http://127.0.0.1:%d/metrics", x.metrics))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// gauge returns one unlabelled metric.
func (x *box) gauge(t *testing.T, name string) float64 {
	t.Helper()
	for line := range strings.Lines(x.scrape(t)) {
		if value, ok := strings.CutPrefix(line, name+" "); ok {
			f, err := strconv.ParseFloat(strings.TrimSpace(value), 64)
			if err != nil {
				t.Fatal(err)
			}
			return f
		}
	}
	t.Fatalf("there is no metric %s", name)
	return 0
}

// descriptors is how many files the process has open.
func (x *box) descriptors(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", x.process.Cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}

// resident is the memory of the process, in bytes.
func (x *box) resident(t *testing.T) int {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", x.process.Cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	pages, err := strconv.Atoi(strings.Fields(string(b))[1])
	if err != nil {
		t.Fatal(err)
	}
	return pages * os.Getpagesize()
}
