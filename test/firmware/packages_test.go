package firmware

import (
	"debug/elf"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"sluice/test/harness"
)

// platforms are those of make cross: as it is told of them, and as its
// directories are called.
var platforms = []struct {
	target, name string
	machine      elf.Machine
}{
	{"linux/amd64", "linux-amd64", elf.EM_X86_64},
	{"linux/arm64", "linux-arm64", elf.EM_AARCH64},
	{"linux/arm/7", "linux-armv7", elf.EM_ARM},
	{"linux/arm/6", "linux-armv6", elf.EM_ARM},
	{"linux/386", "linux-386", elf.EM_386},
}

// What make cross makes is the same twice, to the byte, and is static programs
// of a bounded size in a tarball and a Debian package that can be installed.
// The short form looks at what a box of this machine's platform is given.
func TestCross(t *testing.T) {
	t.Parallel()
	dist := t.TempDir()
	chosen, programs := platforms, []string{"sluiced", "sluicectl", "sluice-fleet"}
	if !harness.Long() {
		chosen, programs = nil, programs[:2]
		for _, p := range platforms {
			if p.target == "linux/"+runtime.GOARCH {
				chosen = append(chosen, p)
			}
		}
	}
	if len(chosen) == 0 {
		t.Skipf("make cross does not build for %s", runtime.GOARCH)
	}
	var targets []string
	for _, p := range chosen {
		targets = append(targets, p.target)
	}
	out, err := shell(t, `make reproducible DIST="$1" PLATFORMS="$2" COMMANDS="$3" VERSION=v1.0.0`,
		dist, strings.Join(targets, " "), strings.Join(programs, " "))
	if err != nil {
		t.Fatalf("make reproducible: %v\n%s", err, out)
	}
	t.Log(out)

	units := []string{service, hostService, hostPath, updateService, updatePath, console, "systemd/tmpfiles.d/sluice.conf", "systemd/sysusers.d/sluice.conf", "systemd/sysctl.d/60-sluice.conf"}
	for _, p := range chosen {
		for _, name := range programs {
			static(t, filepath.Join(dist, p.name, name), p.machine)
		}
		tarball := filepath.Join(dist, "sluice-v1.0.0-"+p.name+".tar.gz")
		list, err := shell(t, `tar -tzf "$1"`, tarball)
		if err != nil {
			t.Fatalf("%s: %v\n%s", tarball, err, list)
		}
		for _, want := range slices.Concat(programs, units, []string{"LICENSE"}) {
			if !slices.Contains(strings.Fields(list), "sluice-v1.0.0/"+want) {
				t.Errorf("%s lacks %s", tarball, want)
			}
		}
		if p.target == "linux/"+runtime.GOARCH {
			debian(t, dist, p.name)
		}
	}
}

// static checks that a program needs nothing of the system that it runs on,
// and is no larger than a box can be asked to hold.
func static(t *testing.T, file string, machine elf.Machine) {
	t.Helper()
	f, err := elf.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if f.Machine != machine {
		t.Errorf("%s is for %v, want %v", file, f.Machine, machine)
	}
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP || p.Type == elf.PT_DYNAMIC {
			t.Errorf("%s is not static: it has %v", file, p.Type)
		}
	}
	if info, err := os.Stat(file); err != nil || info.Size() > 20e6 {
		t.Errorf("%s: %v, %d bytes: want 20 MB at most", file, err, info.Size())
	}
}

// debian installs, upgrades, removes and purges the package in a copy of this
// system, which the kernel makes without copying anything and forgets at the
// end. In it a systemctl that only writes down what it is told stands for a
// systemd that runs.
func debian(t *testing.T, dist, platform string) {
	if os.Geteuid() != 0 {
		t.Log("not as root: the Debian package is not installed")
		return
	}
	if _, err := exec.LookPath("dpkg-deb"); err != nil {
		t.Log("no dpkg here: the Debian package is not installed")
		return
	}
	one := filepath.Join(dist, "sluice-v1.0.0-"+platform+".deb")
	const later = "v1.1.0-3-gabcdef0"
	if out, err := shell(t, `scripts/pack "$@"`, filepath.Join(dist, platform), platform, later); err != nil {
		t.Fatalf("scripts/pack: %v\n%s", err, out)
	}
	two := filepath.Join(dist, "sluice-"+later+"-"+platform+".deb")
	cmd := exec.Command("unshare", "--mount", "bash", filepath.Join(root, "test/firmware/testdata/debian"), t.TempDir(), one, two)
	out, err := cmd.CombinedOutput()
	if status := cmd.ProcessState; status != nil && status.ExitCode() == 77 {
		t.Logf("the Debian package is not installed: %s", out)
		return
	}
	if err != nil {
		t.Errorf("the Debian package: %v\n%s", err, out)
	}
}
