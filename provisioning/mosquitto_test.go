package provisioning

import (
	"bufio"
	"context"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"sluice/device/control"
	"sluice/device/system"
	"sluice/device/uplink"
	"sluice/provisioning/config"
	"sluice/provisioning/mqtt"
	"sluice/provisioning/store"
	"sluice/relay/relaytest"
)

const (
	boxPassword   = "planted-box-password"
	fleetPassword = "planted-fleet-password"
)

// program finds a program that the test needs.
func program(t *testing.T, name, pkg string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		if path, err = exec.LookPath("/usr/sbin/" + name); err != nil {
			t.Fatalf("%s is needed: install the Debian package %s", name, pkg)
		}
	}
	return path
}

// A mosquitto is the real broker, on a port that stays the same when it is
// started again. It forgets everything when it stops.
type mosquitto struct {
	port   string
	config string
	stop   func() // nil while it does not run
}

func newMosquitto(t *testing.T) *mosquitto {
	t.Helper()
	dir := t.TempDir()
	passwords := filepath.Join(dir, "passwords")
	for i, who := range [][2]string{{"box", boxPassword}, {"fleet", fleetPassword}} {
		args := []string{"-b", passwords, who[0], who[1]}
		if i == 0 {
			args = append([]string{"-c"}, args...)
		}
		if out, err := exec.Command(program(t, "mosquitto_passwd", "mosquitto"), args...).CombinedOutput(); err != nil {
			t.Fatalf("mosquitto_passwd: %v: %s", err, out)
		}
	}
	return startMosquitto(t, dir, "password_file "+passwords+"\n")
}

// startMosquitto starts one whose clients are known in the way that access says.
func startMosquitto(t *testing.T, dir, access string) *mosquitto {
	t.Helper()
	port := strconv.Itoa(relaytest.FreePort(t))
	m := &mosquitto{port: port, config: filepath.Join(dir, "mosquitto.conf")}
	text := "listener " + port + " 127.0.0.1\nallow_anonymous false\npersistence false\n" + access
	if os.Geteuid() == 0 {
		text += "user root\n" // or it could not read what access names
	}
	if err := os.WriteFile(m.config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if m.stop != nil {
			m.stop()
		}
	})
	m.start(t)
	return m
}

func (m *mosquitto) start(t *testing.T) {
	t.Helper()
	cmd := exec.Command(program(t, "mosquitto", "mosquitto"), "-c", m.config)
	var log lockedBuffer
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	m.stop = func() {
		m.stop = nil
		cmd.Process.Kill() // as a broker dies whose host does
		cmd.Wait()
	}
	eventually(t, "the broker listens", func() bool {
		conn, err := net.Dial("tcp", "127.0.0.1:"+m.port)
		if err == nil {
			conn.Close()
		}
		return err == nil
	})
}

// eventually waits for a condition.
func eventually(t *testing.T, what string, condition func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !condition(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("never happened: %s", what)
		}
	}
}

// pub publishes with mosquitto_pub.
func (m *mosquitto) pub(t *testing.T, topic, body string, more ...string) {
	t.Helper()
	args := append([]string{"-h", "127.0.0.1", "-p", m.port, "-u", "fleet", "-P", fleetPassword, "-q", "1", "-t", "sluice/v1/box/" + topic}, more...)
	if body == "" {
		args = append(args, "-n")
	} else {
		args = append(args, "-s")
	}
	cmd := exec.Command(program(t, "mosquitto_pub", "mosquitto-clients"), args...)
	cmd.Stdin = strings.NewReader(body)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("mosquitto_pub: %v: %s", err, out)
	}
}

// A listener is a mosquitto_sub on everything of the box.
type listener struct {
	mu    sync.Mutex
	lines []heard
}

type heard struct {
	retained bool
	topic    string
	body     string
}

func (m *mosquitto) listen(t *testing.T) *listener {
	t.Helper()
	cmd := exec.Command(program(t, "mosquitto_sub", "mosquitto-clients"),
		"-h", "127.0.0.1", "-p", m.port, "-u", "fleet", "-P", fleetPassword, "-q", "1", "-t", "sluice/v1/box/#", "-t", "test/#", "-F", "%r %t %p")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	l := &listener{}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		lines := bufio.NewScanner(out)
		lines.Buffer(nil, 1<<20)
		for lines.Scan() {
			words := strings.SplitN(lines.Text(), " ", 3)
			l.mu.Lock()
			l.lines = append(l.lines, heard{words[0] == "1", strings.TrimPrefix(words[1], "sluice/v1/box/"), words[2]})
			l.mu.Unlock()
		}
	}()
	t.Cleanup(func() { cmd.Process.Kill(); <-ended; cmd.Wait() })
	return l
}

