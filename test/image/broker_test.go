package image

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sluice/test/harness"
)

// What the box is to its fleet.
const (
	deviceID       = "image-box"
	brokerUser     = "fleet"
	brokerPassword = "planted-broker-password"
)

// A broker is Mosquitto, in the network of the machine's first NIC.
type broker struct {
	port    string
	process *harness.Process
}

func startBroker(t *testing.T) broker {
	t.Helper()
	dir := t.TempDir()
	b := broker{port: "1883"} // the namespace is ours, and so are all ports
	users, config := filepath.Join(dir, "users"), filepath.Join(dir, "mosquitto.conf")
	if out, err := exec.Command(harness.Need(t, "mosquitto_passwd", "mosquitto"), "-c", "-b", users, brokerUser, brokerPassword).CombinedOutput(); err != nil {
		t.Fatalf("mosquitto_passwd: %v\n%s", err, out)
	}
	text := fmt.Sprintf("listener %s %s\nallow_anonymous false\npassword_file %s\nuser root\nlog_type error\nlog_type warning\n", b.port, HostAddress(0), users)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	b.process = harness.Start(t, harness.Need(t, "mosquitto", "mosquitto"), []string{"-c", config}, nil)
	harness.Await(t, patience, "Mosquitto listens", func() bool {
		c, err := net.Dial("tcp", net.JoinHostPort(HostAddress(0), b.port))
		if err == nil {
			c.Close()
		}
		return err == nil
	})
	return b
}

func (b broker) args(topic string, more ...string) []string {
	return append([]string{
		"-h", HostAddress(0), "-p", b.port, "-u", brokerUser, "-P", brokerPassword,
		"-t", "sluice/v1/" + deviceID + "/" + topic, "-q", "1",
	}, more...)
}

// publish retains a body.
func (b broker) publish(t *testing.T, topic, body string) {
	t.Helper()
	cmd := exec.Command(harness.Need(t, "mosquitto_pub", "mosquitto-clients"), b.args(topic, "-r", "-s")...)
	cmd.Stdin = strings.NewReader(body)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("mosquitto_pub: %v\n%s", err, out)
	}
}

// awaitRetained waits until what is retained on a topic is as it should be.
func (b broker) awaitRetained(t *testing.T, within time.Duration, what, topic string, holds func(body []byte) bool) {
	t.Helper()
	var body []byte
	defer func() {
		if t.Failed() {
			t.Logf("retained on %s: %s", topic, body)
		}
	}()
	harness.Await(t, within, what, func() bool {
		// -W: seconds after which it gives up where nothing is retained.
		body, _ = exec.Command(harness.Need(t, "mosquitto_sub", "mosquitto-clients"), b.args(topic, "-C", "1", "-W", "5")...).Output()
		return holds(body)
	})
}
