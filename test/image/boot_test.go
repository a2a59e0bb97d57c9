package image

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sluice/relay/relaytest"
	"sluice/test/harness"
)

// What is asked for exists: nothing is passed over for a slip of the pen.
func TestAskedFor(t *testing.T) {
	for _, name := range strings.Fields(os.Getenv(wanted)) {
		if name != AMD64.Name && name != ARM64.Name && name != ARMv7.Name && name != systemd {
			t.Errorf("there is no machine %s: ARCH is amd64, arm64, armv7 or systemd", name)
		}
	}
}

func TestBootAMD64(t *testing.T) { boot(t, AMD64) }
func TestBootARM64(t *testing.T) { boot(t, ARM64) }
func TestBootARMv7(t *testing.T) { boot(t, ARMv7) }

// The ports of the stream.
const (
	inPort  = 5000
	outPort = 5001
	rtpPort = 5002
)

// settings are sluiced's.
var settings = fmt.Sprintf(`device = %s
broker = mqtt://%s:1883
broker-user = %s
broker-password-file = /etc/sluice/broker.password
uplink = lan0=eth0
uplink = wan0=eth1
`, deviceID, HostAddress(0), brokerUser)

const start = `
for nic in 0 1; do
	ip addr add 10.77.$nic.2/24 dev eth$nic
	ip link set eth$nic up
done
chmod 600 /etc/sluice/broker.password
while :; do
	sluiced
	echo "sluiced ended: $?"
	sleep 1
done
`

var document = fmt.Sprintf(`{
  "schema": "sluice.config/v1", "version": 1,
  "state": {
    "uplinks": [
      {"name": "lan0", "match": {"interface": "eth0"}, "default": true},
      {"name": "wan0", "match": {"interface": "eth1"}}
    ],
    "flows": [{
      "id": "stage", "name": "Main stage",
      "inputs": [{"id": "enc", "protocol": "SRT", "uplink": "lan0",
        "srt": {"mode": "listener", "port": %[1]d, "latency_ms": %[4]d}}],
      "outputs": [
        {"id": "push", "name": "Push", "protocol": "SRT", "uplink": "wan0",
          "srt": {"mode": "caller", "destinations": [{"host": %[5]q, "port": %[2]d}], "latency_ms": %[4]d}},
        {"id": "headend", "name": "Head-end", "protocol": "RTP", "uplink": "wan0",
          "rtp": {"destinations": [{"host": %[5]q, "port": %[3]d}]}}
      ]
    }]
  }
}`, inPort, outPort, rtpPort, srtLatency, HostAddress(1))

// A machine boots and comes up on MQTT; what its fleet configures is in force;
// an SRT stream goes in by its first NIC and out of its second, byte for byte;
// and it says so on MQTT and on the box.
func boot(t *testing.T, a Arch) {
	Wanted(t, a.Name)
	inside := isolated(t, func() {
		a.Distribution(t)
		a.Programs(t)
	})
	if !inside {
		return
	}

	lan, b := NewLan(t), startBroker(t)
	guest := Guest{Arch: a, Start: start, Files: map[string]string{
		"etc/sluice/sluiced.conf": settings, "etc/sluice/broker.password": brokerPassword + "\n",
	}}
	began := time.Now()
	m := guest.Boot(t, a.Distribution(t), a.Programs(t), lan)
	b.awaitRetained(t, patience, "the box is up on MQTT", "state", func(body []byte) bool {
		if !m.Running() {
			t.Fatalf("the machine ended:\n%s", m.Console())
		}
		return len(body) > 0
	})
	up := time.Since(began)

	b.publish(t, "config/desired", document)
	b.awaitRetained(t, patience, "the configuration is in force", "config/reported", func(body []byte) bool {
		var r struct{ Version int }
		return json.Unmarshal(body, &r) == nil && r.Version == 1
	})
	const seed = 1
	pushed, headend := harness.NewViewer("the SRT output", seed), harness.NewViewer("the RTP output", seed)
	conn, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.ParseIP(HostAddress(1)), Port: rtpPort})
	if err != nil {
		t.Fatal(err)
	}
	headend.Watch(t, conn, 12)
	view(t, pushed, HostAddress(1), outPort)
	feed(t, GuestAddress(0), inPort, seed)
	pushed.Receives(t, 1, patience)
	first := time.Since(began)
	pushed.Receives(t, 3000, patience)
	pushed.Intact(t)
	headend.Intact(t)

	want := map[string]string{"enc": "receiving", "push": "connected", "headend": "sending"}
	reports := func(body []byte) bool {
		var r harness.Report
		if json.Unmarshal(body, &r) != nil {
			return false
		}
		states := r.States()
		for id, state := range want {
			if states[id] != state {
				return false
			}
		}
		return true
	}
	b.awaitRetained(t, patience, "the box reports the stream on MQTT", "state", reports)
	line := m.Line(t)
	line.Ready(t, patience)
	if out := line.Run(t, patience, "sluicectl get state"); !reports(out) {
		t.Errorf("on the box itself it is not reported: %s", out)
	}

	// By the first NIC in, by the second out twice, and not back by the first.
	media := pushed.Verifier.Report().Received * relaytest.DatagramSize
	in, back := lan.Carried(t, 0)
	_, out := lan.Carried(t, 1)
	if in < media || out < 2*media || back > media/2 {
		t.Errorf("of a stream of %d bytes, %d went into the first NIC and %d came back; %d came out of the second", media, in, back, out)
	}
	summarize(t, "%s: up on MQTT after %.0f s, relayed after %.0f s, all in %.0f s: %d datagrams, none lost",
		a.Name, up.Seconds(), first.Seconds(), time.Since(began).Seconds(), pushed.Verifier.Report().Received)
}

// summary names the environment variable with the file for what a test that
// passed says.
const summary = "SLUICE_IMAGE_SUMMARY"

// isolated runs the test once more in a network namespace, and reports whether
// this is in there. What needs the host's network is prepared before.
func isolated(t *testing.T, prepare func()) bool {
	t.Helper()
	if os.Getenv(summary) == "" {
		prepare()
		t.Setenv(summary, filepath.Join(t.TempDir(), "summary"))
	}
	if harness.InNetns(t) {
		return true
	}
	text, err := os.ReadFile(os.Getenv(summary))
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%s", text)
	return false
}

func summarize(t *testing.T, format string, args ...any) {
	t.Helper()
	if err := os.WriteFile(os.Getenv(summary), fmt.Appendf(nil, format, args...), 0o600); err != nil {
		t.Fatal(err)
	}
}
