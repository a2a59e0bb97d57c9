package image

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sluice/test/harness"
)

// systemd is what make image-test calls TestSystemd by.
const systemd = "systemd"

// cuts is how often the power goes while the store is written.
const cuts = 5

// patience is for what a box does in seconds: an emulated machine is several
// times slower.
const patience = 3 * time.Minute

// mount is a Root: the system on the first disk, writable or not, and the
// store on the second.
const mount = `
for nic in 0 1; do
	ip addr add 10.77.$nic.2/24 dev eth$nic
	ip link set eth$nic up
done
mkdir -p /root
mount -o %s /dev/vda /root
mkdir -p /root/var/lib/sluice
mount /dev/vdb /root/var/lib/sluice
for dir in tmp var/tmp; do mount -t tmpfs tmpfs /root/$dir; done
cp /sluice.deb /run/
`

// Debian's systemd with our package: it installs, the service is ready once the
// daemon says so, and comes back where the daemon hangs or is killed. Then the
// root file system is read-only, and the power is cut while the store is
// written; what was in force, or what came after it, is in force again, with
// no fleet to ask.
func TestSystemd(t *testing.T) {
	Wanted(t, systemd)
	a := AMD64
	deb, inside := withPackage(t)
	if !inside {
		return
	}
	lan, b := NewLan(t), startBroker(t)
	disks := copyDisks(t, a)
	guest := Guest{Arch: a, Root: fmt.Sprintf(mount, "rw"), Disks: disks, Files: map[string]string{"sluice.deb": deb}}
	began := time.Now()
	m := guest.Boot(t, a.Distribution(t), "", lan)
	line := m.Line(t)
	line.Ready(t, patience)
	line.Run(t, patience, "dpkg -i /run/sluice.deb")
	// Without settings it is ready as well, and has no fleet.
	line.Run(t, patience, "systemctl is-active sluiced")
	line.configure(t)
	line.Run(t, patience, "systemctl restart sluiced")
	b.publish(t, "config/desired", numbered(1))
	b.awaitReported(t, 1)

	hung := comesBack(t, line, "STOP")
	killed := comesBack(t, line, "KILL")
	// The targets are 30 s and 2 s; the rest is what emulation costs.
	if hung > 45*time.Second || killed > 15*time.Second {
		t.Errorf("a daemon that hung was back after %v, one that was killed after %v", hung, killed)
	}
	line.Run(t, time.Minute, "sync")
	line.Close()
	m.Cut()

	guest.Root = fmt.Sprintf(mount, "ro")
	low, high := 1, 1
	for cut := range cuts + 1 {
		b.process.Stop()
		m = guest.Boot(t, a.Distribution(t), "", lan)
		line = m.Line(t)
		line.Ready(t, patience)
		line.Run(t, patience, "systemctl start sluiced") // waits until it is ready
		if out := line.Run(t, time.Minute, "grep ' / ' /proc/mounts"); !strings.Contains(string(out), " ro,") {
			t.Errorf("the root file system is not read-only: %s", out)
		}
		line.inForce(t, low, high)
		if cut == cuts {
			break
		}
		b = startBroker(t)
		high++
		b.publish(t, "config/desired", numbered(high))
		b.awaitReported(t, high)
		for until := time.Now().Add(rand.N(2 * time.Second)); time.Now().Before(until); {
			high++
			b.publish(t, "config/desired", numbered(high))
		}
		line.Close()
		m.Cut()
		if low = b.reported(); low == 0 {
			t.Fatal("the broker does not know what was in force")
		}
	}
	m.Cut()
	summarize(t, "%s: a daemon that hung was back after %.1f s, one that was killed after %.1f s; %d power cuts up to version %d; all in %.0f s",
		systemd, hung.Seconds(), killed.Seconds(), cuts, high, time.Since(began).Seconds())
}

// withPackage has the test run where its network is its own, and returns our
// Debian package for the machine; elsewhere it prepares what that needs.
func withPackage(t *testing.T) (deb string, inside bool) {
	t.Helper()
	const name = "SLUICE_IMAGE_PACKAGE"
	inside = isolated(t, func() {
		AMD64.Distribution(t)
		AMD64.RootDisk(t)
		t.Setenv(name, buildPackage(t))
	})
	if !inside {
		return "", false
	}
	text, err := os.ReadFile(os.Getenv(name))
	if err != nil {
		t.Fatal(err)
	}
	return string(text), true
}

// configure gives the daemon its settings, which it reads at its next start.
func (l *Line) configure(t *testing.T) {
	t.Helper()
	l.Run(t, time.Minute, fmt.Sprintf("printf '%%b' %q >/etc/sluice/sluiced.conf", strings.ReplaceAll(settings+"apply-every = 100ms\n", "\n", `\n`)))
	l.Run(t, time.Minute, "echo "+brokerPassword+" >/etc/sluice/broker.password; chown sluice: /etc/sluice/broker.password; chmod 600 /etc/sluice/broker.password")
}

