package firmware

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"sluice/device/system"
	"sluice/test/harness"
)

// all returns every value that a unit gives a setting.
func all(t *testing.T, unit, name string) (values []string) {
	t.Helper()
	for line := range strings.Lines(read(t, unit)) {
		if key, value, ok := strings.Cut(strings.TrimSpace(line), "="); ok && key == name {
			values = append(values, strings.Fields(value)...)
		}
	}
	return values
}

// The daemon, the path unit, root's service and the directories speak of the
// same place; the daemon may write its wishes there and nothing else, and root's
// service only what it is for. What a service may write to is there before it.
func TestHostUnits(t *testing.T) {
	t.Parallel()
	const wanted = system.HostDir + "/wanted"
	if got := all(t, hostPath, "PathExists"); !slices.Equal(got, []string{wanted + "/settings.json", wanted + "/action.json"}) {
		t.Errorf("the path unit looks for %q", got)
	}
	if got := all(t, service, "ReadWritePaths"); !slices.Equal(got, []string{"-" + wanted}) {
		t.Errorf("the daemon may write to %q", got)
	}
	made := map[string]string{}
	for _, m := range regexp.MustCompile(`(?m)^d\s+(/run/\S+)\s+(.*\S)`).FindAllStringSubmatch(read(t, "systemd/tmpfiles.d/sluice.conf"), -1) {
		made[m[1]] = strings.Join(strings.Fields(m[2]), " ")
	}
	if made[system.HostDir] != "0755 root root -" || made[wanted] != "2770 root sluice -" {
		t.Errorf("the directories are made as %q", made)
	}
	want := []string{system.HostDir, "/run/systemd/network", "/run/systemd/timesyncd.conf.d", "/proc/sys/kernel/hostname", "/sys/devices"}
	got := all(t, hostService, "ReadWritePaths")
	if !slices.Equal(got, want) {
		t.Errorf("root's service may write to %q, want %q", got, want)
	}
	for _, dir := range got {
		if _, ok := made[dir]; strings.HasPrefix(dir, "/run/") && !ok {
			t.Errorf("nothing makes %s", dir)
		}
	}
	s := settings(t, hostService)
	if s["Type"] != "oneshot" || s["CapabilityBoundingSet"] != "CAP_NET_ADMIN" || s["ProtectSystem"] != "strict" {
		t.Errorf("Type=%s CapabilityBoundingSet=%s ProtectSystem=%s", s["Type"], s["CapabilityBoundingSet"], s["ProtectSystem"])
	}
	// One that shows itself is not ended before it is through.
	const identify = 600
	if limit := seconds(t, strings.Replace(s["TimeoutStartSec"], "min", "m", 1)); limit.Seconds() <= identify {
		t.Errorf("it is ended after %v", limit)
	}
}

// The console has its line and the daemon's socket, and nothing else; it goes
// with its device and takes the place of a login.
func TestConsoleUnit(t *testing.T) {
	t.Parallel()
	s := settings(t, console)
	for name, want := range map[string]string{
		"User": "sluice", "DevicePolicy": "closed", "DeviceAllow": "/dev/%I rw", "CapabilityBoundingSet": "", "PrivateNetwork": "yes",
		"BindsTo": "dev-%i.device", "WantedBy": "dev-%i.device", "Conflicts": "serial-getty@%i.service", "StandardInput": "null",
		"Restart": "always", "StartLimitIntervalSec": "0", "ExecStart": "/usr/bin/sluicectl console --tty /dev/%I",
	} {
		if got, ok := s[name]; !ok || got != want {
			t.Errorf("%s=%s, want %s", name, got, want)
		}
	}
	for _, secret := range []string{"-/etc/sluice", "-/var/lib/sluice", "-/run/credentials"} {
		if !slices.Contains(all(t, console, "InaccessiblePaths"), secret) {
			t.Errorf("it can read %s", secret)
		}
	}
}

// With the image's presets everything starts that should: the daemon, what root
// does for it, and a console at each board's serial port and USB cable, where
// no login is.
func TestPresets(t *testing.T) {
	t.Parallel()
	systemctl := harness.Need(t, "systemctl", "systemd")
	dir := t.TempDir()
	const at = "usr/lib/systemd/system"
	content := map[string]string{}
	for _, unit := range units(t) {
		content[filepath.Join(at, filepath.Base(unit))] = read(t, unit)
	}
	const presets = "usr/lib/systemd/system-preset/10-sluice.preset"
	content[presets] = read(t, filepath.Join(overlay, presets))
	lay(t, dir, content)
	if out, err := exec.Command(systemctl, "--root="+dir, "preset-all").CombinedOutput(); err != nil {
		t.Fatalf("systemctl preset-all: %v\n%s", err, out)
	}
	want := []string{"multi-user.target.wants/sluiced.service", "paths.target.wants/sluice-host-apply.path", "paths.target.wants/sluice-update.path", "dev-ttyGS0.device.wants/sluice-console@ttyGS0.service"}
	for _, board := range boards(t) {
		line := read(t, defconfig(board))
		for _, file := range []string{tree + "/board/" + board + "/console", tree + "/board/" + board + "/boot.cmd"} {
			if text, err := os.ReadFile(filepath.Join(root, file)); err == nil {
				line = string(text)
			}
		}
		tty := regexp.MustCompile(`console=(tty[A-Z]+\d+)`).FindStringSubmatch(line)
		if tty == nil {
			t.Errorf("%s has no serial console", board)
			continue
		}
		want = append(want, "dev-"+tty[1]+".device.wants/sluice-console@"+tty[1]+".service")
	}
	for _, link := range want {
		if _, err := os.Lstat(filepath.Join(dir, "etc/systemd/system", link)); err != nil {
			t.Error(err)
		}
	}
	if to, err := os.Readlink(filepath.Join(root, overlay, "etc/systemd/system-generators/systemd-getty-generator")); err != nil || to != "/dev/null" {
		t.Errorf("logins at serial lines are made by %q, %v", to, err)
	}
}
