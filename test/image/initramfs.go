package image

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"slices"
	"sort"
	"strings"
	"testing"
)

// A Guest is what a machine runs.
type Guest struct {
	Arch Arch
	// Files are put into the root file system, by their path without the leading
	// slash. What begins with #! can be run.
	Files map[string]string
	// Start is a script of busybox' sh, which runs once the NICs (eth0, eth1) are
	// there and is started again where it ends.
	Start string
	// Root is a script that mounts a root file system of its own at /root, whose
	// systemd takes over in place of Start; Serial is a service of it then.
	Root string
	// Modules are of the kernel, beside those that every Guest needs.
	Modules []string
	// Disks are the files of its disks, vda and so on.
	Disks []string
	// Serial is a script whose input and output are the Line. Without one it is
	// a shell, which Line.Run talks to. In it, $tty is the device.
	Serial string
}

// modules are what a Guest needs of its machine.
var modules = []string{"virtio_pci", "virtio_net", "virtio_rng", "virtio_blk", "ext4"}

// initScript is process 1.
const initScript = `#!/bin/busybox sh
/bin/busybox --install -s /bin
export PATH=/bin HOME=/
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
mount -t tmpfs tmpfs /run
mkdir -p /dev/pts /tmp /var/lib
mount -t devpts devpts /dev/pts
for module in $(cat /lib/modules/order); do insmod "/lib/modules/$module"; done
ip link set lo up
export tty=/dev/%s
if [ -e /etc/root ]; then
	sh /etc/root
	mkdir -p /run/systemd/system/multi-user.target.wants
	cp /etc/serial /run/serial
	cp /etc/serial.service /run/systemd/system/
	ln -s ../serial.service /run/systemd/system/multi-user.target.wants/
	for dir in dev proc sys run; do mount --move /$dir /root/$dir; done
	exec switch_root /root /sbin/init
fi
(while :; do setsid sh /etc/serial; sleep 1; done) &
while :; do sh /etc/start; sleep 1; done
`

// shell is what is at the Line where the Guest does not say. It is not one for
// people: no prompt, no echo.
const shell = `
exec 3<>$tty
stty raw -echo <&3
while read -r command; do eval "$command"; done <&3 >&3 2>&1
`

// serialService is what runs Serial where there is systemd.
const serialService = `[Service]
Environment=tty=/dev/%s
ExecStart=/bin/sh /run/serial
Restart=always
`

// Initramfs writes the root file system of the guest, with our programs from a
// directory.
func (g Guest) Initramfs(t *testing.T, d Distribution, programs, file string) {
	t.Helper()
	content := map[string][]byte{
		"init":      fmt.Appendf(nil, initScript, g.Arch.tty),
		"etc/start": []byte(g.Start), "etc/serial": []byte(g.Serial),
	}
	if g.Serial == "" {
		content["etc/serial"] = []byte(shell)
	}
	if g.Root != "" {
		content["etc/root"] = []byte(g.Root)
		content["etc/serial.service"] = fmt.Appendf(nil, serialService, g.Arch.tty)
	}
	add := func(name, from string) {
		b, err := os.ReadFile(from)
		if err != nil {
			t.Fatal(err)
		}
		content[name] = b
	}
	add("bin/busybox", d.Busybox(t))
	if programs != "" {
		add("bin/sluiced", filepath.Join(programs, "sluiced"))
		add("bin/sluicectl", filepath.Join(programs, "sluicectl"))
	}
	var order []string
	for _, m := range d.Modules(t, slices.Concat(modules, g.Modules)...) {
		add("lib/modules/"+filepath.Base(m), m)
		order = append(order, filepath.Base(m))
	}
	content["lib/modules/order"] = []byte(strings.Join(order, "\n") + "\n")
	for name, text := range g.Files {
		content[name] = []byte(text)
	}

	f, err := os.Create(file)
	if err != nil {
		t.Fatal(err)
	}
	w := bufio.NewWriter(f)
	err = writeCpio(w, content)
	if err == nil {
		err = w.Flush()
	}
	if err2 := f.Close(); err == nil {
		err = err2
	}
	if err != nil {
		t.Fatal(err)
	}
}

// writeCpio writes an archive in the format that the kernel takes ("newc":
// Documentation/driver-api/early-userspace/buffer-format.rst), with the files
// and the directories that they are in.
func writeCpio(w io.Writer, files map[string][]byte) error {
	const directory, program, plain, device = 0o040755, 0o100755, 0o100644, 0o020600
	modes := map[string]int{"dev": directory, "proc": directory, "sys": directory, "run": directory, "dev/console": device}
	for name, content := range files {
		modes[name] = plain
		if strings.HasPrefix(string(content[:min(2, len(content))]), "#!") || path.Dir(name) == "bin" {
			modes[name] = program
		}
		for dir := path.Dir(name); dir != "."; dir = path.Dir(dir) {
			modes[dir] = directory
		}
	}
	names := make([]string, 0, len(modes))
	for name := range modes {
		names = append(names, name)
	}
	sort.Strings(names) // a directory is before what is in it

	var err error
	entry := func(inode, mode int, name string, content []byte) {
		major, minor := 0, 0
		if mode == device {
			major, minor = 5, 1
		}
		head := fmt.Sprintf("070701%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%s\x00",
			inode, mode, 0, 0, 1, 0, len(content), 0, 0, major, minor, len(name)+1, 0, name)
		for _, part := range [][]byte{[]byte(head), padding(len(head)), content, padding(len(content))} {
			if err == nil {
				_, err = w.Write(part)
			}
		}
	}
	for i, name := range names {
		entry(i+1, modes[name], name, files[name])
	}
	entry(0, 0, "TRAILER!!!", nil)
	return err
}

// padding is what follows n bytes up to a multiple of four.
func padding(n int) []byte { return make([]byte, (4-n%4)%4) }