func (l *listener) all() []heard {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.lines)
}

// hears waits for a body on a topic that fits.
func (l *listener) hears(t *testing.T, topic string, fits func(body string) bool) (body string) {
	t.Helper()
	eventually(t, topic+" of that kind", func() bool {
		for _, h := range l.all() {
			if h.topic == topic && fits(h.body) {
				body = h.body
				return true
			}
		}
		return false
	})
	return body
}

// has is a body with those parts.
func has(parts ...string) func(string) bool {
	return func(body string) bool {
		return !slices.ContainsFunc(parts, func(p string) bool { return !strings.Contains(body, p) })
	}
}

// A realBox is an Agent with a real store and connection, on real time.
type realBox struct {
	*Agent
	engine   *fakeEngine
	log      *lockedBuffer
	password string // file
	cut      func() // breaks the connection
	stop     func()
}

func startRealBox(t *testing.T, dir, brokerURL, password string, prepare ...func(*Options)) *realBox {
	t.Helper()
	s, err := store.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	b := &realBox{engine: &fakeEngine{}, log: &lockedBuffer{}, password: filepath.Join(t.TempDir(), "password")}
	if err := os.WriteFile(b.password, []byte(password+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	var current net.Conn
	o := Options{
		Device: "box", Store: s, Engine: b.engine, Uplinks: &fakeUplinks{},
		Info:    func() config.Info { return config.Info{Model: "test"} },
		Figures: func() system.Figures { return system.Figures{} },
		// A document that gives this role the same NIC needs no new session.
		LocalUplinks: []uplink.Local{{Name: "lan0", Interface: "lo"}},
		Log:          slog.New(slog.NewTextHandler(b.log, nil)),
		ApplyEvery:   50 * time.Millisecond, SampleEvery: 10 * time.Millisecond, StateEvery: 50 * time.Millisecond, TelemetryEvery: 200 * time.Millisecond,
		Dial: func(string) mqtt.DialFunc {
			return func(ctx context.Context, network, address string) (net.Conn, error) {
				conn, err := (&net.Dialer{}).DialContext(ctx, network, address)
				mu.Lock()
				defer mu.Unlock()
				current = conn
				return conn, err
			}
		},
	}
	if brokerURL != "" {
		o.Broker = &mqtt.Config{
			Broker: brokerURL, Username: "box", PasswordFile: b.password,
			MinBackoff: 20 * time.Millisecond, MaxBackoff: 200 * time.Millisecond,
		}
	}
	for _, p := range prepare {
		p(&o)
	}
	b.cut = func() { mu.Lock(); defer mu.Unlock(); current.(*net.TCPConn).CloseRead() }
	if b.Agent, err = New(o); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- b.Run(ctx) }()
	b.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		s.Close()
	})
	t.Cleanup(b.stop)
	return b
}

func (b *realBox) inForceName() string {
	c := b.engine.last()
	if len(c.Flows) == 0 {
		return ""
	}
	return c.Flows[0].Outputs[0].Name
}

