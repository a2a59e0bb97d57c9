package e2e

import (
	"bytes"
	"fmt"
	"os/exec"
	"testing"
	"time"

	"sluice/test/harness"
)

// planted are secrets, each of which stands in one place of the documents.
var planted = map[string]string{
	"passphrase of an input":       "planted-input-passphrase",
	"passphrase of an output":      "planted-output-passphrase",
	"passphrase by reference":      "planted-referenced-secret",
	"passphrase of a caller":       "planted-caller-passphrase",
	"stream key":                   "planted-stream-key",
	"password":                     "planted-rtsp-password",
	"password of the broker":       brokerPassword,
	"passphrase in a bad document": "planted-in-a-bad-document",
	"unused secret":                "planted-and-not-used",
}

// No secret appears in anything that the box says, whether the document was
// taken or refused.
func TestSecretsAreNeverShown(t *testing.T) {
	t.Parallel()
	b := startBroker(t)
	x := startBox(t, b)
	l := b.listen(t)
	pull, push := udpPort(t), udpPort(t)
	inner := fmt.Sprintf(`{"id": "enc", "protocol": "SRT", "srt": {"mode": "listener", "port": %d, "passphrase": "planted-input-passphrase"}}`, udpPort(t))
	document := func(version int, last string) []byte {
		return fmt.Appendf(nil, `{"schema": "sluice.config/v1", "version": %d, "client_token": "secrets", "state": {
			"uplinks": [{"name": "lan0", "match": {"interface": "lo"}, "default": true}],
			"flows": [{"id": "stage", "name": "Stage", "inputs": [%s], "outputs": [
				{"id": "a", "name": "A", "protocol": "SRT", "srt": {"mode": "listener", "port": %d, "passphrase": "planted-output-passphrase", "key_length": 32}},
				{"id": "b", "name": "B", "protocol": "SRT", "srt": {"mode": "caller", "destinations": [{"host": "127.0.0.1", "port": %d}], "passphrase": {"secret": "ref"}}},
				{"id": "c", "name": "C", "protocol": "RTMP_PUSH", "rtmp": {"destinations": [{"url": "rtmp://127.0.0.1/app", "stream_key": "planted-stream-key"}]}},
				{"id": "d", "name": "D", "protocol": "RTSP", "rtsp": {"mode": "serve", "port": %d, "path": "p", "username": "u", "password": "planted-rtsp-password"}},
				{"id": "e", "name": "E", "protocol": "SRT", "srt": {"mode": "caller", "destinations": [{"host": "127.0.0.1", "port": %d}], "passphrase": "planted-caller-passphrase"}}%s
			]}]}, "secrets": {"ref": "planted-referenced-secret"%s}}`, version, inner, pull, push, tcpPort(t), udpPort(t), last, "")
	}

	// b's peer asks for another passphrase, so that a refusal is told as well.
	harness.Start(t, harness.Need(t, "srt-live-transmit", "srt-tools"), []string{
		"-q", fmt.Sprintf("srt://127.0.0.1:%d?mode=listener&passphrase=not-the-same-one", push), "file://con",
	}, func(cmd *exec.Cmd) { cmd.Stdout = &harness.Output{} })
	b.publish(t, "config/desired", document(1, ""), true)
	l.next(t, 0, 10*time.Second, "config/accepted", nil)
	l.next(t, 0, 10*time.Second, "config/reported", nil)
	x.AwaitStates(t, 15*time.Second, map[string]string{"enc": "waiting", "a": "waiting", "b": "rejected", "c": "connecting", "d": "invalid"})

	// A caller with a wrong passphrase is refused and told of.
	harness.Start(t, harness.Need(t, "srt-live-transmit", "srt-tools"), []string{
		"-q", "-a", "no", fmt.Sprintf("srt://127.0.0.1:%d?mode=caller&passphrase=planted-caller-guess", pull), "file://con",
	}, func(cmd *exec.Cmd) { cmd.Stdout = &harness.Output{} })
	harness.Await(t, 10*time.Second, "the refused caller is counted", func() bool {
		return bytes.Contains(x.Ctl(t, "get", "telemetry"), []byte(`"refused":1`)) || bytes.Contains(x.Ctl(t, "get", "telemetry"), []byte(`"refused": 1`))
	})

	// Documents that are refused for something beside a secret, and for one.
	for version, last := range map[int]string{
		2: fmt.Sprintf(`, {"id": "f", "name": "F", "protocol": "SRT", "srt": {"mode": "listener", "port": %d, "passphrase": "planted-in-a-bad-document", "key_length": 17}}`, udpPort(t)),
		3: `, {"id": "f", "name": "F", "protocol": "SRT", "srt": {"mode": "listener", "port": "planted-in-a-bad-document"}, "passphrase": "planted-in-a-bad-document"}`,
		4: `, "passphrase": "planted-in-a-bad-document"`,
		5: `, {"id": "f", "passphrase": {"secret": "planted-and-not-used"}}`,
	} {
		mark := l.mark()
		b.publish(t, "config/desired", document(version, last), false)
		l.next(t, mark, 10*time.Second, "config/rejected", nil)
	}
	l.next(t, 0, 25*time.Second, "telemetry", nil)

	said := map[string][]byte{"metrics": []byte(x.scrape(t))}
	for _, m := range l.all() {
		// config/desired is what we wrote ourselves.
		if m.topic != "config/desired" {
			said["topic "+m.topic] = append(said["topic "+m.topic], m.payload...)
		}
	}
	for _, topic := range []string{"config/reported", "config/accepted", "config/rejected", "state", "telemetry", "status", "info"} {
		if len(said["topic "+topic]) == 0 {
			t.Errorf("nothing was published on %s", topic)
		}
	}
	for _, command := range [][]string{
		{"status"},
		{"uplinks"},
		{"flows"},
		{"outputs"},
		{"outputs", "stage"},
		{"outputs", "stage", "--json"},
		{"status", "--json"},
		{"get", "desired"},
		{"get", "reported"},
		{"get", "state"},
		{"get", "telemetry"},
	} {
		said[fmt.Sprintf("sluicectl %q", command)] = x.Ctl(t, command...)
	}
	for i, log := range x.logs {
		said[fmt.Sprintf("log %d", i)] = log.Bytes()
	}
	for where, text := range said {
		for what, secret := range planted {
			if bytes.Contains(text, []byte(secret)) {
				t.Errorf("%s shows the %s", where, what)
			}
		}
	}
}
