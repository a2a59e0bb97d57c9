package e2e

import (
	"encoding/json"
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"sluice/test/harness"
)

// rtmpKey is a secret of the documents here.
const rtmpKey = "only-the-encoder-knows-it"

func rtmpInput(port int, more string) string {
	return fmt.Sprintf(`{"id": "enc", "protocol": "RTMP", "rtmp": {"port": %d, "app": "in", "stream_key": %q%s}}`, port, rtmpKey, more)
}

func rtmpPull(id string, port int, more, outside string) string {
	return fmt.Sprintf(`{"id": %q, "name": %q, "protocol": "RTMP_PULL", "rtmp": {"port": %d%s}%s}`, id, "Name of "+id, port, more, outside)
}

func rtmpPush(id, url, key string) string {
	return fmt.Sprintf(`{"id": %q, "name": %q, "protocol": "RTMP_PUSH", "rtmp": {"destinations": [{"url": %q, "stream_key": %q}]}}`, id, "Name of "+id, url, key)
}

// publishRTMP is ffmpeg, which publishes a test picture.
func publishRTMP(t *testing.T, url string) *harness.Process {
	t.Helper()
	return harness.Start(t, harness.Need(t, "ffmpeg", "ffmpeg"), []string{
		"-v", "error", "-nostdin", "-re", "-f", "lavfi", "-i", "testsrc2=size=320x180:rate=25", "-f", "lavfi", "-i", "sine",
		"-c:v", "libx264", "-preset", "ultrafast", "-g", "13", "-c:a", "aac", "-f", "flv", url,
	}, nil)
}

// playRTMP is ffmpeg, which plays a stream for as long as it goes on.
func playRTMP(t *testing.T, url string) (p *harness.Process, played *harness.Output) {
	t.Helper()
	played = &harness.Output{}
	return harness.Start(t, harness.Need(t, "ffmpeg", "ffmpeg"), []string{
		"-v", "error", "-nostdin", "-i", url, "-c", "copy", "-f", "flv", "pipe:1",
	}, func(cmd *exec.Cmd) { cmd.Stdout = played }), played
}

// An encoder publishes to the box, players pull from it at the URLs that it
// reports, by RTMP and RTMPS; the stream is pushed to another flow of the same
// box, and what the box refuses or is refused is told.
func TestRTMPFromThePublisherToThePlayers(t *testing.T) {
	t.Parallel()
	b := startBroker(t)
	x := startBox(t, b)
	l := b.listen(t)
	port, secure := tcpPort(t), tcpPort(t)
	url := func(path string) string { return fmt.Sprintf("rtmp://127.0.0.1:%d/%s", port, path) }
	d := document{version: 1, source: rtmpInput(port, ""), outputs: []string{
		rtmpPull("players", port, `, "stream_key": "stage"`, `, "max_viewers": 1`),
		rtmpPull("secure", secure, `, "tls": true`, ""),
		// It comes back to where players are, which publishes nothing.
		rtmpPush("refused", url("in"), "not-the-key"),
		rtmpPush("nobody", fmt.Sprintf("rtmp://127.0.0.1:%d/app", tcpPort(t)), "k"),
		srtListener("srt", udpPort(t), ""),
	}}
	publish(t, b, l, d)
	x.AwaitStates(t, 10*time.Second, map[string]string{
		"enc": "waiting", "players": "waiting", "secure": "waiting", "refused": "rejected", "nobody": "connecting",
	})
	for id, words := range map[string]string{"refused": "NetStream.Publish.BadName", "nobody": "nobody listens"} {
		if why := x.Report(t).Items()[id].Reason; !strings.Contains(why.String(), words) {
			t.Errorf("%s: the reason is %v: want the words %q", id, why, words)
		}
	}
	var r struct {
		State struct {
			Flows []struct {
				Outputs []struct {
					ID   string   `json:"id"`
					URLs []string `json:"playback_urls"`
				} `json:"outputs"`
			} `json:"flows"`
		} `json:"state"`
	}
	if err := json.Unmarshal(x.Ctl(t, "get", "reported"), &r); err != nil {
		t.Fatal(err)
	}
	for i, want := range []string{url("live/stage"), fmt.Sprintf("rtmps://127.0.0.1:%d/live/secure", secure)} {
		if got := r.State.Flows[0].Outputs[i].URLs; !slices.Contains(got, want) {
			t.Errorf("the playback URLs of %s are %q: want %s", r.State.Flows[0].Outputs[i].ID, got, want)
		}
	}

	stranger := publishRTMP(t, url("in/guessed"))
	harness.Await(t, 20*time.Second, "a publisher without the key is turned away", func() bool { return !stranger.Running() })
	publisher := publishRTMP(t, url("in/"+rtmpKey))
	x.AwaitStates(t, 20*time.Second, map[string]string{"enc": "receiving", "players": "waiting"})
	first, played := playRTMP(t, url("live/stage"))
	_, playedSecure := playRTMP(t, fmt.Sprintf("rtmps://127.0.0.1:%d/live/secure", secure))
	x.AwaitStates(t, 20*time.Second, map[string]string{"players": "connected", "secure": "connected"})
	harness.Await(t, 20*time.Second, "both players get the stream", func() bool {
		return len(played.Bytes()) > 20_000 && len(playedSecure.Bytes()) > 20_000
	})
	second, _ := playRTMP(t, url("live/stage"))
	harness.Await(t, 20*time.Second, "one player too many is turned away", func() bool { return !second.Running() })

	// Who may play changes at once, and nothing else notices.
	d.version, d.outputs[0] = 2, rtmpPull("players", port, `, "stream_key": "stage"`, `, "max_viewers": 1, "allow": "10.0.0.0/8"`)
	publish(t, b, l, d)
	harness.Await(t, 20*time.Second, "the player is disconnected", func() bool { return !first.Running() })
	before := len(playedSecure.Bytes())
	harness.Await(t, 20*time.Second, "the other player goes on", func() bool { return len(playedSecure.Bytes()) > before+20_000 })
	if !publisher.Running() {
		t.Error("the publisher was disconnected")
	}

	// A session is kicked.
	id := x.sessions(t, "secure")[0]
	x.Ctl(t, "output", "kick", "stage/secure", "--session", id)
	harness.Await(t, 20*time.Second, "the session is gone", func() bool { return !slices.Contains(x.sessions(t, "secure"), id) })

	for what, said := range map[string]string{
		"log": string(x.process.Out.Bytes()), "reported": string(x.Ctl(t, "get", "reported")), "telemetry": string(x.Ctl(t, "get", "telemetry")),
		"state": string(x.Ctl(t, "get", "state")),
	} {
		for _, secret := range []string{rtmpKey, "not-the-key"} {
			if strings.Contains(said, secret) {
				t.Errorf("the %s shows a stream key", what)
			}
		}
	}
}

// sessions are the ids of those who play an output.
func (x *box) sessions(t *testing.T, output string) (ids []string) {
	t.Helper()
	var telemetry struct {
		Flows []struct {
			Outputs []struct {
				ID       string `json:"id"`
				Sessions []struct {
					ID string `json:"id"`
				} `json:"sessions"`
			} `json:"outputs"`
		} `json:"flows"`
	}
	if err := json.Unmarshal(x.Ctl(t, "get", "telemetry"), &telemetry); err != nil {
		t.Fatal(err)
	}
	for _, o := range telemetry.Flows[0].Outputs {
		for _, s := range o.Sessions {
			if o.ID == output {
				ids = append(ids, s.ID)
			}
		}
	}
	return ids
}