// The contract as a program that is not ours sees it, through a broker that
// goes and comes back without its memory, and a restart of the box while it
// is away: the last good document is always in force.
func TestMosquitto(t *testing.T) {
	relaytest.TakesSeconds(t)
	m := newMosquitto(t)
	dir := filepath.Join(t.TempDir(), "state")
	b := startRealBox(t, dir, "mqtt://127.0.0.1:"+m.port, boxPassword)
	fleet := m.listen(t)
	fleet.hears(t, "status", has(`"state":"ready"`, `"bd_seq":1,`, b.bootID))
	fleet.hears(t, "info", has(`"schema":"sluice.info/v1"`, `"age_recipient":"age1`))

	// A good document, a bad one, the good one again, and none.
	m.pub(t, "config/desired", document(1, "first", ""), "-r")
	fleet.hears(t, "config/accepted", has(`"client_token":"t1"`, `"status":"applied"`, `"version":1`))
	fleet.hears(t, "config/reported", has(`"version":1`, `"origin":"fleet"`, `"status":"applied"`, `"playback_urls":[]`))
	fleet.hears(t, "state", has(`"version":1`, `"id":"o","state":"waiting"`))
	fleet.hears(t, "telemetry", has(`"system":`, `"id":"o"`))
	m.pub(t, "config/desired", strings.Replace(document(2, "bad", ""), `"port":9100`, `"port":0`, 1), "-r")
	fleet.hears(t, "config/rejected", has(`"code":400`, `"version":2`, `"current_version":1`, `"pointer":"/state/flows/0/outputs/0/srt/port"`))
	m.pub(t, "config/desired", document(1, "first", ""), "-r")
	fleet.hears(t, "config/accepted", has(`"status":"unchanged"`))
	m.pub(t, "config/desired", "", "-r")
	m.pub(t, "config/desired", strings.Repeat("x", config.MaxDocument+1))
	fleet.hears(t, "config/rejected", has(`"code":413`))
	if b.inForceName() != "first" || b.engine.count() != 2 {
		t.Fatalf("in force: %q after %d documents", b.inForceName(), b.engine.count())
	}
	m.pub(t, "request/output-kick", `{"transaction":"k1","expires":"`+time.Now().Add(time.Minute).UTC().Format(time.RFC3339)+`","data":{"flow":"f","output":"o","session":"s1"}}`)
	fleet.hears(t, "response/output-kick", has(`{"transaction":"k1","status":"ok"}`))

	// The connection breaks: the will is told with the number of its session.
	b.cut()
	fleet.hears(t, "status", has(`"state":"lost"`, `"bd_seq":1,`))
	fleet.hears(t, "status", has(`"state":"ready"`, `"bd_seq":2,`))

	// What a newcomer is given at once is what is in force.
	newcomer := m.listen(t)
	newcomer.hears(t, "status", has(`"state":"ready"`, `"bd_seq":2,`))
	newcomer.hears(t, "config/reported", has(`"version":1`, `"desired_version":1`))
	newcomer.hears(t, "state", has(`"version":1`))
	newcomer.hears(t, "info", has(`"device":"box"`))
	kept := map[string]bool{}
	for _, h := range newcomer.all() {
		if h.retained {
			kept[h.topic] = true
		}
	}
	for _, topic := range []string{"config/accepted", "config/rejected", "event", "telemetry", "response/output-kick"} {
		if kept[topic] {
			t.Errorf("%s is retained", topic)
		}
	}
	for _, topic := range []string{"status", "info", "config/reported", "state"} {
		if !kept[topic] {
			t.Errorf("%s is not retained", topic)
		}
	}

	// The broker dies. The box goes on, and is edited by someone beside it.
	m.stop()
	eventually(t, "the loss is seen", func() bool { return !b.client.Status().Connected })
	edit := strings.Replace(document(0, "second", ""), `"version":0,"client_token":"t0",`, "", 1)
	if status, answer := b.Apply(t.Context(), []byte(edit), control.Caller{UID: 1000}); status != 200 {
		t.Fatalf("edit: %d %s", status, answer)
	}
	if b.inForceName() != "second" {
		t.Fatalf("in force: %q", b.inForceName())
	}
	eventually(t, "attempts fail", func() bool { return strings.Contains(b.client.Status().Reason.Message, "refused") })

	// It comes back with nothing, and is told all of it.
	m.start(t)
	fleet = m.listen(t)
	session := field(t, fleet.hears(t, "status", has(`"state":"ready"`)), "bd_seq").(float64)
	if session < 3 {
		t.Errorf("session %v after 2", session)
	}
	fleet.hears(t, "config/reported", has(`"version":2`, `"origin":"local"`))
	fleet.hears(t, "state", has(`"version":2`))
	m.pub(t, "config/desired", document(1, "first", ""), "-r")
	fleet.hears(t, "config/rejected", has(`"code":409`, `"version":1`, `"current_version":2`))
	m.pub(t, "config/desired", document(3, "third", ""), "-r")
	fleet.hears(t, "config/accepted", has(`"version":3`, `"status":"applied"`))

	// The box restarts while the broker is away.
	m.stop()
	b.stop()
	b = startRealBox(t, dir, "mqtt://127.0.0.1:"+m.port, boxPassword)
	eventually(t, "it is in force again", func() bool { return b.engine.count() == 1 && b.inForceName() == "third" })
	m.start(t)
	fleet = m.listen(t)
	if next := field(t, fleet.hears(t, "status", has(`"state":"ready"`, b.bootID)), "bd_seq").(float64); next <= session {
		t.Errorf("session %v after %v", next, session)
	}
	fleet.hears(t, "config/reported", has(`"version":3`, `"origin":"fleet"`))
	m.pub(t, "config/desired", document(3, "third", ""), "-r")
	fleet.hears(t, "config/accepted", has(`"version":3`, `"status":"unchanged"`))
	if b.engine.count() != 1 {
		t.Errorf("the Engine was disturbed: %d documents", b.engine.count())
	}

	// A clean end is told as such.
	b.stop()
	fleet.hears(t, "status", has(`"state":"disconnected"`, b.bootID))
	m.pub(t, "end", "x")
	fleet.hears(t, "end", has("x"))
	for _, h := range fleet.all() {
		if h.topic == "status" && strings.Contains(h.body, "lost") {
			t.Errorf("a clean end left the will: %s", h.body)
		}
	}
	if strings.Contains(b.log.String()+fmt.Sprint(fleet.all()), "planted") {
		t.Error("a password was told")
	}
}

