package uplinks

import (
	"bytes"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"sluice/test/harness"
)

// A broker is Mosquitto in the WAN, which says who connects.
type broker struct{ process *harness.Process }

func startBroker(t *testing.T, h *host) *broker {
	t.Helper()
	config := filepath.Join(t.TempDir(), "mosquitto.conf")
	must(t, os.WriteFile(config, []byte(`
listener 1883
allow_anonymous true
user root
connection_messages true
log_type notice
log_type error
`), 0o600))
	b := &broker{h.Start(t, harness.Need(t, "mosquitto", "mosquitto"), []string{"-c", config}, nil)}
	harness.Await(t, 10*time.Second, "Mosquitto listens", func() bool {
		var err error
		h.Do(t, func() {
			var c net.Conn
			if c, err = net.Dial("tcp", "127.0.0.1:1883"); err == nil {
				c.Close()
			}
		})
		return err == nil
	})
	return b
}

// clients is how often the box has connected.
func (b *broker) clients() int {
	return bytes.Count(b.process.Out.Bytes(), []byte(" as "+deviceID+" "))
}

// ended is how many of its sessions are over.
func (b *broker) ended() int {
	return bytes.Count(b.process.Out.Bytes(), []byte("Client "+deviceID+" "))
}

func (b *broker) awaitClients(t *testing.T, n int) {
	t.Helper()
	harness.Await(t, 40*time.Second, "the box is connected to its broker", func() bool { return b.clients() >= n })
}
