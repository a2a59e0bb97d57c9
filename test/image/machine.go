package image

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"sluice/test/harness"
)

// A Machine is a Guest that runs.
type Machine struct {
	process *harness.Process
	line    string // path of the socket
	monitor string // likewise, of QEMU's own
}

// Boot starts the guest, with its NICs at the taps. It ends with the test.
func (g Guest) Boot(t *testing.T, d Distribution, programs string, lan Lan) *Machine {
	t.Helper()
	// Paths of sockets are short, those of t.TempDir are not.
	dir, err := os.MkdirTemp("", "sluice-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	m := &Machine{line: filepath.Join(dir, "line"), monitor: filepath.Join(dir, "monitor")}
	initramfs := filepath.Join(dir, "initramfs")
	g.Initramfs(t, d, programs, initramfs)
	args := append([]string{
		"-accel", "tcg", "-cpu", "max", "-smp", fmt.Sprint(processors()), "-m", "512",
		"-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
		"-kernel", d.Kernel(t), "-initrd", initramfs,
		"-append", "console=" + g.Arch.console + " loglevel=5 panic=-1 net.ifnames=0",
		"-object", "rng-random,id=random,filename=/dev/urandom", "-device", "virtio-rng-pci,rng=random",
		"-chardev", "stdio,id=console,signal=off", "-serial", "chardev:console",
		"-chardev", "socket,id=line,server=on,wait=off,path=" + m.line,
		"-qmp", "unix:" + m.monitor + ",server=on,wait=off",
	}, g.Arch.args...)
	args = append(args, g.Arch.line...)
	for i, disk := range g.Disks {
		args = append(args, "-drive", fmt.Sprintf("if=none,id=disk%d,format=raw,file=%s", i, disk),
			"-device", fmt.Sprintf("virtio-blk-pci,drive=disk%d", i))
	}
	for i, tap := range lan.Taps {
		// Without romfile= it would want firmware to boot from the network.
		args = append(args, "-netdev", fmt.Sprintf("tap,id=net%d,ifname=%s,script=no,downscript=no", i, tap),
			"-device", fmt.Sprintf("virtio-net-pci,netdev=net%d,mac=52:54:00:00:00:%02x,romfile=", i, i+1))
	}
	m.process = harness.Start(t, harness.Need(t, g.Arch.qemu, g.Arch.from), args, nil)
	return m
}

// Running tells whether the machine has power.
func (m *Machine) Running() bool { return m.process.Running() }

// Cut is a power cut.
func (m *Machine) Cut() { m.process.Kill() }

// Console is what the kernel and Start have printed.
func (m *Machine) Console() []byte { return m.process.Out.Bytes() }
