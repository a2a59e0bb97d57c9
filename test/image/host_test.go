package image

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sluice/device/system"
	"sluice/test/harness"
)

// mountHost is a Root whose first NIC the system configures as it likes, and
// whose second is left to the document.
const mountHost = `
ip addr add 10.77.0.2/24 dev eth0
ip link set eth0 up
mkdir -p /root
mount /dev/vda /root
cp /sluice.deb /run/
`

// hosted is a document with what it asks of the host.
func hosted(version int, device, wan string) string {
	return fmt.Sprintf(`{
  "schema": "sluice.config/v1", "version": %d,
  "state": {
    "device": {%s},
    "uplinks": [
      {"name": "lan0", "match": {"interface": "eth0"}, "default": true},
      {"name": "wan0", "match": {"interface": "eth1"}%s}
    ]
  }
}`, version, device, wan)
}

// A HostBox is a machine with systemd-networkd and our package, and the shell at
// its serial line.
type HostBox struct {
	*Machine
	Line  *Line
	guest Guest
	lan   Lan
}

// NewHostBox boots it; conf are the daemon's settings.
func NewHostBox(t *testing.T, lan Lan, deb, conf string) HostBox {
	t.Helper()
	guest := Guest{Arch: AMD64, Root: mountHost, Disks: copyDisks(t, AMD64)[:1], Files: map[string]string{"sluice.deb": deb}}
	b := HostBox{guest: guest, lan: lan}
	b.Start(t)
	b.Line.Run(t, patience, "systemctl enable --now systemd-networkd")
	b.Line.Run(t, patience, fmt.Sprintf("mkdir -p /etc/sluice; printf '%%b' %q >/etc/sluice/sluiced.conf", strings.ReplaceAll(conf, "\n", `\n`)))
	b.Line.Run(t, patience, "dpkg --force-confold -i /run/sluice.deb")
	b.Line.Run(t, patience, "systemctl is-active sluiced sluice-host-apply.path")
	return b
}

// Start gives it power, and waits for the shell.
func (b *HostBox) Start(t *testing.T) {
	t.Helper()
	b.Machine = b.guest.Boot(t, b.guest.Arch.Distribution(t), "", b.lan)
	b.Line = b.Machine.Line(t)
	b.Line.Ready(t, patience)
}

// Networkd has what networkd's tool says of a NIC, as one text.
func (b HostBox) Networkd(t *testing.T, nic string) string {
	t.Helper()
	return string(b.Line.Run(t, time.Minute, "networkctl --no-pager --lines=0 status "+nic))
}

// Addresses are what a NIC has, of one family.
func (b HostBox) Addresses(t *testing.T, nic string) []string {
	t.Helper()
	var links []struct {
		Addresses []struct {
			Local  string `json:"local"`
			Prefix int    `json:"prefixlen"`
		} `json:"addr_info"`
	}
	out := b.Line.Run(t, time.Minute, "ip -json -4 addr show "+nic)
	if err := json.Unmarshal(out, &links); err != nil {
		t.Fatalf("ip addr show %s: %v: %s", nic, err, out)
	}
	var all []string
	for _, l := range links {
		for _, a := range l.Addresses {
			all = append(all, fmt.Sprintf("%s/%d", a.Local, a.Prefix))
		}
	}
	return all
}

// Apply gives the box a document at the box, which asks something else of the
// host, and returns root's answer.
func (b HostBox) Apply(t *testing.T, document string) string {
	t.Helper()
	answer := func() string {
		out, _ := b.Line.run("cat "+system.HostDir+"/applied.json", time.Minute)
		return string(out)
	}
	before := answer()
	b.Line.Run(t, time.Minute, "printf %s '"+strings.ReplaceAll(document, "\n", " ")+"' >/run/document.json")
	b.Line.Run(t, patience, "sluicectl apply /run/document.json")
	var now string
	harness.Await(t, patience, "root has answered", func() bool {
		now = answer()
		return now != before && strings.Contains(now, `"done":true`)
	})
	return now
}

