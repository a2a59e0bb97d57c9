package firmware

import (
	"bytes"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"sluice/test/harness"
)

const (
	service       = "systemd/system/sluiced.service"
	hostService   = "systemd/system/sluice-host-apply.service"
	hostPath      = "systemd/system/sluice-host-apply.path"
	updateService = "systemd/system/sluice-update.service"
	updatePath    = "systemd/system/sluice-update.path"
	console       = "systemd/system/sluice-console@.service"
)

// units returns the units that systemd-analyze can look at which come with a
// box, ours and the image's.
func units(t *testing.T) []string {
	t.Helper()
	var all []string
	for _, file := range append(files(t, "systemd"), files(t, "buildroot")...) {
		if ext := filepath.Ext(file); ext == ".service" || ext == ".path" {
			all = append(all, file)
		}
	}
	return all
}

// systemdVersion returns that of the systemd whose tools are here.
func systemdVersion(t *testing.T, analyze string) int {
	t.Helper()
	out, err := exec.Command(analyze, "--version").Output()
	if err != nil {
		t.Fatal(err)
	}
	n, err := strconv.Atoi(string(regexp.MustCompile(`\d+`).Find(out)))
	if err != nil {
		t.Fatalf("what version is this? %s", out)
	}
	return n
}

// systemd finds no fault with the units.
func TestUnits(t *testing.T) {
	t.Parallel()
	analyze := harness.Need(t, "systemd-analyze", "systemd")
	found := units(t)
	for _, unit := range []string{service, hostService, hostPath, updateService, updatePath, console} {
		if !slices.Contains(found, unit) {
			t.Fatalf("%s is not there", unit)
		}
	}
	dir := t.TempDir()
	var copies []string
	for _, unit := range found {
		// The programs need not be installed where the tests run.
		text := regexp.MustCompile(`(?m)^(Exec\w+=)[^/\n]*/\S+`).ReplaceAllString(read(t, unit), "${1}/bin/true")
		copies = append(copies, filepath.Join(dir, filepath.Base(unit)))
		if err := os.WriteFile(copies[len(copies)-1], []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if systemdVersion(t, analyze) >= 254 { // where its settings are known
		for _, file := range files(t, service+".d") {
			copied := filepath.Join(dir, "sluiced.service.d", filepath.Base(file))
			if err := os.MkdirAll(filepath.Dir(copied), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(copied, []byte(read(t, file)), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	if out, err := exec.Command(analyze, append([]string{"verify", "--man=no"}, copies...)...).CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("systemd-analyze verify: %v\n%s", err, out)
	}
}

// systemd rates the exposure of what runs all the time at 2.0 or better (of 10,
// less is better), and so that of what runs as root for a moment.
func TestExposure(t *testing.T) {
	t.Parallel()
	analyze := harness.Need(t, "systemd-analyze", "systemd")
	for _, unit := range []string{service, hostService, updateService, console} {
		out, err := exec.Command(analyze, "security", "--no-pager", "--offline=true", "--threshold=20", filepath.Join(root, unit)).CombinedOutput()
		if err != nil {
			t.Errorf("systemd-analyze security: %v\n%s", err, out)
		}
		lines := strings.Split(strings.TrimSpace(string(out)), "\n")
		t.Log(lines[len(lines)-1])
	}
}

// settings returns the settings of a unit file, the last of each name.
func settings(t *testing.T, unit string) map[string]string {
	t.Helper()
	all := map[string]string{}
	for line := range strings.Lines(read(t, unit)) {
		if key, value, ok := strings.Cut(strings.TrimSpace(line), "="); ok && key[0] != '#' {
			all[key] = value
		}
	}
	return all
}

func seconds(t *testing.T, value string) time.Duration {
	t.Helper()
	if _, err := strconv.Atoi(value); err == nil {
		value += "s"
	}
	d, err := time.ParseDuration(value)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// A hung daemon is back within 30 s and a crashed one within 2 s, however
// often, as far as the unit decides it.
func TestRestart(t *testing.T) {
	t.Parallel()
	s := settings(t, service)
	if s["Type"] != "notify" || s["Restart"] != "always" || s["StartLimitIntervalSec"] != "0" {
		t.Errorf("Type=%s Restart=%s StartLimitIntervalSec=%s", s["Type"], s["Restart"], s["StartLimitIntervalSec"])
	}
	pause := seconds(t, s["RestartSec"])
	if pause > time.Second {
		t.Errorf("a crashed daemon is started after %v", pause)
	}
	if hung := seconds(t, s["WatchdogSec"]) + seconds(t, s["TimeoutAbortSec"]) + pause; hung > 25*time.Second {
		t.Errorf("a hung daemon is started after %v", hung)
	}
}

// Nothing but what is needed: the capabilities are those of the design.
func TestCapabilities(t *testing.T) {
	t.Parallel()
	const want = "CAP_NET_ADMIN CAP_NET_BIND_SERVICE"
	s := settings(t, service)
	if s["AmbientCapabilities"] != want || s["CapabilityBoundingSet"] != want || s["User"] != "sluice" {
		t.Errorf("User=%s AmbientCapabilities=%s CapabilityBoundingSet=%s", s["User"], s["AmbientCapabilities"], s["CapabilityBoundingSet"])
	}
}

// The parts of systemd know every setting that is given to them: the names are
// in the programs that read them.
func TestSettingsOfSystemd(t *testing.T) {
	t.Parallel()
	harness.Need(t, "systemd-analyze", "systemd")
	var programs []byte
	for _, pattern := range []string{"/lib/systemd/systemd*", "/lib/systemd/*.so", "/usr/lib/*/systemd/*.so", "/bin/udevadm"} {
		names, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range names {
			if info, err := os.Stat(name); err != nil || !info.Mode().IsRegular() {
				continue
			}
			program, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			programs = append(programs, program...)
		}
	}
	found := 0
	for _, file := range append(files(t, "systemd"), files(t, "buildroot")...) {
		dir := filepath.Base(filepath.Dir(file))
		switch {
		case dir == "journald.conf.d", dir == "networkd.conf.d", dir == "system.conf.d":
		case dir == "network":
			if _, err := exec.LookPath("udevadm"); err != nil {
				continue // a package of its own, which tests need not have
			}
		default:
			continue
		}
		section := ""
		for line := range strings.Lines(read(t, file)) {
			line = strings.TrimSpace(line)
			key, _, ok := strings.Cut(line, "=")
			switch {
			case strings.HasPrefix(line, "["):
				section = strings.Trim(line, "[]")
			case ok && !strings.HasPrefix(line, "#"):
				found++
				whole := bytes.Contains(programs, []byte("\x00"+section+"."+key+"\x00"))
				apart := section == "Manager" && bytes.Contains(programs, []byte("\x00"+key+"\x00"))
				if !whole && !apart {
					t.Errorf("%s: systemd knows no %s in [%s]", file, key, section)
				}
			}
		}
	}
	if found < 10 {
		t.Errorf("found %d settings only", found)
	}
}

// The kernel has every setting that it is given.
func TestSysctl(t *testing.T) {
	t.Parallel()
	if _, err := os.Stat("/proc/sys/net/core/rmem_max"); err != nil {
		t.Skip("this is not the kernel's own network namespace, in which not all settings are shown")
	}
	found := 0
	for _, file := range append(files(t, "systemd"), files(t, "buildroot")...) {
		if filepath.Base(filepath.Dir(file)) != "sysctl.d" {
			continue
		}
		for line := range strings.Lines(read(t, file)) {
			line = strings.TrimSpace(line)
			if line == "" || line[0] == '#' {
				continue
			}
			key, value, ok := strings.Cut(line, " = ")
			names, err := fs.Glob(os.DirFS("/proc/sys"), strings.ReplaceAll(key, ".", "/"))
			if !ok || value == "" || err != nil || len(names) == 0 {
				t.Errorf("%s: %q: the kernel has no such setting", file, line)
			}
			found++
		}
	}
	if found < 8 {
		t.Errorf("found %d settings only", found)
	}
}
