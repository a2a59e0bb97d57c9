package provisioning

import (
	"context"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"sluice/provisioning/mqtt"
)

// Every session has its own number, restarts included, and its will carries it.
func TestSessionsAreNumbered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := startBox(t, "", nil)
		say := func(p mqtt.Presence, state string, seq float64) {
			t.Helper()
			m := b.present(p)
			if m.Topic != "sluice/v1/box/status" || m.QoS != 1 || !m.Retained {
				t.Errorf("message %+v", m)
			}
			body := string(m.Payload)
			if field(t, body, "state") != state || field(t, body, "bd_seq") != seq || field(t, body, "boot_id") != b.bootID {
				t.Errorf("got %s, want %s of %v", body, state, seq)
			}
		}
		say(mqtt.Lost, "lost", 1)
		say(mqtt.Lost, "lost", 2) // the first attempt failed
		say(mqtt.Init, "init", 2)
		say(mqtt.Ready, "ready", 2)
		since := now()
		time.Sleep(time.Minute)
		if got := b.status(); got.State != "ready" || !got.Timestamp.Equal(since) {
			t.Errorf("at the box: %+v, ready since %v", got, since)
		}
		say(mqtt.Lost, "lost", 3)
		say(mqtt.Init, "init", 3)
		say(mqtt.Gone, "disconnected", 3)
		first := b.bootID
		b.stop()

		b = startBox(t, b.dir, nil)
		if b.bootID == first || len(first) != 32 {
			t.Errorf("boot ids %s and %s", first, b.bootID)
		}
		say(mqtt.Lost, "lost", 4)
		if info := b.fleet.last("info"); info != "" {
			t.Errorf("info before a session: %s", info)
		}
		say(mqtt.Init, "init", 4)
		if info := b.fleet.last("info"); field(t, info, "schema") != "sluice.info/v1" || field(t, info, "device") != "box" ||
			field(t, info, "model") != "test" || field(t, info, "config_schemas", 0) != "sluice.config/v1" {
			t.Errorf("info %s", info)
		}
	})
}

// The way to the broker: the command line's, else the document's, else the
// default uplink.
func TestWaysToTheBroker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dialled := ""
		dial := func(name string) mqtt.DialFunc {
			return func(context.Context, string, string) (net.Conn, error) {
				dialled += name + ";"
				return nil, net.ErrClosed
			}
		}
		ways := func(b *box) string {
			dialled = ""
			for _, d := range b.dialers() {
				d.Dial(t.Context(), "tcp", "")
			}
			return dialled
		}
		managed := `{"schema":"sluice.config/v1","version":1,"state":{"device":{"management":{"uplinks":["wan1","wan0"]}},` +
			`"uplinks":[{"name":"wan0","match":{"interface":"a"}},{"name":"wan1","match":{"interface":"b"}}]}}`
		b := startBox(t, "", func(o *Options) { o.Dial = dial })
		if got := ways(b); got != ";" {
			t.Errorf("without a document: %q", got)
		}
		b.publish(managed)
		if got := ways(b); got != "wan1;wan0;" {
			t.Errorf("with a document: %q; %s", got, b.fleet.last("config/rejected"))
		}
		b.stop()
		b = startBox(t, b.dir, func(o *Options) { o.Dial, o.BrokerUplinks = dial, []string{"lan0"} })
		if got := ways(b); got != "lan0;" {
			t.Errorf("with the command line: %q", got)
		}
		time.Sleep(time.Second)
	})
}
