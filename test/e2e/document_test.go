package e2e

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"
)

// A document is written as JSON text, the way a fleet manager would send it.
type document struct {
	version int
	token   string
	input   int      // port of the SRT input "enc"
	source  string   // JSON of another input in its place, if any
	outputs []string // JSON
	secrets map[string]string
}

func (d document) json() []byte {
	secrets := ""
	if len(d.secrets) > 0 {
		b, _ := json.Marshal(d.secrets)
		secrets = `, "secrets": ` + string(b)
	}
	source := d.source
	if source == "" {
		source = fmt.Sprintf(`{"id": "enc", "protocol": "SRT", "srt": {"mode": "listener", "port": %d, "latency_ms": %d}}`, d.input, srtLatency)
	}
	return fmt.Appendf(nil, `{
  "schema": "sluice.config/v1", "version": %d, "client_token": %q,
  "state": {
    "uplinks": [{"name": "lan0", "match": {"interface": "lo"}, "default": true}],
    "flows": [{
      "id": "stage", "name": "Main stage",
      "inputs": [%s],
      "outputs": [%s]
    }]
  }%s
}`, d.version, d.token, source, strings.Join(d.outputs, ", "), secrets)
}

func srtListener(id string, port int, more string) string {
	return fmt.Sprintf(`{"id": %q, "name": %q, "protocol": "SRT", "srt": {"mode": "listener", "port": %d, "latency_ms": %d%s}}`, id, "Name of "+id, port, srtLatency, more)
}

func srtCaller(id string, port int, more string) string {
	return fmt.Sprintf(`{"id": %q, "name": %q, "protocol": "SRT", "srt": {"mode": "caller", "destinations": [{"host": "127.0.0.1", "port": %d}], "latency_ms": %d%s}}`, id, "Name of "+id, port, srtLatency, more)
}

func rtpOutput(id string, port int, more string) string {
	return fmt.Sprintf(`{"id": %q, "name": %q, "protocol": "RTP", "rtp": {"destinations": [{"host": "127.0.0.1", "port": %d}]%s}}`, id, "Name of "+id, port, more)
}

// reported is what this package reads of config/reported.
type reported struct {
	Version        uint64          `json:"version"`
	DesiredVersion uint64          `json:"desired_version"`
	Status         string          `json:"status"`
	Origin         string          `json:"origin"`
	Digest         string          `json:"digest"`
	State          json.RawMessage `json:"state"`
}

// slot is how long a document may wait for its turn to be applied.
const slot = time.Second

// publish sends a document and waits until it is in force and reported. It
// returns how long that took.
func publish(t *testing.T, b *broker, l *listener, d document) time.Duration {
	t.Helper()
	if d.token == "" {
		d.token = fmt.Sprintf("token-%d", d.version)
	}
	mark := l.mark()
	begin := time.Now()
	b.publish(t, "config/desired", d.json(), true)
	isReported := func(m message) bool {
		var r reported
		return json.Unmarshal(m.payload, &r) == nil && r.Version == uint64(d.version)
	}
	answered := func(m message) bool { return strings.Contains(string(m.payload), d.token) }
	deadline := time.Now().Add(10 * time.Second)
	for {
		if found := l.find(mark, "config/reported", isReported); len(found) > 0 {
			return found[0].at.Sub(begin)
		}
		if refused := l.find(mark, "config/rejected", answered); len(refused) > 0 {
			t.Fatalf("the box refused version %d: %s", d.version, refused[0].payload)
		}
		if time.Now().After(deadline) {
			t.Fatalf("version %d is not reported", d.version)
		}
		<-time.After(10 * time.Millisecond)
	}
}