// What a document asks of the host is in force: networkd gives a NIC its
// address and route, the box has its name and time servers. Another document
// takes it all back, a NIC that another file rules is named, what a hostile
// user of the daemon writes is refused, and a restart is one.
func TestHost(t *testing.T) {
	Wanted(t, systemd)
	deb, inside := withPackage(t)
	if !inside {
		return
	}
	lan := NewLan(t)
	b := NewHostBox(t, lan, deb, "device = "+deviceID+"\n")
	line := b.Line
	run := func(command string) string { t.Helper(); return string(line.Run(t, time.Minute, command)) }
	own := strings.TrimSpace(run("uname -n"))

	began := time.Now()
	if out := b.Apply(t, hosted(1, `"hostname": "ob-van-3", "ntp": ["10.77.1.1"]`, `, "addresses": ["10.77.1.9/24", "2001:db8::9/64"], "gateway4": "10.77.1.1"`)); strings.Contains(out, `"error"`) {
		t.Errorf("root's answer: %s", out)
	}
	took := time.Since(began)
	const first = "/run/systemd/network/60-sluice-wan0.network"
	if out := b.Addresses(t, "eth1"); fmt.Sprint(out) != "[10.77.1.9/24]" {
		t.Errorf("eth1 has %v", out)
	}
	if out := b.Networkd(t, "eth1"); !strings.Contains(out, first) || !strings.Contains(out, "(configured)") {
		t.Errorf("networkctl status eth1:\n%s", out)
	}
	if out := run("ip -6 addr show eth1; ip route show default"); !strings.Contains(out, "2001:db8::9/64") || !strings.Contains(out, "default via 10.77.1.1 dev eth1 proto static metric 2000") {
		t.Errorf("the NIC and the routes:\n%s", out)
	}
	if out := run("ping_() { timeout 5 bash -c 'echo >/dev/tcp/10.77.1.1/9'; }; ping_ 2>&1 || true; ip neigh show 10.77.1.1"); !strings.Contains(out, "lladdr") {
		t.Errorf("the network is not there: %s", out)
	}
	if name := strings.TrimSpace(run("uname -n")); name != "ob-van-3" {
		t.Errorf("the box is called %q", name)
	}
	if out := run("timedatectl show-timesync -p SystemNTPServers"); strings.TrimSpace(out) != "SystemNTPServers=10.77.1.1" {
		t.Errorf("timesyncd: %s", out)
	}
	// systemd understands every line of what root wrote.
	understood := func() {
		t.Helper()
		if out := run("journalctl -b -o cat -u systemd-networkd -u systemd-timesyncd | grep '60-sluice[^ ]*:[0-9]' || true"); strings.TrimSpace(out) != "" {
			t.Errorf("systemd on what root wrote: %s", out)
		}
	}
	understood()
	if out := b.Addresses(t, "eth0"); fmt.Sprint(out) != "[10.77.0.2/24]" {
		t.Errorf("eth0, of which nothing was said, has %v", out)
	}

	// A cable that is out, for as long as it likes, takes no static address away.
	carrier := func(in bool) {
		t.Helper()
		b.Cable(t, 1, in)
		want := map[bool]string{true: "1", false: "0"}[in]
		harness.Await(t, time.Minute, "the NIC sees its cable", func() bool { return strings.TrimSpace(run("cat /sys/class/net/eth1/carrier")) == want })
	}
	carrier(false)
	run("sleep 3")
	if out := fmt.Sprint(b.Addresses(t, "eth1")); out != "[10.77.1.9/24]" {
		t.Errorf("the cable is out, and what is left of the addresses is %s", out)
	}
	carrier(true)

	// A NIC that is ruled by another file.
	run("printf '[Match]\\nName=eth1\\n[Network]\\nAddress=10.77.1.77/24\\n' >/etc/systemd/network/10-other.network")
	if out := b.Apply(t, hosted(2, `"hostname": "ob-van-3", "ntp": ["10.77.1.1"]`, `, "addresses": ["10.77.1.10/24"]`)); !strings.Contains(out, "as /etc/systemd/network/10-other.network says") {
		t.Errorf("root's answer: %s", out)
	}
	if out := run("cat " + first); !strings.Contains(out, "Address=10.77.1.9/24") {
		t.Errorf("what was is not put back:\n%s", out)
	}
	run("rm /etc/systemd/network/10-other.network; networkctl reload")
	harness.Await(t, patience, "the address is there again", func() bool { return fmt.Sprint(b.Addresses(t, "eth1")) == "[10.77.1.9/24]" })

	// DHCP instead: its address outlives a short pull, and not a long one.
	serveDHCP(t, "tap1", GuestAddress(1))
	b.Apply(t, hosted(3, `"hostname": "ob-van-4"`, `, "dhcp4": true`))
	leased := "[" + GuestAddress(1) + "/24]"
	harness.Await(t, patience, "DHCP gave an address", func() bool { return fmt.Sprint(b.Addresses(t, "eth1")) == leased })
	if out := run("ip route show default; uname -n; ls /run/systemd/timesyncd.conf.d"); !strings.Contains(out, "default via 10.77.1.1 dev eth1 proto dhcp src "+GuestAddress(1)+" metric 2000") ||
		!strings.Contains(out, "\nob-van-4\n") || strings.Contains(out, "sluice") {
		t.Errorf("with DHCP the routes, the name and the time servers are\n%s", out)
	}
	understood()
	for range 5 {
		carrier(false)
		began := time.Now() // a little late
		run("sleep 2")
		out := fmt.Sprint(b.Addresses(t, "eth1"))
		if took := time.Since(began); took > 8*time.Second {
			t.Logf("the machine is slow: a moment was %v", took)
			carrier(true)
			harness.Await(t, patience, "DHCP gave an address once more", func() bool { return fmt.Sprint(b.Addresses(t, "eth1")) == leased })
			continue
		}
		if out != leased {
			t.Errorf("the cable is out for a moment, and what is left of the addresses is %s", out)
		}
		break
	}
	harness.Await(t, patience, "a cable that is out for long ends the lease", func() bool { return len(b.Addresses(t, "eth1")) == 0 })
	carrier(true)
	harness.Await(t, patience, "DHCP gave an address again", func() bool { return fmt.Sprint(b.Addresses(t, "eth1")) == leased })

	// Nothing is asked any more: nothing is left.
	b.Apply(t, hosted(4, "", ""))
	harness.Await(t, patience, "the address is gone", func() bool { return len(b.Addresses(t, "eth1")) == 0 })
	harness.Await(t, patience, "the name is its own", func() bool { return strings.TrimSpace(run("uname -n")) == own })
	if out := run("ls /run/systemd/network /run/systemd/timesyncd.conf.d"); strings.Contains(out, "sluice") {
		t.Errorf("left are %s", out)
	}

	// Who has the daemon's user has not root.
	hostile := func(what, make string) {
		t.Helper()
		run("setpriv --reuid=sluice --regid=sluice --clear-groups sh -c '" + make + "'")
		harness.Await(t, patience, what+" is taken away", func() bool {
			return strings.TrimSpace(run("ls "+system.HostDir+"/wanted")) == "" && strings.TrimSpace(run("systemctl is-active sluice-host-apply.service || true")) == "inactive"
		})
		if out := run("uname -n; ls /run/systemd/network; ls -ld /etc/shadow; systemctl is-active sluice-host-apply.path"); strings.Contains(out, "evil") || strings.Contains(out, "sluice") || !strings.Contains(out, "root shadow") {
			t.Errorf("%s did this: %s", what, out)
		}
	}
	const at = system.HostDir + "/wanted/settings.json"
	hostile("a link", "ln -s /etc/shadow "+at)
	hostile("a pipe", "mkfifo "+at)
	hostile("a path", `printf %s "{\"sequence\":9,\"settings\":{\"hostname\":\"evil\",\"links\":[{\"name\":\"../evil\",\"match\":{\"interface\":\"eth1\"}}]}}" >`+at)
	hostile("an action of another start", `printf %s "{\"sequence\":9,\"boot_id\":\"x\",\"action\":{\"name\":\"reboot\"}}" >`+system.HostDir+"/wanted/action.json")
	if out, err := line.run("setpriv --reuid=sluice --regid=sluice --clear-groups touch "+system.HostDir+"/applied.json", time.Minute); err == nil {
		t.Errorf("the daemon's user may answer for root: %s", out)
	}

	b.sandbox(t)
	b.console(t)

	// A restart, which QEMU ends with (-no-reboot).
	_, _ = line.run(`printf '{"sequence":99,"boot_id":"%s","action":{"name":"reboot"}}' $(cat /proc/sys/kernel/random/boot_id) >/run/action; mv /run/action `+system.HostDir+"/wanted/action.json", 5*time.Second)
	harness.Await(t, patience, "the box starts again", func() bool { return !b.Running() })
	summarize(t, "%s: the network of a document was there after %.1f s; all in %.0f s", systemd, took.Seconds(), time.Since(began).Seconds())
}

