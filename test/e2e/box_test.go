package e2e

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"sluice/test/harness"
)

// A box is sluiced, with the loopback as its only NIC.
type box struct {
	state string
	harness.Control
	metrics int // TCP port
	args    []string
	process *harness.Process
	logs    []*harness.Output // of every process that it was
}

// startBox starts a box at a broker, with more arguments if there are any.
func startBox(t *testing.T, b *broker, more ...string) *box {
	t.Helper()
	dir := t.TempDir()
	x := &box{state: filepath.Join(dir, "state"), Control: harness.Control(filepath.Join(dir, "control.sock")), metrics: tcpPort(t)}
	x.args = []string{
		"--state", x.state, "--control", string(x.Control), "--uplink", "lan0=lo", "--device", deviceID,
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
		return x.Answers()
	})
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
