package harness

import (
	"encoding/json"
	"os/exec"
	"testing"
	"time"
)

// A Control is a box's control socket, by its path, which sluicectl uses.
type Control string

// Answers tells whether the box tells its state.
func (c Control) Answers() bool {
	return exec.Command(Program("sluicectl"), "--control", string(c), "get", "state").Run() == nil
}

// Ctl runs sluicectl and returns what it prints.
func (c Control) Ctl(t *testing.T, args ...string) []byte {
	t.Helper()
	out, err := exec.Command(Program("sluicectl"), append([]string{"--control", string(c)}, args...)...).CombinedOutput()
	if err != nil {
		t.Fatalf("sluicectl %q: %v\n%s", args, err, out)
	}
	return out
}

// Report is the state of the box.
func (c Control) Report(t *testing.T) Report {
	t.Helper()
	var r Report
	if out := c.Ctl(t, "get", "state"); json.Unmarshal(out, &r) != nil {
		t.Fatalf("sluicectl get state: not a state document: %s", out)
	}
	return r
}

// AwaitStates waits until each of the named items is in its state.
func (c Control) AwaitStates(t *testing.T, within time.Duration, want map[string]string) {
	t.Helper()
	deadline := time.Now().Add(within)
	for {
		r := c.Report(t)
		got := r.States()
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
			t.Fatalf("not within %v: states %v; they are %v", within, want, r.Items())
		}
		<-time.After(100 * time.Millisecond)
	}
}
