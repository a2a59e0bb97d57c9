package firmware

import (
	"crypto/sha256"
	"fmt"
	"go/version"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const (
	tree     = "buildroot"
	external = "$(BR2_EXTERNAL_SLUICE_PATH)"
	overlay  = tree + "/board/common/overlay"
	mk       = tree + "/package/sluice/sluice.mk"

	// The Buildroot that the tree was last checked with, and its Go.
	checkedWith, itsGo = "2026.08", "1.26.6"
)

// boards returns the names of the defconfigs.
func boards(t *testing.T) []string {
	t.Helper()
	var all []string
	for _, file := range files(t, tree+"/configs") {
		name, ok := strings.CutSuffix(strings.TrimPrefix(filepath.Base(file), "sluice_"), "_defconfig")
		if !ok {
			t.Errorf("%s is no defconfig", file)
		}
		all = append(all, name)
	}
	if want := []string{"aarch64", "armv7", "rpi4", "x86_64"}; !slices.Equal(all, want) {
		t.Errorf("the boards are %v, want %v", all, want)
	}
	return all
}

func defconfig(board string) string { return tree + "/configs/sluice_" + board + "_defconfig" }

// here turns a path as Buildroot reads it into one of this repository.
func here(p string) string {
	return strings.NewReplacer(external, tree, "$BR2_EXTERNAL_SLUICE_PATH", tree).Replace(p)
}

// Every Config.in is read by the one at the top, and what is read is there.
func TestConfigIsSourced(t *testing.T) {
	t.Parallel()
	sourced := []string{tree + "/Config.in"}
	for i := 0; i < len(sourced); i++ {
		for _, m := range regexp.MustCompile(`(?m)^\s*source "(.*)"`).FindAllStringSubmatch(read(t, sourced[i]), -1) {
			sourced = append(sourced, here(m[1]))
		}
	}
	for _, file := range files(t, tree) {
		if strings.HasPrefix(filepath.Base(file), "Config.in") && !slices.Contains(sourced, file) {
			t.Errorf("%s is read by no other", file)
		}
	}
	if len(sourced) < 2 {
		t.Errorf("only %v are read", sourced)
	}
}

// Every symbol of ours that something sets or reads is defined, and every path
// in a defconfig is there.
func TestSymbols(t *testing.T) {
	t.Parallel()
	defined := map[string]bool{}
	for _, file := range files(t, tree) {
		if filepath.Base(file) != "Config.in" {
			continue
		}
		for _, m := range regexp.MustCompile(`(?m)^(?:menu)?config (BR2_\w+)`).FindAllStringSubmatch(read(t, file), -1) {
			defined[m[1]] = true
		}
	}
	symbol := regexp.MustCompile(`BR2_PACKAGE_SLUICE\w*`)
	used := map[string]bool{}
	for _, file := range files(t, tree) {
		for _, s := range symbol.FindAllString(read(t, file), -1) {
			used[s] = used[s] || filepath.Base(file) != "Config.in"
			if !defined[s] {
				t.Errorf("%s: there is no %s", file, s)
			}
		}
	}
	for s := range defined {
		if strings.HasPrefix(s, "BR2_PACKAGE_SLUICE") && !used[s] {
			t.Errorf("nothing uses %s", s)
		}
	}
	for _, board := range boards(t) {
		text := read(t, defconfig(board))
		if !strings.Contains(text, "BR2_PACKAGE_SLUICE=y\n") {
			t.Errorf("%s has no sluice in it", board)
		}
		for _, p := range regexp.MustCompile(regexp.QuoteMeta(external)+`[^" ]+`).FindAllString(text, -1) {
			if _, err := os.Stat(filepath.Join(root, here(p))); err != nil {
				t.Errorf("%s: %v", board, err)
			}
		}
	}
}

// The package builds what there is, installs what there is, and leaves out no
// unit and no setting that a box needs.
func TestPackage(t *testing.T) {
	t.Parallel()
	text := read(t, mk)
	for _, m := range regexp.MustCompile(`BUILD_TARGETS \+?= (.*)`).FindAllStringSubmatch(text, -1) {
		for _, target := range strings.Fields(m[1]) {
			read(t, target+"/main.go")
		}
	}
	installed := map[string]bool{}
	for _, m := range regexp.MustCompile(`\$\(INSTALL\) -D -m (\d+) \$\(@D\)/(\S+) \\\n\t*\$\(TARGET_DIR\)/(\S+)`).FindAllStringSubmatch(text, -1) {
		mode, from, to := m[1], m[2], m[3]
		read(t, from)
		installed[from] = true
		if mode != "0644" || path.Base(from) != path.Base(to) {
			t.Errorf("%s is installed as %s, mode %s", from, to, mode)
		}
	}
	if n := strings.Count(text, "$(INSTALL)"); n != len(installed) {
		t.Errorf("%d files are installed, and %d lines understood", n, len(installed))
	}
	for _, file := range files(t, "systemd") {
		switch {
		case strings.HasPrefix(file, "systemd/debian/"), // for Debian's tools
			strings.HasPrefix(file, "systemd/sysusers.d/"), // the package's users are in its .mk
			strings.HasSuffix(file, ".example"):
		case !installed[file]:
			t.Errorf("%s is not installed", file)
		}
	}
	// Documents/manual: name, id, group, id, password, home, shell, groups, comment.
	users := regexp.MustCompile(`define SLUICE_USERS\n\t(.*)\n`).FindStringSubmatch(text)
	if users == nil {
		t.Fatal("there is no user")
	}
	if f := strings.Fields(users[1]); len(f) < 9 || f[0] != "sluice" || f[2] != "sluice" || f[4] != "*" || f[5] != "/var/lib/sluice" || f[6] != "-" {
		t.Errorf("the user is %q", users[1])
	}
	hash := fmt.Sprintf("sha256  %x  LICENSE\n", sha256.Sum256([]byte(read(t, "LICENSE"))))
	if got := read(t, tree+"/package/sluice/sluice.hash"); !strings.HasSuffix(got, hash) {
		t.Errorf("sluice.hash has not %s", hash)
	}
}

// Buildroot's Go can build the module. BUILDROOT names a checkout whose Go is
// asked for; otherwise it is the one that the tree was last checked with.
func TestGoVersion(t *testing.T) {
	t.Parallel()
	ours := "go" + regexp.MustCompile(`(?m)^go (\S+)`).FindStringSubmatch(read(t, "go.mod"))[1]
	theirs := "go" + itsGo
	if dir := os.Getenv("BUILDROOT"); dir != "" {
		text, err := os.ReadFile(filepath.Join(dir, "package/go/go.mk"))
		if err != nil {
			t.Fatal(err)
		}
		theirs = "go" + regexp.MustCompile(`(?m)^GO_VERSION = (\S+)`).FindStringSubmatch(string(text))[1]
	}
	if !version.IsValid(ours) || version.Compare(ours, theirs) > 0 {
		t.Errorf("the module asks for %s; Buildroot has %s", ours, theirs)
	}
	if docs := read(t, "docs/firmware.md"); !strings.Contains(docs, "Buildroot "+checkedWith) || !strings.Contains(docs, "Go "+itsGo) {
		t.Errorf("docs/firmware.md does not say Buildroot %s and Go %s", checkedWith, itsGo)
	}
}

// What a unit of the image starts is in the image, a mount unit is called after
// its place, and a preset is of a unit that is there or comes with a package.
func TestImageUnits(t *testing.T) {
	t.Parallel()
	theirs := []string{
		"systemd-networkd.service", "systemd-resolved.service", "systemd-timesyncd.service",
		"systemd-networkd-wait-online.service", "rauc-mark-good.service",
		"sluiced.service", "sluice-host-apply.path", "sluice-update.path", "sluice-console@.service",
	}
	found := map[string]bool{}
	for _, file := range files(t, tree) {
		at := strings.Index(file, "/overlay/")
		if at < 0 {
			continue
		}
		switch filepath.Ext(file) {
		case ".service":
			found[filepath.Base(file)] = true
			program, _, _ := strings.Cut(settings(t, file)["ExecStart"], " ")
			info, err := os.Stat(filepath.Join(root, file[:at], "overlay", program))
			if err != nil || info.Mode()&0o111 == 0 {
				t.Errorf("%s starts %s: %v", file, program, err)
			}
		case ".mount":
			where := settings(t, file)["Where"]
			if strings.Contains(settings(t, file)["Options"], "x-systemd") {
				t.Errorf("%s has options that only fstab has", file) // systemd.mount(5)
			}
			want := strings.ReplaceAll(strings.Trim(where, "/"), "/", "-") + ".mount"
			if filepath.Base(file) != want || settings(t, file)["WantedBy"] != "local-fs.target" {
				t.Errorf("%s mounts on %s", file, where)
			}
			if !strings.Contains(read(t, tree+"/board/common/post-build.sh"), `"$target`+where+`"`) {
				t.Errorf("%s: the image has no %s to mount on", file, where)
			}
		}
	}
	if !found["sluice-identity.service"] || !found["sluice-mark-good.service"] {
		t.Errorf("the image has only %v", found)
	}
	for line := range strings.Lines(read(t, overlay+"/usr/lib/systemd/system-preset/10-sluice.preset")) {
		if f := strings.Fields(line); len(f) > 1 && f[0] != "#" && !found[f[1]] && !slices.Contains(theirs, f[1]) {
			t.Errorf("a preset is of %s", f[1])
		}
	}
}

// The boot loader, RAUC, the kernel and the image of the disk speak of the same
// partitions.
func TestPartitions(t *testing.T) {
	t.Parallel()
	slots := read(t, tree+"/board/common/system.conf.in")
	for _, board := range boards(t) {
		image := read(t, tree+"/board/"+board+"/genimage.cfg")
		var names []string
		for _, m := range regexp.MustCompile(`\tpartition (\S+) \{`).FindAllStringSubmatch(image, -1) {
			names = append(names, m[1])
		}
		if want := []string{"boot", "rootfs-a", "rootfs-b", "data"}; !slices.Equal(names, want) {
			t.Errorf("%s: the partitions are %v, want %v", board, names, want)
		}
		if !strings.Contains(image, "image sluice-"+board+".img {") {
			t.Errorf("%s: the image is not called after it", board)
		}
		loader := regexp.MustCompile(`POST_SCRIPT_ARGS="(\S+) (\S+)"`).FindStringSubmatch(read(t, defconfig(board)))
		if loader == nil || loader[1] != board {
			t.Fatalf("%s: its scripts are called with %v", board, loader)
		}
		script := tree + "/board/efi/grub.cfg"
		form := `set part=%d\n\t*set label=%s\n`
		if loader[2] == "uboot" {
			script, form = tree+"/board/"+board+"/boot.cmd", `setenv part %d\n\t*setenv label %s\n`
		}
		for i, label := range []string{"rootfs-a", "rootfs-b"} {
			if !regexp.MustCompile(fmt.Sprintf(form, i+2, label)).MatchString(read(t, script)) {
				t.Errorf("%s does not start %s from partition %d", script, label, i+2)
			}
			if !strings.Contains(slots, "device=/dev/disk/by-partlabel/"+label+"\ntype=raw\nbootname="+string("AB"[i])) {
				t.Errorf("RAUC does not write slot %c to %s", "AB"[i], label)
			}
		}
	}
	if !strings.Contains(read(t, overlay+"/etc/fstab"), "\n/dev/disk/by-partlabel/data /var ext4 ") {
		t.Error("/var is not the partition of the data")
	}
}

// U-Boot and the tools that write its environment look for it at the same two
// places, which no partition has.
func TestEnvironmentOfUBoot(t *testing.T) {
	t.Parallel()
	s := settings(t, tree+"/board/uboot/uboot.fragment")
	want := fmt.Sprintf("/dev/mmcblk0 %[1]s %[3]s\n/dev/mmcblk0 %[2]s %[3]s\n", s["CONFIG_ENV_OFFSET"], s["CONFIG_ENV_OFFSET_REDUND"], s["CONFIG_ENV_SIZE"])
	if got := read(t, tree+"/board/uboot/overlay/etc/fw_env.config"); !strings.HasSuffix(got, want) {
		t.Errorf("fw_env.config is\n%swant\n%s", got, want)
	}
	number := func(name string) int64 {
		n, err := strconv.ParseInt(s[name], 0, 64)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	first, second, size := number("CONFIG_ENV_OFFSET"), number("CONFIG_ENV_OFFSET_REDUND"), number("CONFIG_ENV_SIZE")
	if first < 34*512 || first+size > second || second+size > 4<<20 {
		t.Errorf("the environment is at %#x and %#x, with %#x bytes each", first, second, size)
	}
}
