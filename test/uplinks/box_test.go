package uplinks

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sluice/test/harness"
)

// srtLatency is long, in ms, so that a busy machine does not make an SRT
// library drop packets as too late.
const srtLatency = 2000

// A box is the built daemon on a host.
type box struct {
	harness.Control
	process *harness.Process
}

// startBox starts sluiced. as, which may be empty, is a command that starts it
// with other rights.
func startBox(t *testing.T, h *host, as []string, more ...string) *box {
	t.Helper()
	dir := t.TempDir()
	for d := dir; d != os.TempDir(); d = filepath.Dir(d) {
		must(t, os.Chmod(d, 0o777))
	}
	x := &box{Control: harness.Control(filepath.Join(dir, "control.sock"))}
	args := append(as, harness.Program("sluiced"),
		"--state", filepath.Join(dir, "state"), "--control", string(x.Control), "--device", deviceID, "--apply-every", "100ms", "--log-level", "debug")
	args = append(args, more...)
	x.process = h.Start(t, args[0], args[1:], nil)
	harness.Await(t, 20*time.Second, "the box tells its state on its socket", func() bool {
		if !x.process.Running() {
			t.Fatalf("sluiced ended: %v\n%s", x.process.Err, x.process.Out.Tail(4000))
		}
		return x.Answers()
	})
	return x
}

const deviceID = "uplinks-box"

// object is one of a JSON document.
type object map[string]any

// lan is the uplink of the encoder.
var lan = object{"name": "lan0", "match": object{"interface": "lan0"}}

// routed is the uplink i whose gateway the document names.
func routed(i int) object {
	return object{
		"name": fmt.Sprintf("wan%d", i), "match": object{"interface": fmt.Sprintf("w%d", i)},
		"addresses": []string{fmt.Sprintf("10.%d.0.1/24", i)}, "gateway4": fmt.Sprintf("10.%d.0.254", i),
		"nameservers": []string{fmt.Sprintf("10.%d.0.254", i)},
	}
}

// plain is the uplink i that is routed as the system has it.
func plain(i int) object {
	u := routed(i)
	delete(u, "gateway4")
	delete(u, "addresses")
	return u
}

// mark is the code point on what is sent through an uplink: by it far ends
// tell whose a packet is, whatever address it may carry.
func mark(uplink string) int { return map[string]int{"wan0": 1, "wan1": 2}[uplink] }

func rtpOutput(id, uplink, to string, port int) object {
	return object{
		"id": id, "name": id, "uplink": uplink, "dscp": mark(uplink), "protocol": "RTP",
		"rtp": object{"destinations": []object{{"host": to, "port": port}}},
	}
}

func srtCaller(id, uplink, to string, port int) object {
	return object{
		"id": id, "name": id, "uplink": uplink, "dscp": mark(uplink), "protocol": "SRT",
		"srt": object{"mode": "caller", "destinations": []object{{"host": to, "port": port}}, "latency_ms": srtLatency},
	}
}

func srtListener(id, uplink string, port int) object {
	return object{
		"id": id, "name": id, "uplink": uplink, "dscp": mark(uplink), "protocol": "SRT",
		"srt": object{"mode": "listener", "port": port, "latency_ms": srtLatency},
	}
}

// relay has the box relay what the encoder sends.
func (x *box) relay(t *testing.T, uplinks []object, outputs ...object) {
	t.Helper()
	x.relayFlows(t, uplinks, object{
		"id": "stage", "name": "Stage",
		"inputs":  []object{{"id": "encoder", "protocol": "RTP", "uplink": "lan0", "rtp": object{"port": 4000, "encapsulation": "udp"}}},
		"outputs": outputs,
	})
}

// relayFlows has the box relay flows.
func (x *box) relayFlows(t *testing.T, uplinks []object, flows ...object) {
	t.Helper()
	document := object{
		"schema": "sluice.config/v1", "version": 0,
		"state": object{"uplinks": append([]object{lan}, uplinks...), "flows": flows},
	}
	text, err := json.Marshal(document)
	must(t, err)
	file := filepath.Join(t.TempDir(), "desired.json")
	must(t, os.WriteFile(file, text, 0o600))
	x.Ctl(t, "apply", file)
}

// awaitReady waits until an uplink is ready, or is not.
func (x *box) awaitReady(t *testing.T, uplink string, ready bool) {
	t.Helper()
	harness.Await(t, 15*time.Second, fmt.Sprintf("%s ready: %v", uplink, ready), func() bool {
		for _, u := range x.Report(t).Uplinks {
			if u.Name == uplink {
				return u.Ready == ready
			}
		}
		return false
	})
}

// readyAt is when the box last found an uplink ready, as it has logged it.
func (x *box) readyAt(t *testing.T, uplink string) (at time.Time) {
	t.Helper()
	for line := range strings.Lines(string(x.process.Out.Bytes())) {
		if !strings.Contains(line, `msg="uplink ready" uplink=`+uplink+" ") {
			continue
		}
		stamp, _, _ := strings.Cut(strings.TrimPrefix(line, "time="), " ")
		var err error
		at, err = time.Parse(time.RFC3339Nano, stamp)
		must(t, err)
	}
	return at
}
