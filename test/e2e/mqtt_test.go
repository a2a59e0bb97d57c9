package e2e

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"sluice/test/harness"
)

const (
	deviceID       = "e2e-box"
	brokerUser     = "fleet"
	brokerPassword = "planted-broker-password"
)

// A broker is Mosquitto, with a password, on a port of its own. Its retained
// messages survive a restart.
type broker struct {
	port         int
	config       string
	passwordFile string // for sluiced: the password alone
	process      *harness.Process
}

func startBroker(t *testing.T) *broker {
	t.Helper()
	dir := t.TempDir()
	b := &broker{port: tcpPort(t), config: filepath.Join(dir, "mosquitto.conf"), passwordFile: filepath.Join(dir, "password")}
	users := filepath.Join(dir, "users")
	if out, err := exec.Command(harness.Need(t, "mosquitto_passwd", "mosquitto"), "-c", "-b", users, brokerUser, brokerPassword).CombinedOutput(); err != nil {
		t.Fatalf("mosquitto_passwd: %v\n%s", err, out)
	}
	write(t, b.passwordFile, brokerPassword+"\n")
	// As root it would otherwise become a user that cannot read the directory.
	write(t, b.config, fmt.Sprintf(`
listener %d 127.0.0.1
allow_anonymous false
password_file %s
persistence true
persistence_location %s/
user root
connection_messages false
log_type error
log_type warning
`, b.port, users, dir))
	b.start(t)
	return b
}

func (b *broker) start(t *testing.T) {
	t.Helper()
	b.process = harness.Start(t, harness.Need(t, "mosquitto", "mosquitto"), []string{"-c", b.config}, nil)
	harness.Await(t, 10*time.Second, "Mosquitto listens", func() bool { return tcpListening(b.port) })
}

func (b *broker) url() string { return fmt.Sprintf("mqtt://127.0.0.1:%d", b.port) }

func (b *broker) login() []string {
	return []string{"-h", "127.0.0.1", "-p", fmt.Sprint(b.port), "-u", brokerUser, "-P", brokerPassword}
}

func topic(name string) string { return "sluice/v1/" + deviceID + "/" + name }

// publish hands a body to mosquitto_pub.
func (b *broker) publish(t *testing.T, name string, body []byte, retain bool) {
	t.Helper()
	args := append(b.login(), "-t", topic(name), "-q", "1")
	if len(body) == 0 {
		args = append(args, "-n")
	} else {
		args = append(args, "-s")
	}
	if retain {
		args = append(args, "-r")
	}
	cmd := exec.Command(harness.Need(t, "mosquitto_pub", "mosquitto-clients"), args...)
	cmd.Stdin = strings.NewReader(string(body))
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("mosquitto_pub: %v\n%s", err, out)
	}
}

// A message is one that mosquitto_sub received.
type message struct {
	topic    string // the part after the device
	retained bool   // it was there before we subscribed
	payload  []byte
	at       time.Time
}

// decode returns the payload as JSON.
func (m message) decode(t *testing.T, v any) {
	t.Helper()
	if err := json.Unmarshal(m.payload, v); err != nil {
		t.Fatalf("%s: %v: %s", m.topic, err, m.payload)
	}
}

// A listener is mosquitto_sub on all topics of the box.
type listener struct {
	mu       sync.Mutex
	messages []message
}

func (b *broker) listen(t *testing.T) *listener {
	t.Helper()
	l := &listener{}
	args := append(b.login(), "-t", topic("#"), "-q", "1", "-F", "%j")
	harness.Start(t, harness.Need(t, "mosquitto_sub", "mosquitto-clients"), args, func(cmd *exec.Cmd) {
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		go l.read(bufio.NewReader(out))
	})
	// The subscription is in force once something comes back.
	probe := fmt.Sprintf(`{"probe":%d}`, time.Now().UnixNano())
	harness.Await(t, 10*time.Second, "mosquitto_sub is subscribed", func() bool {
		b.publish(t, "test/probe", []byte(probe), false)
		return len(l.find(0, "test/probe", func(m message) bool { return string(m.payload) == probe })) > 0
	})
	return l
}

func (l *listener) read(r *bufio.Reader) {
	for {
		line, err := r.ReadBytes('\n')
		if err != nil {
			return
		}
		var m struct {
			Topic   string `json:"topic"`
			Retain  int    `json:"retain"`
			Payload string `json:"payload"`
		}
		if json.Unmarshal(line, &m) != nil {
			continue
		}
		name, ok := strings.CutPrefix(m.Topic, topic(""))
		if !ok {
			continue
		}
		l.mu.Lock()
		l.messages = append(l.messages, message{name, m.Retain == 1, []byte(m.Payload), time.Now()})
		l.mu.Unlock()
	}
}

// mark is the place of the next message: what is found from there on came later.
func (l *listener) mark() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.messages)
}

func (l *listener) find(from int, topic string, match func(message) bool) []message {
	l.mu.Lock()
	defer l.mu.Unlock()
	var found []message
	for _, m := range l.messages[min(from, len(l.messages)):] {
		if m.topic == topic && (match == nil || match(m)) {
			found = append(found, m)
		}
	}
	return found
}

// next waits for the first message of a topic, from a mark on, that matches.
func (l *listener) next(t *testing.T, from int, within time.Duration, topic string, match func(message) bool) message {
	t.Helper()
	var found []message
	deadline := time.Now().Add(within)
	for {
		if found = l.find(from, topic, match); len(found) > 0 {
			return found[0]
		}
		if time.Now().After(deadline) {
			var seen []string
			for _, m := range l.find(from, topic, nil) {
				seen = append(seen, string(m.payload))
			}
			t.Fatalf("no such message on %s within %v; there were:\n%s", topic, within, strings.Join(seen, "\n"))
		}
		<-time.After(10 * time.Millisecond)
	}
}

// all returns everything that came, for searching.
func (l *listener) all() []message {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.messages)
}

func write(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}