// buildPackage makes the Debian package and returns its file.
func buildPackage(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if out, err := exec.Command("make", "-C", filepath.Join("..", ".."), "cross", "DIST="+dir, "PLATFORMS=linux/amd64").CombinedOutput(); err != nil {
		t.Fatalf("make cross: %v\n%s", err, out)
	}
	found, err := filepath.Glob(filepath.Join(dir, "*.deb"))
	if err != nil || len(found) != 1 {
		t.Fatalf("make cross made the packages %q (%v)", found, err)
	}
	return found[0]
}

// copyDisks returns the files of a disk with the system and one for the store,
// which the test may write.
func copyDisks(t *testing.T, a Arch) []string {
	t.Helper()
	dir := t.TempDir()
	disks := []string{filepath.Join(dir, "root"), filepath.Join(dir, "data")}
	if out, err := exec.Command("bash", "-euc", `cp --sparse=always "$1" "$2"; PATH=$PATH:/usr/sbin:/sbin mke2fs -q -t ext4 "$3" 64M`, "bash",
		a.RootDisk(t), disks[0], disks[1]).CombinedOutput(); err != nil {
		t.Fatalf("making the disks: %v\n%s", err, out)
	}
	return disks
}

// numbered is a document that can be told from others by its output.
func numbered(version int) string {
	return fmt.Sprintf(`{
  "schema": "sluice.config/v1", "version": %[1]d,
  "state": {
    "uplinks": [
      {"name": "lan0", "match": {"interface": "eth0"}, "default": true},
      {"name": "wan0", "match": {"interface": "eth1"}}
    ],
    "flows": [{
      "id": "stage", "name": "Main stage",
      "inputs": [{"id": "enc", "protocol": "SRT", "uplink": "lan0", "srt": {"mode": "listener", "port": %[2]d}}],
      "outputs": [{"id": "v%[1]d", "name": "Version %[1]d", "protocol": "RTP", "uplink": "wan0",
        "rtp": {"destinations": [{"host": %[3]q, "port": %[4]d}]}}]
    }]
  }
}`, version, inPort, HostAddress(1), 6000+version)
}

// reported is the version that the fleet last heard to be in force, or 0.
func (b broker) reported() int {
	var r struct{ Version int }
	body, _ := exec.Command("mosquitto_sub", b.args("config/reported", "-C", "1", "-W", "1")...).Output()
	_ = json.Unmarshal(body, &r)
	return r.Version
}

func (b broker) awaitReported(t *testing.T, version int) {
	t.Helper()
	harness.Await(t, 2*time.Minute, fmt.Sprintf("version %d is reported", version), func() bool { return b.reported() >= version })
}

// inForce asserts that one of the versions is in force, whole, and that nothing
// had to be given up for it.
func (l *Line) inForce(t *testing.T, low, high int) {
	t.Helper()
	var r harness.Report
	out := l.Run(t, time.Minute, "sluicectl get state")
	if err := json.Unmarshal(out, &r); err != nil {
		t.Fatalf("sluicectl get state: %v: %s", err, out)
	}
	output := fmt.Sprintf("v%d", r.Version)
	if v := int(r.Version); v < low || v > high || len(r.Flows) != 1 || len(r.Flows[0].Outputs) != 1 || r.Flows[0].Outputs[0].ID != output {
		t.Errorf("version %d to %d is to be in force, with its output; it is %s", low, high, out)
	}
	for _, a := range r.Alarms {
		if a.Code == "store_fallback" {
			t.Errorf("what was stored was damaged: %s", a.Message)
		}
	}
}

// comesBack sends the daemon a signal and returns how long it takes until there
// is another one that is ready, with what it had in force.
func comesBack(t *testing.T, l *Line, signal string) time.Duration {
	t.Helper()
	const show = "systemctl show sluiced -p MainPID -p ActiveState"
	was := string(l.Run(t, time.Minute, show))
	if !strings.Contains(was, "ActiveState=active") {
		t.Fatalf("the service is not active: %s", was)
	}
	l.Run(t, time.Minute, "systemctl kill --kill-whom=main --signal="+signal+" sluiced")
	began := time.Now()
	harness.Await(t, patience, "another daemon is ready after SIG"+signal, func() bool {
		now := string(l.Run(t, time.Minute, show))
		return now != was && strings.Contains(now, "ActiveState=active")
	})
	took := time.Since(began)
	l.inForce(t, 1, 1)
	return took
}
