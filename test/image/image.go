// Package image boots the programs as a box does: Debian's kernel, an initramfs
// with our static programs and busybox in it, and QEMU, which emulates the
// processor and never uses KVM. A Machine has two NICs, which are taps in the
// test's own network namespace (a Lan), and two serial ports: the kernel's
// console, which is logged, and a Line, which a test talks to.
//
// What runs at boot and what is at the other end of the Line is said by a
// Guest. Nothing is installed on the host, whose network sees none of it.
package image

import (
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
)

// An Arch is a processor that boxes have, and the machine that stands for one.
type Arch struct {
	Name   string   // as ARCH of make image-test names it
	debian string   // as Debian names it
	kernel string   // the package that depends on Debian's newest kernel
	goarch string   // as Go names it
	goarm  string   // where it matters
	qemu   string   // program
	from   string   // package of it
	args   []string // the machine
	// The console's tty, and that of the Line; line is what adds the latter.
	console, tty string
	line         []string
}

// The architectures. PCI has the second serial port where the machine has only
// one; highmem=off keeps PCI where a 32-bit kernel finds it.
var (
	AMD64 = Arch{
		Name: "amd64", debian: "amd64", kernel: "linux-image-cloud-amd64", goarch: "amd64",
		qemu: "qemu-system-x86_64", from: "qemu-system-x86", args: []string{"-machine", "q35"},
		console: "ttyS0", tty: "ttyS1", line: []string{"-serial", "chardev:line"},
	}
	ARM64 = Arch{
		Name: "arm64", debian: "arm64", kernel: "linux-image-cloud-arm64", goarch: "arm64",
		qemu: "qemu-system-aarch64", from: "qemu-system-arm", args: []string{"-machine", "virt"},
		console: "ttyAMA0", tty: "ttyS0", line: []string{"-device", "pci-serial,chardev=line"},
	}
	ARMv7 = Arch{
		Name: "armv7", debian: "armhf", kernel: "linux-image-armmp", goarch: "arm", goarm: "7",
		qemu: "qemu-system-arm", from: "qemu-system-arm", args: []string{"-machine", "virt,highmem=off"},
		console: "ttyAMA0", tty: "ttyS0", line: []string{"-device", "pci-serial,chardev=line"},
	}
)

// wanted names the environment variable with what to boot.
const wanted = "SLUICE_IMAGE_TEST"

// Wanted skips the test unless it was asked for: a boot takes a minute, and the
// first one downloads a kernel.
func Wanted(t *testing.T, name string) {
	t.Helper()
	if !slices.Contains(strings.Fields(os.Getenv(wanted)), name) {
		t.Skipf("it boots a machine: make image-test ARCH=%s", name)
	}
}

// Programs builds ours for the architecture and returns their directory. A
// process that the test started finds those of its parent.
func (a Arch) Programs(t *testing.T) string {
	t.Helper()
	const name = "SLUICE_IMAGE_PROGRAMS"
	if dir := os.Getenv(name); dir != "" {
		return dir
	}
	dir := t.TempDir()
	build := exec.Command("go", "build", "-trimpath", "-buildvcs=false", "-ldflags", "-s -w",
		"-o", dir+string(filepath.Separator), "sluice/cmd/sluiced", "sluice/cmd/sluicectl")
	build.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH="+a.goarch, "GOARM="+a.goarm)
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("building the programs: %v\n%s", err, out)
	}
	t.Setenv(name, dir)
	return dir
}

// processors is how many the machine has: not more than the host's, and enough
// for what a box does at the same time.
func processors() int { return min(2, runtime.NumCPU()) }
