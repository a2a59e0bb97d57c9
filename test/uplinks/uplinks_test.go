package uplinks

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
)

// far is an address behind both gateways: each has its own host there.
const far = "203.0.113.9"

// document has two outputs to the same host and port, over two uplinks, and a
// third with a session.
const document = `{"schema": "sluice.config/v1", "state": {"flows": [{"id": "f", "name": "Flow",
	"inputs": [{"id": "in", "protocol": "RTP", "uplink": "lan0", "rtp": {"port": 5000, "encapsulation": "udp"}}],
	"outputs": [
		{"id": "a", "name": "A", "protocol": "RTP", "uplink": "wan0", "rtp": {"destinations": [{"host": "` + far + `", "port": 5004}]}},
		{"id": "b", "name": "B", "protocol": "RTP", "uplink": "wan1", "rtp": {"destinations": [{"host": "` + far + `", "port": 5004}]}},
		{"id": "c", "name": "C", "protocol": "SRT", "uplink": "wan0", "srt": {"mode": "caller", "destinations": [{"host": "` + far + `", "port": 7000}]}}]}]}}`

// A daemon with two uplinks sends each output through its own, whatever
// happens to the other, and whatever the main table would prefer.
func TestTwoUplinks(t *testing.T) {
	if !inNetns(t) {
		return
	}
	mosquitto := need(t, "mosquitto", "mosquitto")
	player := need(t, "srt-live-transmit", "srt-tools")
	up(t, "lo", "")
	lan, one, two := newOutside(t), newOutside(t), newOutside(t)
	lan.cable(t, "l0", "10.0.0.1/24", "lp", "10.0.0.2/24")
	one.cable(t, "w0", "10.1.0.1/24", "p0", "10.1.0.2/24")
	two.cable(t, "w1", "10.2.0.1/24", "p1", "10.2.0.2/24")
	for _, o := range []*outside{one, two} {
		o.do(t, func() { must(t, netlink.AddrAdd(link(t, "lo"), addr(t, far+"/32"))) })
	}
	defaultRoute(t, "w0", "10.1.0.2", 10) // better than that through w1
	defaultRoute(t, "w1", "10.2.0.2", 20)
	first, second := one.tap(t, "p0"), two.tap(t, "p1")

	// The SRT player is behind wan0 alone, the broker behind wan1.
	one.do(t, func() { start(t, player, "-q", "srt://"+far+":7000?mode=listener", "udp://"+far+":9999") })
	dir := t.TempDir()
	conf := filepath.Join(dir, "mosquitto.conf")
	must(t, os.WriteFile(conf, []byte("listener 1883 "+far+"\nallow_anonymous true\nuser root\n"), 0o600))
	two.do(t, func() { start(t, mosquitto, "-c", conf) })

	socket := filepath.Join(dir, "control")
	start(t, program("sluiced"), "--state", filepath.Join(dir, "state"), "--control", socket,
		"--broker", "mqtt://"+far+":1883", "--device", "box", "--broker-uplink", "wan1",
		"--uplink", "lan0=l0", "--uplink", "wan0=w0", "--uplink", "wan1=w1")
	ctl := func(args ...string) (string, error) {
		out, err := exec.Command(program("sluicectl"), append([]string{"--control", socket}, args...)...).CombinedOutput()
		return string(out), err
	}
	eventually(t, "the daemon answers", func() bool { _, err := ctl("status"); return err == nil })
	doc := filepath.Join(dir, "document.json")
	must(t, os.WriteFile(doc, []byte(document), 0o600))
	out, err := ctl("apply", doc)
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	lan.feed(t, "10.0.0.1:5000")

	both := func(when string) {
		t.Helper()
		first.more(t, when+": media through wan0", "10.1.0.1", rtpPort)
		second.more(t, when+": media through wan1", "10.2.0.1", rtpPort)
	}
	right := func(when string, through0 ...string) {
		t.Helper()
		first.only(t, when, through0...)
		second.only(t, when, "10.2.0.1")
	}
	both("at first")
	right("at first", "10.1.0.1")
	connected := func() bool { out, _ := ctl("outputs", "--json"); return strings.Contains(out, `"connected"`) }
	eventually(t, "the SRT session", connected)
	eventually(t, "the broker's session", func() bool { _, n := second.sessions(); return n > 2 })
	for _, args := range []string{"test link wan0", "test ping wan0 " + far, "test tcp wan1 " + far + " 1883"} {
		if out, err := ctl(strings.Fields(args)...); err != nil {
			t.Errorf("%s: %v\n%s", args, err, out)
		}
	}
	if n, _ := first.sessions(); n != 0 {
		t.Errorf("%d connections to the broker through wan0", n)
	}
	if out, err := ctl("test", "tcp", "wan0", far, "1883"); err == nil || !strings.Contains(out, "refused") {
		t.Errorf("the broker is not behind wan0: %v\n%s", err, out)
	}
	dialled, _ := second.sessions()

	// A better default route through the other NIC.
	defaultRoute(t, "w1", "10.2.0.2", 1)
	both("with a better route through wan1")
	right("with a better route through wan1", "10.1.0.1")

	// Cables are out for two seconds: what is on one waits, the other goes on;
	// and the sessions survive.
	_, called := first.count("10.1.0.1", srtPort)
	one.plug(t, "p0", false)
	out0 := time.Now()
	eventually(t, "wan0 down", func() bool { return state(t, ctl, "wan0") == "no_carrier" })
	second.more(t, "wan0 out: media through wan1", "10.2.0.1", rtpPort)
	time.Sleep(time.Until(out0.Add(outage)))
	one.plug(t, "p0", true)
	eventually(t, "plugged in again: the SRT session", connected)
	two.plug(t, "p1", false)
	time.Sleep(outage)
	two.plug(t, "p1", true)
	both("plugged in again")
	right("plugged in again", "10.1.0.1")
	if now, _ := second.sessions(); now != dialled {
		t.Errorf("a cable that was out for two seconds cost %d connections to the broker", now-dialled)
	}
	if _, now := first.count("10.1.0.1", srtPort); now != called {
		t.Errorf("a cable that was out for two seconds cost %d SRT sessions", now-called)
	}

	// Another address on wan0: new sockets there, and there alone.
	must(t, netlink.AddrDel(link(t, "w0"), addr(t, "10.1.0.1/24")))
	must(t, netlink.AddrAdd(link(t, "w0"), addr(t, "10.1.0.5/24")))
	defaultRoute(t, "w0", "10.1.0.2", 10)
	first.more(t, "another address: media through wan0", "10.1.0.5", rtpPort)
	right("another address", "10.1.0.1", "10.1.0.5")

	// The NIC of wan0 is pulled out, and put in with another index.
	must(t, netlink.LinkDel(link(t, "w0")))
	eventually(t, "wan0 absent", func() bool { return state(t, ctl, "wan0") == "nic_absent" })
	second.more(t, "no wan0: media through wan1", "10.2.0.1", rtpPort)
	right("no wan0", "10.1.0.1", "10.1.0.5")
	one.cable(t, "w0", "10.1.0.7/24", "p0", "10.1.0.2/24")
	first = one.tap(t, "p0")
	defaultRoute(t, "w0", "10.1.0.2", 10)
	first.more(t, "a new NIC: media through wan0", "10.1.0.7", rtpPort)
	right("a new NIC", "10.1.0.7")

	if _, sockets := second.count("10.2.0.1", rtpPort); sockets != 1 {
		t.Errorf("the output on wan1 had %d sockets: what happens to wan0 is none of its business", sockets)
	}
	if now, _ := second.sessions(); now != dialled {
		t.Errorf("what happened to wan0 cost %d connections to the broker", now-dialled)
	}
}

// outage is for how long cables are out.
const outage = 2 * time.Second

// need returns the path of a program of others, or says what to install.
func need(t *testing.T, name, pkg string) string {
	t.Helper()
	for _, dir := range append(filepath.SplitList(os.Getenv("PATH")), "/usr/sbin", "/sbin") {
		if p, err := exec.LookPath(filepath.Join(dir, name)); err == nil {
			return p
		}
	}
	t.Fatalf("%s is not installed: apt-get install %s (make test does)", name, pkg)
	return ""
}

// state returns why the uplink is not ready, empty if it is.
func state(t *testing.T, ctl func(...string) (string, error), name string) string {
	t.Helper()
	out, err := ctl("uplinks", "--json")
	var all []struct {
		Name   string `json:"name"`
		Reason *struct {
			Code string `json:"code"`
		} `json:"reason"`
	}
	if err != nil || json.Unmarshal([]byte(out), &all) != nil {
		t.Fatalf("uplinks: %v\n%s", err, out)
	}
	for _, u := range all {
		if u.Name == name && u.Reason != nil {
			return u.Reason.Code
		}
	}
	return ""
}