// act has root carry out an action, and returns its answer.
func (b HostBox) act(t *testing.T, sequence int, action string) string {
	t.Helper()
	b.Line.Run(t, time.Minute, fmt.Sprintf(`printf '{"sequence":%d,"boot_id":"%%s","action":%s}' $(cat /proc/sys/kernel/random/boot_id) >/run/action; mv /run/action %s/wanted/action.json`,
		sequence, action, system.HostDir))
	var out []byte
	harness.Await(t, patience, "root has answered", func() bool {
		out, _ = b.Line.run(fmt.Sprintf(`grep '"sequence":%d,.*"done":true' %s/acted.json`, sequence, system.HostDir), time.Minute)
		return len(out) > 0
	})
	return string(out)
}

// sandbox asserts that root's service may do what it is for, and little else,
// whatever the program is. /run is root's to write: systemd 252 leaves it so where
// ProtectKernelTunables= is set.
func (b HostBox) sandbox(t *testing.T) {
	t.Helper()
	// QEMU's NICs have no lights; the kernel was asked.
	if out := b.act(t, 97, `{"name":"identify","seconds":1}`); !strings.Contains(out, "no light that could blink") {
		t.Errorf("identify: %s", out)
	}
	const dropIn = "/run/systemd/system/sluice-host-apply.service.d"
	b.Line.Run(t, time.Minute, "mkdir -p "+dropIn+`; printf '[Service]\nExecStart=\nExecStart=/bin/sh -x /run/try\n' >`+dropIn+"/try.conf; systemctl daemon-reload")
	b.Line.Run(t, time.Minute, `printf '%s\n' "set -e" "echo 999 >/sys/class/net/eth1/tx_queue_len" "touch /run/systemd/network/x" "rm /run/systemd/network/x" `+
		`"touch /etc/x && exit 1" "touch /usr/x && exit 3" "touch /var/lib/sluice/x && exit 4" "chown sluice: /run/sluice-host && exit 5" `+
		`"cat /dev/vda && exit 6" "echo 1 >/proc/sys/net/ipv4/ip_forward && exit 7" "bash -c 'echo >/dev/udp/10.77.0.1/9' && exit 8" "exit 0" >/run/try`)
	if out, err := b.Line.run("systemctl start sluice-host-apply.service || { journalctl -b -o cat -u sluice-host-apply -n 20; false; }", time.Minute); err != nil {
		t.Errorf("what root's service may do: %v: %s", err, out)
	}
	b.Line.Run(t, time.Minute, "rm -r "+dropIn+" /run/try; systemctl daemon-reload")
}

