package image

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sluice/test/harness"
)

// slots is a Root as mount, with two more disks that stand for the slots of
// firmware, and RAUC set up for them. The kernel is QEMU's: no boot loader
// chooses.
const slots = mount + `
mkdir -p /root/etc/rauc /run/systemd/system/rauc.service.d
cp /keyring.pem /system.conf /root/etc/rauc/
printf '[Service]\nExecStart=\nExecStart=/usr/bin/rauc service --override-boot-slot=A\n' >/run/systemd/system/rauc.service.d/slot.conf
`

const slotsConf = `[system]
compatible=sluice-test
bootloader=noop
bundle-formats=-plain
statusfile=/var/lib/sluice-slots

[keyring]
path=/etc/rauc/keyring.pem

[slot.rootfs.0]
device=/dev/vdc
type=raw
bootname=A

[slot.rootfs.1]
device=/dev/vdd
type=raw
bootname=B
`

// RAUC itself writes a bundle that the fleet names to the slot that does not
// run, and refuses one that others have signed; the box starts again where that
// is wanted, and says so when it came back with what it had.
func TestFirmwareUpdate(t *testing.T) {
	Wanted(t, systemd)
	a := AMD64
	deb, inside := withPackage(t)
	if !inside {
		return
	}
	began := time.Now()
	lan, b := NewLan(t), startBroker(t)
	disks := copyDisks(t, a)
	for range 2 {
		disk := filepath.Join(t.TempDir(), "slot")
		if err := os.WriteFile(disk, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Truncate(disk, 16<<20); err != nil {
			t.Fatal(err)
		}
		disks = append(disks, disk)
	}
	firmware := make([]byte, 4<<20)
	_, _ = rand.Read(firmware) // never fails
	served := t.TempDir()
	keyring := makeBundle(t, firmware, filepath.Join(served, "ours.raucb"))
	makeBundle(t, firmware, filepath.Join(served, "theirs.raucb"))
	serve(t, served)

	guest := Guest{
		Arch: a, Root: fmt.Sprintf(slots, "rw"), Disks: disks, Modules: []string{"loop", "squashfs", "dm_verity"},
		Files: map[string]string{"sluice.deb": deb, "keyring.pem": keyring, "system.conf": slotsConf},
	}
	m := guest.Boot(t, a.Distribution(t), "", lan)
	line := m.Line(t)
	line.Ready(t, patience)
	line.Run(t, patience, "dpkg -i /run/sluice.deb")
	line.configure(t)
	line.Run(t, patience, "systemctl restart sluiced; systemctl start sluice-update.path")

	t.Cleanup(func() {
		if t.Failed() && m.Running() {
			_, _ = line.run("journalctl -b --no-pager -n 50 -u sluiced -u sluice-update -u sluice-update.path -u rauc", patience)
		}
	})
	wish := func(name string, more string) {
		b.publish(t, "update/desired", fmt.Sprintf(`{"version":"another","url":"http://%s:8000/%s.raucb"%s}`, HostAddress(0), name, more))
	}
	wish("theirs", "")
	b.awaitUpdate(t, "failed", "signature")
	wish("ours", `,"reboot":true`)
	harness.Await(t, patience, "the box starts again", func() bool { return !m.Running() })
	b.awaitUpdate(t, "installed", "")
	for i, want := range [][]byte{make([]byte, len(firmware)), firmware} {
		got, err := os.ReadFile(disks[2+i])
		if err != nil || len(got) < len(want) || !bytes.Equal(got[:len(want)], want) {
			t.Errorf("slot %c does not hold what it is to hold (%v)", 'A'+i, err)
		}
	}

	m = guest.Boot(t, a.Distribution(t), "", lan)
	m.Line(t).Ready(t, patience)
	b.awaitUpdate(t, "failed", "it runs")
	m.Cut()
	summarize(t, "%s: RAUC refused a bundle of others and installed ours; all in %.0f s", systemd, time.Since(began).Seconds())
}

// awaitUpdate waits until the box reports that of its update.
func (b broker) awaitUpdate(t *testing.T, state, message string) {
	t.Helper()
	b.awaitRetained(t, patience, "the update is "+state, "update/reported", func(body []byte) bool {
		var r struct{ State, Message string }
		return json.Unmarshal(body, &r) == nil && r.State == state && strings.Contains(r.Message, message)
	})
}

// makeBundle signs firmware with a key that nobody else has, and returns the
// certificate.
func makeBundle(t *testing.T, firmware []byte, bundle string) (certificate string) {
	t.Helper()
	dir := t.TempDir()
	content := filepath.Join(dir, "content")
	if err := os.Mkdir(content, 0o755); err != nil {
		t.Fatal(err)
	}
	manifest := "[update]\ncompatible=sluice-test\nversion=another\n\n[bundle]\nformat=verity\n\n[image.rootfs]\nfilename=rootfs.img\n"
	for name, body := range map[string][]byte{"rootfs.img": firmware, "manifest.raucm": []byte(manifest)} {
		if err := os.WriteFile(filepath.Join(content, name), body, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	harness.Need(t, "openssl", "openssl")
	harness.Need(t, "rauc", "rauc")
	harness.Need(t, "mksquashfs", "squashfs-tools")
	out, err := exec.Command("bash", "-euc", `cd "$1"
		openssl req -x509 -newkey rsa:2048 -nodes -keyout key.pem -out cert.pem -subj /CN=firmware -days 3650
		rauc bundle --cert=cert.pem --key=key.pem content "$2"`, "bash", dir, bundle).CombinedOutput()
	if err != nil {
		t.Fatalf("making a bundle: %v\n%s", err, out)
	}
	text, err := os.ReadFile(filepath.Join(dir, "cert.pem"))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// serve is a web server in the network of the machine's first NIC.
func serve(t *testing.T, dir string) {
	t.Helper()
	l, err := net.Listen("tcp", net.JoinHostPort(HostAddress(0), "8000"))
	if err != nil {
		t.Fatal(err)
	}
	s := &http.Server{Handler: http.FileServer(http.Dir(dir)), ReadHeaderTimeout: time.Minute}
	done := make(chan struct{})
	go func() { defer close(done); _ = s.Serve(l) }()
	t.Cleanup(func() { s.Close(); <-done })
}
