package uplinks

import (
	"encoding/json"
	"fmt"
	"os/exec"
	"strconv"
	"testing"
	"time"

	"sluice/test/harness"
)

// serveRTMP is nginx, which takes and gives streams at a port of the host.
func (h *host) serveRTMP(t *testing.T, port int) {
	t.Helper()
	path, args := harness.RTMPServer(t, strconv.Itoa(port))
	h.Start(t, path, args, nil)
}

// publishRTMP is ffmpeg, which publishes a test picture.
func (h *host) publishRTMP(t *testing.T, url string) {
	t.Helper()
	h.Start(t, harness.Need(t, "ffmpeg", "ffmpeg"), []string{
		"-v", "error", "-nostdin", "-re", "-f", "lavfi", "-i", "testsrc2=size=160x90:rate=25", "-f", "lavfi", "-i", "sine",
		"-c:v", "libx264", "-preset", "ultrafast", "-g", "13", "-c:a", "aac", "-f", "flv", url,
	}, nil)
}

// playRTMP is ffmpeg, which plays a stream for as long as it goes on.
func (h *host) playRTMP(t *testing.T, url string) *harness.Process {
	t.Helper()
	return h.Start(t, harness.Need(t, "ffmpeg", "ffmpeg"), []string{
		"-v", "error", "-nostdin", "-i", url, "-c", "copy", "-f", "flv", "pipe:1",
	}, func(cmd *exec.Cmd) { cmd.Stdout = &harness.Output{} })
}

// figures are what this package reads of the telemetry of an output or input.
type figures struct {
	ID            string `json:"id"`
	Bytes         uint64 `json:"bytes"`
	BytesAcked    uint64 `json:"bytes_acked"`
	Reconnections uint64 `json:"reconnections"`
	Sessions      []struct {
		ID string `json:"id"`
	} `json:"sessions"`
}

// figures returns those of every input and output, by its id.
func (x *box) figures(t *testing.T) map[string]figures {
	t.Helper()
	var telemetry struct {
		Flows []struct {
			Inputs, Outputs []figures
		} `json:"flows"`
	}
	must(t, json.Unmarshal(x.Ctl(t, "get", "telemetry"), &telemetry))
	all := make(map[string]figures)
	for _, f := range telemetry.Flows {
		for _, i := range append(f.Inputs, f.Outputs...) {
			all[i.ID] = i
		}
	}
	return all
}

// RTMP leaves by the NIC that it is meant for, as a server and as a client, and
// a cable that is out for two seconds ends no connection.
func TestRTMPLeavesByItsNIC(t *testing.T) {
	t.Parallel()
	p := newTopology(t)
	p.box.Sh(t, `
		ip route add default via 10.0.0.254 dev w0 metric 100
		ip route add default via 10.1.0.254 dev w1 metric 200`)
	p.wan.serveRTMP(t, 1936)
	x := startBox(t, p.box, nil)
	push := func(id, uplink, host string) object {
		return object{
			"id": id, "name": id, "uplink": uplink, "dscp": mark(uplink), "protocol": "RTMP_PUSH",
			"rtmp": object{"destinations": []object{{"url": "rtmp://" + host + ":1936/app", "stream_key": id}}},
		}
	}
	pull := func(id, uplink string) object {
		return object{"id": id, "name": id, "uplink": uplink, "dscp": mark(uplink), "protocol": "RTMP_PULL", "rtmp": object{"stream_key": "stage"}}
	}
	x.relayFlows(t, []object{routed(0), plain(1)},
		object{
			"id": "stage", "name": "Stage",
			"inputs": []object{{"id": "encoder", "protocol": "RTMP", "uplink": "lan0", "rtmp": object{"app": "in", "stream_key": "key"}}},
			// One host and port over two uplinks, side by side.
			"outputs": []object{push("push-0", "wan0", "peer.test"), push("push-1", "wan1", peers[0]), pull("pull-0", "wan0"), pull("pull-1", "wan1")},
		},
		object{
			"id": "back", "name": "Back",
			"inputs":  []object{{"id": "from-wan", "protocol": "RTMP_PULL", "uplink": "wan1", "rtmp": object{"url": "rtmp://peer.test:1936/app", "stream_key": "push-0"}}},
			"outputs": []object{},
		})
	x.AwaitStates(t, 15*time.Second, map[string]string{"encoder": "waiting", "pull-0": "waiting", "pull-1": "waiting"})
	p.encoder.publishRTMP(t, "rtmp://192.168.7.1:1935/in/key")
	players := []*harness.Process{
		p.wan.playRTMP(t, "rtmp://10.0.0.1:1935/live/stage"),
		p.gates[1].playRTMP(t, "rtmp://10.1.0.1:1935/live/stage"),
	}
	flowing := func(when string) {
		t.Helper()
		before := x.figures(t)
		harness.Await(t, 40*time.Second, when+": everything flows", func() bool {
			now := x.figures(t)
			for _, id := range []string{"push-0", "push-1", "pull-0", "pull-1"} {
				if now[id].BytesAcked <= before[id].BytesAcked+2000 {
					return false
				}
			}
			return now["from-wan"].Bytes > before["from-wan"].Bytes+2000
		})
		p.onItsNIC(t, when)
	}
	flowing("steady")
	p.box.Sh(t, `ip route add default via 10.1.0.254 dev w1 metric 1`)
	flowing("with a better default route through w1")

	before := x.figures(t)
	p.pull(t, 0)
	<-time.After(2 * time.Second) // that long it is out
	p.putBack(t, 0)
	x.awaitReady(t, "wan0", true)
	flowing("with the cable back")
	after := x.figures(t)
	for _, id := range []string{"push-0", "push-1", "from-wan"} {
		if after[id].Reconnections != before[id].Reconnections {
			t.Errorf("%s was connected anew: %d times, %d before", id, after[id].Reconnections, before[id].Reconnections)
		}
	}
	for i, player := range players {
		id := fmt.Sprintf("pull-%d", i)
		if !player.Running() || len(after[id].Sessions) != 1 || after[id].Sessions[0].ID != before[id].Sessions[0].ID {
			t.Errorf("the player of %s did not stay: %v before, %v after", id, before[id].Sessions, after[id].Sessions)
		}
	}
}