// console asserts that the unit of the console has its line, and in place of a
// login: the Line is the console's for half a minute.
func (b HostBox) console(t *testing.T) {
	t.Helper()
	b.Line.Run(t, time.Minute, "systemctl start sluice-console@ttyS0")
	// A login that is hung up may take the line's first opening with it.
	harness.Await(t, time.Minute, "ttyS0 has the console, and no login", func() bool {
		return string(b.Line.Run(t, time.Minute, "systemctl is-active sluice-console@ttyS0 serial-getty@ttyS0 || true")) == "active\ninactive\n"
	})
	b.Line.Run(t, time.Minute, "systemd-run --quiet sh -c 'systemctl stop serial; systemctl start sluice-console@ttyS1; sleep 30; systemctl stop sluice-console@ttyS1; systemctl start serial'")
	from := len(b.Line.Output())
	harness.Await(t, patience, "the console asks who is there", func() bool {
		_, _ = b.Line.Write([]byte("\r"))
		return strings.Contains(string(b.Line.Output()[from:]), "ogin:")
	})
	b.Line.Ready(t, patience)
	if out := string(b.Line.Run(t, time.Minute, "journalctl -b -o cat -u sluice-console@ttyS1 -p warning")); strings.Contains(out, "denied") {
		t.Errorf("the console could not do all that it wanted: %s", out)
	}
}

// serveDHCP gives one address, with a router and a host name that the box is
// not to take.
func serveDHCP(t *testing.T, nic, address string) {
	t.Helper()
	p := harness.Start(t, harness.Need(t, "dnsmasq", "dnsmasq-base"), []string{
		"--keep-in-foreground", "--conf-file=/dev/null", "--port=0", "--bind-interfaces", "--user=root", "--pid-file=", "--log-facility=-",
		"--interface=" + nic, "--dhcp-range=" + address + "," + address + ",1h", "--dhcp-option=option:router,10.77.1.1",
		"--dhcp-host=52:54:00:00:00:02," + address + ",from-dhcp", "--dhcp-leasefile=" + filepath.Join(t.TempDir(), "leases"), "--dhcp-authoritative",
	}, nil)
	harness.Await(t, 10*time.Second, "dnsmasq serves", func() bool {
		if !p.Running() {
			t.Fatal("dnsmasq ended")
		}
		return strings.Contains(string(p.Out.Bytes()), "DHCP, IP range")
	})
}
