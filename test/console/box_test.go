package console

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sluice/relay/relaytest"
	"sluice/test/harness"
)

// A box is sluiced without a fleet, as it comes from the factory.
type box struct {
	dir string
	harness.Control
	run     starter
	args    []string
	process *harness.Process
}

const boxName = "van-3"

func startBox(t *testing.T, more ...string) *box {
	t.Helper()
	return startBoxOn(t, harness.Start, more...)
}

// startBoxOn starts one that run runs.
func startBoxOn(t *testing.T, run starter, more ...string) *box {
	t.Helper()
	dir := t.TempDir()
	x := &box{dir: dir, run: run, Control: harness.Control(filepath.Join(dir, "control.sock"))}
	x.args = append([]string{"--state", filepath.Join(dir, "state"), "--control", string(x.Control), "--device", boxName, "--config", filepath.Join(dir, "none")}, more...)
	check(t, os.WriteFile(filepath.Join(dir, "none"), nil, 0o600))
	x.start(t)
	return x
}

func (x *box) start(t *testing.T) {
	t.Helper()
	x.process = x.run(t, harness.Program("sluiced"), x.args, nil)
	harness.Await(t, 20*time.Second, "the box tells its state on its socket", func() bool {
		if !x.process.Running() {
			t.Fatalf("sluiced ended: %v\n%s", x.process.Err, x.process.Out.Tail(4000))
		}
		return x.Answers()
	})
}

// desired is the document in force.
func (x *box) desired(t *testing.T) (version int, state string) {
	t.Helper()
	var d struct {
		Version int             `json:"version"`
		State   json.RawMessage `json:"state"`
	}
	out := x.Ctl(t, "get", "desired")
	if err := json.Unmarshal(out, &d); err != nil {
		t.Fatalf("not a document: %v\n%s", err, out)
	}
	var compact strings.Builder
	check(t, json.NewEncoder(&compact).Encode(d.State))
	return d.Version, compact.String()
}

// udpPort returns a UDP port that nobody uses: even, with the next one free as
// well, as RTP wants it.
func udpPort(t *testing.T) int { return relaytest.FreePort(t) }

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
