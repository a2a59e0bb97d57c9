package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"sluice/device/control"
	"sluice/test/harness"
)

// output is what the daemon prints, read while it runs.
type output struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.String()
}

func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	deadline := time.Now().Add(15 * time.Second)
	for !is() {
		if time.Now().After(deadline) {
			t.Fatalf("never: %s", what)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// A process is a daemon that runs in this one.
type process struct {
	signals  chan os.Signal
	out, err output
	done     chan int
	socket   string
}

func start(t *testing.T, args ...string) *process {
	t.Helper()
	dir := t.TempDir()
	p := &process{signals: make(chan os.Signal), done: make(chan int, 1), socket: filepath.Join(dir, "run", "control.sock")}
	args = append([]string{"--state", filepath.Join(dir, "state"), "--device", "test-box", "--control", p.socket, "--uplink", "lan0=lo"}, args...)
	go func() { p.done <- run(args, p.signals, &p.out, &p.err) }()
	eventually(t, "the daemon runs", func() bool { return strings.Contains(p.err.String(), "running") })
	return p
}

// end asks the daemon to end, and checks that it does.
func (p *process) end(t *testing.T) {
	t.Helper()
	p.signals <- syscall.SIGTERM
	select {
	case status := <-p.done:
		if status != 0 {
			t.Errorf("status %d\n%s", status, &p.err)
		}
	case <-time.After(15 * time.Second):
		t.Fatal("the daemon does not end")
	}
}

func TestUsage(t *testing.T) {
	dir := t.TempDir()
	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	for _, c := range []struct {
		args   []string
		status int
		text   string
	}{
		{[]string{"--help"}, 0, "--broker-password-file"},
		{[]string{"--version"}, 0, "sluiced "},
		{[]string{"--nonsense"}, 2, "unknown flag"},
		{[]string{"extra"}, 2, "argument too many"},
		{[]string{"--device", "Upper"}, 2, "a-z"},
		{[]string{"--uplink", "lan0"}, 2, "NAME=INTERFACE"},
		{[]string{"--uplink", "lan0=lo", "--uplink", "lan0=eth0"}, 2, "given twice"},
		{[]string{"--uplink", "lan0=lo", "--uplink", "wan0=lo"}, 2, "the same NIC"},
		{[]string{"--log-level", "loud"}, 2, "debug, info, warn or error"},
		{[]string{"--log-format", "xml"}, 2, "text or json"},
		{[]string{"--broker-uplink", "lan0"}, 2, "needs --broker"},
		{[]string{"--broker-password-file", "x"}, 2, "--broker-password-file needs --broker"},
		{[]string{"--tls-ca", "x"}, 2, "--tls-ca needs --broker"},
		{[]string{"--broker", "http://example.com"}, 2, "scheme"},
		{[]string{"--broker", "mqtt://me:hunter2@example.com"}, 2, "holds a user"},
		{[]string{"--config", "/nonexistent"}, 2, "no such file"},
		{[]string{"--config", file("a", "nonsense = 1\n")}, 2, `a:1: there is no setting "nonsense"`},
		{[]string{"--config", file("b", "# fine\n\ndevice\n")}, 2, "b:3: this is not key = value"},
		{[]string{"--config", file("c", "config = x\n")}, 2, "no setting"},
		{[]string{"--config", file("d", "broker = mqtt://me:hunter2@example.com\n")}, 2, "holds a user"},
		{[]string{"--state", file("e", ""), "--device", "x"}, 1, "cannot start"},
	} {
		var out, errs output
		status := run(c.args, nil, &out, &errs)
		if status != c.status || !strings.Contains(out.String()+errs.String(), c.text) {
			t.Errorf("%v: status %d, want %d\n%s%s", c.args, status, c.status, &out, &errs)
		}
		if strings.Contains(errs.String(), "hunter2") {
			t.Errorf("%v: a password is shown: %s", c.args, &errs)
		}
	}
}

func TestSettingsFromFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "sluiced.conf")
	text := "# the box\ndevice = van-3\nuplink = lan0=eth0\nuplink = wan0 = eth1\nlog-format=json\n log-level = debug\nbroker = mqtts://broker.example.com\nbroker-uplink = wan0\n"
	if err := os.WriteFile(path, []byte(strings.ReplaceAll(text, "wan0 = eth1", "wan0=eth1")), 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := readSettings([]string{"--config", path, "--log-level", "warn"})
	if err != nil {
		t.Fatal(err)
	}
	got := fmt.Sprint(s.device, s.uplinks, s.logJSON, s.logLevel, s.broker.Broker, s.brokerUplinks)
	if want := "van-3[{lan0 eth0} {wan0 eth1}] true WARNmqtts://broker.example.com[wan0]"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestLife(t *testing.T) {
	// The service manager is told.
	told := filepath.Join(t.TempDir(), "notify")
	manager, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: told, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer manager.Close()
	t.Setenv("NOTIFY_SOCKET", told)
	t.Setenv("WATCHDOG_USEC", "3000000")
	t.Setenv("WATCHDOG_PID", strconv.Itoa(os.Getpid()))
	hears := func(want string) {
		t.Helper()
		b := make([]byte, 1000)
		manager.SetReadDeadline(time.Now().Add(15 * time.Second))
		for said := ""; !slices.Contains(strings.Split(said, "\n"), want); {
			n, err := manager.Read(b)
			if err != nil {
				t.Fatalf("the service manager does not hear %s: %v", want, err)
			}
			said = string(b[:n])
		}
	}

	config := filepath.Join(t.TempDir(), "sluiced.conf")
	os.WriteFile(config, []byte("log-level = info\n"), 0o600)
	p := start(t, "--config", config, "--metrics", "127.0.0.1:0", "--log-format", "json")
	hears("READY=1")
	hears("WATCHDOG=1")
	c := control.NewClient(p.socket)
	body, err := c.Document(t.Context(), "info")
	if err != nil || !strings.Contains(string(body), `"device":"test-box"`) {
		t.Errorf("info: %s %v", body, err)
	}

	// Another daemon may not have the same socket or state.
	var errs output
	args := []string{"--state", t.TempDir(), "--device", "other", "--control", p.socket}
	if status := run(args, nil, io.Discard, &errs); status != 1 || !strings.Contains(errs.String(), "another process answers") {
		t.Errorf("a second daemon: status %d\n%s", status, &errs)
	}

	os.WriteFile(config, []byte("log-level = debug\n"), 0o600)
	p.signals <- syscall.SIGHUP
	eventually(t, "the level is read again", func() bool { return strings.Contains(p.err.String(), `"log_level":"DEBUG"`) })
	os.WriteFile(config, []byte("nonsense\n"), 0o600)
	p.signals <- syscall.SIGHUP
	eventually(t, "a bad file is told of", func() bool { return strings.Contains(p.err.String(), "not read again") })

	_, answer, err := c.Request(t.Context(), "log-tail", []byte(`{"data": {"lines": 1000}}`))
	if err != nil || !strings.Contains(string(answer), "running") {
		t.Errorf("log-tail: %s %v", answer, err)
	}
	p.end(t)
	hears("STOPPING=1")
	if _, err := os.Stat(p.socket); err == nil {
		t.Error("the socket is left behind")
	}
}

func TestEndsWhileItWatches(t *testing.T) {
	p := start(t)
	seen := make(chan string, 100)
	ended := make(chan error, 1)
	go func() {
		ended <- control.NewClient(p.socket).Watch(context.Background(), func(name string, _ json.RawMessage) error { seen <- name; return nil })
	}()
	<-seen
	p.end(t)
	<-ended
}

func TestMetrics(t *testing.T) {
	harness.NeedRules(t)
	p := start(t, "--metrics", "127.0.0.1:0")
	defer p.end(t)
	input, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := input.LocalAddr().(*net.UDPAddr).Port
	input.Close()
	document := fmt.Sprintf(`{"schema": "sluice.config/v1", "state": {"flows": [{"id": "stage", "name": "x",
		"inputs": [{"id": "enc", "protocol": "RTP", "rtp": {"port": %d}}],
		"outputs": [{"id": "wall", "name": "Wall", "protocol": "RTP", "enabled": false, "rtp": {"destinations": [{"host": "127.0.0.1", "port": 9}]}}]}]}}`, port)
	if _, err := control.NewClient(p.socket).Document(t.Context(), "status"); !errors.Is(err, control.ErrNoDocument) {
		t.Errorf("status of a session with no broker: %v", err)
	}
	if status, body, err := control.NewClient(p.socket).Apply(t.Context(), []byte(document)); err != nil || status != 200 {
		t.Fatalf("apply: %d %s %v", status, body, err)
	}
	url := regexp.MustCompile(`http://\S+/metrics`).FindString(p.err.String())
	var text string
	eventually(t, "the states are served", func() bool {
		resp, err := http.Get(url)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		text = string(body)
		return err == nil && strings.Contains(text, `sluice_output_state{flow="stage",output="wall",state="disabled"} 1`)
	})
	for _, want := range []string{
		`sluice_uplink_ready{interface="lo",uplink="lan0"} 1`, `sluice_uplink_received_bytes_total{`,
		`sluice_input_received_bytes_total{flow="stage",input="enc"} 0`, `sluice_output_sent_bytes_total{flow="stage",output="wall"} 0`,
		`sluice_output_rtt_seconds{`, `sluice_build_info{`, "go_goroutines", "process_resident_memory_bytes",
		"# TYPE sluice_output_sent_bytes_total counter",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("the metrics lack %s", want)
		}
	}
}

func TestRing(t *testing.T) {
	r := newRing()
	for i := range ringLines + 5 {
		fmt.Fprintf(r, "line %d\n", i)
	}
	if got := r.tail(2); len(got) != 2 || got[0] != fmt.Sprintf("line %d", ringLines+3) || got[1] != fmt.Sprintf("line %d", ringLines+4) {
		t.Errorf("got %v", got)
	}
	if got := r.tail(10 * ringLines); len(got) != ringLines || got[0] != "line 5" {
		t.Errorf("%d lines, the first is %s", len(got), got[0])
	}
}