// A wrong password is seen at the box, and the right one is taken as soon as
// it is there.
func TestMosquittoRefusesThePassword(t *testing.T) {
	m := newMosquitto(t)
	b := startRealBox(t, filepath.Join(t.TempDir(), "state"), "mqtt://127.0.0.1:"+m.port, "planted-wrong")
	eventually(t, "the refusal is told at the box", func() bool {
		body, ok := b.Document("state")
		return ok && has(`"code":"broker_refused"`, `"subject":"broker"`, "refuses the user name or password")(string(body))
	})
	if err := os.WriteFile(b.password, []byte(boxPassword), 0o600); err != nil {
		t.Fatal(err)
	}
	eventually(t, "ready", func() bool { return b.client.Status().Ready })
	m.listen(t).hears(t, "status", has(`"state":"ready"`))
	eventually(t, "the alarm ends", func() bool {
		body, _ := b.Document("state")
		return has(`"alarms":[]`)(string(body))
	})
	if strings.Contains(b.log.String(), "planted") {
		t.Errorf("a password was logged:\n%s", b.log)
	}
}

// A subscription that Mosquitto's access rules refuse is told, and asked for
// again until it is granted.
func TestMosquittoRefusesASubscription(t *testing.T) {
	plugins, _ := filepath.Glob("/usr/lib/*/mosquitto_dynamic_security.so")
	if len(plugins) == 0 {
		t.Fatal("Mosquitto's dynamic security plugin is needed: install the Debian package mosquitto")
	}
	dir := t.TempDir()
	rules := filepath.Join(dir, "rules.json")
	tool := program(t, "mosquitto_ctrl", "mosquitto")
	run := func(args ...string) {
		t.Helper()
		if out, err := exec.Command(tool, args...).CombinedOutput(); err != nil || strings.Contains(string(out), "rror") {
			t.Fatalf("mosquitto_ctrl %v: %v: %s", args, err, out)
		}
	}
	run("dynsec", "init", rules, "admin", "admin")
	m := startMosquitto(t, dir, "plugin "+plugins[0]+"\nplugin_opt_config_file "+rules+"\n")
	admin := func(args ...string) {
		t.Helper()
		run(append([]string{"-h", "127.0.0.1", "-p", m.port, "-u", "admin", "-P", "admin", "dynsec"}, args...)...)
	}
	for name, password := range map[string]string{"box": boxPassword, "fleet": fleetPassword} {
		admin("createRole", name)
		admin("createClient", name, "-p", password)
		admin("addClientRole", name, name)
		admin("addRoleACL", name, "publishClientSend", "sluice/v1/box/#", "allow")
	}
	admin("addRoleACL", "fleet", "subscribePattern", "#", "allow")
	for _, granted := range []string{"config/desired", "config/confirm", "update/desired"} {
		admin("addRoleACL", "box", "subscribePattern", "sluice/v1/box/"+granted, "allow")
	}

	b := startRealBox(t, filepath.Join(dir, "state"), "mqtt://127.0.0.1:"+m.port, boxPassword)
	fleet := m.listen(t)
	fleet.hears(t, "state", has(`"code":"subscription_refused"`, "refuses the subscription to sluice/v1/box/request/+"))
	fleet.hears(t, "status", has(`"state":"init"`)) // and not ready
	// What is granted works all the same.
	m.pub(t, "config/desired", document(1, "first", ""), "-r")
	fleet.hears(t, "config/accepted", has(`"status":"applied"`))

	admin("addRoleACL", "box", "subscribePattern", "sluice/v1/box/request/+", "allow")
	fleet.hears(t, "status", has(`"state":"ready"`))
	eventually(t, "the alarm ends", func() bool {
		body, _ := b.Document("state")
		return has(`"alarms":[]`)(string(body))
	})
}
