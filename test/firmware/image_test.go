package firmware

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// lay writes files below dir, by their paths.
func lay(t *testing.T, dir string, content map[string]string) {
	t.Helper()
	for name, text := range content {
		file := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
}

// The box is named by its serial number where it has one of its own, else by
// its first NIC, and keeps its name whatever becomes of them.
func TestIdentity(t *testing.T) {
	t.Parallel()
	nic := map[string]string{
		"sys/class/net/lo/address":        "00:00:00:00:00:00\n",
		"sys/class/net/eth0/address":      "02:00:5e:00:53:01\n",
		"sys/class/net/eth0/device/x":     "",
		"sys/class/dmi/id/product_serial": "Default string\n",
	}
	for _, c := range []struct {
		what    string
		content map[string]string
		want    string
	}{
		{"a device tree", map[string]string{"proc/device-tree/serial-number": "10000000ABCDEF01\x00"}, "sluice-10000000abcdef01"},
		{"a long serial number", map[string]string{"sys/class/dmi/id/product_serial": "PF/12-3456 7890 ABCD EFGH\n"}, "sluice-34567890abcdefgh"},
		{"a serial number of zeros", map[string]string{"proc/device-tree/serial-number": "0000000000000000\x00", "sys/class/dmi/id/product_serial": "5CG1\n"}, "sluice-5cg1"},
		{"a NIC", nic, "sluice-02005e005301"},
		{"a name that is kept", map[string]string{"proc/device-tree/serial-number": "2\x00", "var/etc/hostname": "ob-van-3\n"}, "ob-van-3"},
		{"a name that was damaged", map[string]string{"proc/device-tree/serial-number": "77\x00", "var/etc/hostname": "\x00\x01\n"}, "sluice-77"},
		{"nothing", map[string]string{}, ""},
	} {
		dir := t.TempDir()
		lay(t, dir, map[string]string{"proc/sys/kernel/hostname": "", "var/x": ""})
		lay(t, dir, c.content)
		cmd := exec.Command(filepath.Join(root, overlay, "usr/libexec/sluice/identity"))
		cmd.Env = append(os.Environ(), "ROOT="+dir, "WAIT=0")
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Errorf("%s: %v\n%s", c.what, err, out)
			continue
		}
		got, _ := os.ReadFile(filepath.Join(dir, "proc/sys/kernel/hostname"))
		kept, _ := os.ReadFile(filepath.Join(dir, "var/etc/hostname"))
		if name := strings.TrimSpace(string(got)); name != c.want || strings.TrimSpace(string(kept)) != c.want {
			t.Errorf("%s: the box is called %q and keeps %q, want %q\n%s", c.what, name, kept, c.want, out)
		}
	}
}

// Firmware is kept once the daemon is ready, and left where it never is and
// there is another to go back to.
func TestMarkGood(t *testing.T) {
	t.Parallel()
	const slots = "RAUC_SLOTS='1 2'\nRAUC_SLOT_STATE_1='booted'\nRAUC_SLOT_BOOT_STATUS_1='bad'\nRAUC_SLOT_STATE_2='inactive'\nRAUC_SLOT_BOOT_STATUS_2='%'\n"
	for _, c := range []struct {
		what, ready, other, told string
		fails                    bool
	}{
		{"it is ready", "exit 0", "good", "rauc status mark-good\n", false},
		{"it is ready at the third look", `echo >>"$DIR/looks"; [ "$(wc -l <"$DIR/looks")" -ge 3 ]`, "good", "rauc status mark-good\n", false},
		{"it never is, and the other slot is good", "exit 3", "good", "systemctl reboot\n", true},
		{"it never is, and the other slot is not good either", "exit 3", "bad", "", true},
	} {
		dir := t.TempDir()
		lay(t, dir, map[string]string{
			"bin/systemctl": "#!/bin/sh\n[ \"$1\" != is-active ] || { " + c.ready + "; exit; }\necho systemctl \"$@\" >>\"$DIR/told\"\n",
			"bin/rauc":      "#!/bin/sh\n[ $# -ne 2 ] || [ \"$2\" = mark-good ] || { cat \"$DIR/slots\"; exit; }\necho rauc \"$@\" >>\"$DIR/told\"\n",
			"slots":         strings.ReplaceAll(slots, "%", c.other),
			"bin/sleep":     "#!/bin/sh\n",
			"told":          "",
		})
		cmd := exec.Command(filepath.Join(root, overlay, "usr/libexec/sluice/mark-good"))
		cmd.Env = append(os.Environ(), "PATH="+dir+"/bin:"+os.Getenv("PATH"), "DIR="+dir, "LIMIT=3", "PAUSE=1")
		out, err := cmd.CombinedOutput()
		told, _ := os.ReadFile(filepath.Join(dir, "told"))
		if (err != nil) != c.fails || string(told) != c.told {
			t.Errorf("%s: %v, told %q, want %q\n%s", c.what, err, told, c.told, out)
		}
	}
}
