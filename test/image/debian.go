package image

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// release is of Debian, whose kernels have their modules uncompressed.
const release = "bookworm"

// download fetches the kernel and busybox of architecture $2 into directory
// $1/root, by an apt that knows nothing of the host's packages. $3 is the
// package of the kernel, $4 the release, $5 the mirror.
const download = `
cd "$1"
mkdir -p etc/apt/{apt.conf.d,preferences.d,sources.list.d,trusted.gpg.d} var/lib/apt/lists/partial \
	var/lib/dpkg var/cache/apt/archives/partial debs
: >var/lib/dpkg/status
echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $5 $4 main" >etc/apt/sources.list
options=(-q -o Dir="$1" -o Dir::State::status="$1/var/lib/dpkg/status" -o APT::Architecture="$2" -o APT::Architectures::="$2"
	-o Acquire::Languages=none -o Acquire::Retries=3 -o APT::Sandbox::User= -o Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false)
apt-get "${options[@]}" update
image=$(apt-cache "${options[@]}" depends "$3" | awk '/Depends: linux-image/ { print $2 }')
(cd debs && apt-get "${options[@]}" download "$image" busybox-static)
for deb in debs/*.deb; do dpkg-deb -x "$deb" root; done
rm -rf etc var debs
`

// A Distribution is what Debian gives: a directory with busybox, a kernel and
// its modules.
type Distribution string

// Cache is where downloads are kept: $SLUICE_CACHE, or sluice in the user's
// directory for such (XDG_CACHE_HOME).
func Cache(t *testing.T) string {
	t.Helper()
	dir := os.Getenv("SLUICE_CACHE")
	if dir == "" {
		base, err := os.UserCacheDir()
		if err != nil {
			t.Fatalf("nowhere to keep downloads (name a directory in SLUICE_CACHE): %v", err)
		}
		dir = filepath.Join(base, "sluice")
	}
	dir, err := filepath.Abs(dir)
	if err == nil {
		err = os.MkdirAll(dir, 0o755)
	}
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// Distribution downloads what the architecture needs, unless it is there.
func (a Arch) Distribution(t *testing.T) Distribution {
	t.Helper()
	cache := Cache(t)
	kept := filepath.Join(cache, "debian-"+release+"-"+a.debian)
	if _, err := os.Stat(kept); err == nil {
		return Distribution(kept)
	}
	// What is there is whole: it gets its name at the end.
	part, err := os.MkdirTemp(cache, "part-")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(part)
	t.Logf("downloading %s of Debian %s into %s", a.kernel, release, kept)
	cmd := exec.Command("bash", "-euo", "pipefail", "-c", download, "bash", part, a.debian, a.kernel, release, mirror())
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("downloading from %s: %v\n%s", mirror(), err, out)
	}
	if err := os.Rename(filepath.Join(part, "root"), kept); err != nil {
		t.Fatal(err)
	}
	return Distribution(kept)
}

// mirror is of Debian.
func mirror() string {
	if m := os.Getenv("SLUICE_MIRROR"); m != "" {
		return m
	}
	return "http://deb.debian.org/debian"
}

// rootPackages are those of a root file system beside Debian's essential ones:
// networkd is in systemd's own, and waits for udev. rootNumber counts what they
// have been: a disk with another one is made anew.
const (
	rootPackages = "systemd-sysv,dbus,udev,iproute2,systemd-timesyncd,rauc-service"
	rootNumber   = 3
)

// RootDisk returns the file of a disk with Debian's smallest system that has
// systemd, to be copied and not written. It is made unless it is there, which
// takes root.
func (a Arch) RootDisk(t *testing.T) string {
	t.Helper()
	cache := Cache(t)
	kept := filepath.Join(cache, fmt.Sprintf("debian-%s-%s-systemd%d.ext4", release, a.debian, rootNumber))
	if exists(kept) {
		return kept
	}
	if os.Geteuid() != 0 {
		t.Fatal("the root file system belongs to root, and only root can make it")
	}
	part, err := os.MkdirTemp(cache, "part-")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(part)
	t.Logf("making %s", kept)
	cmd := exec.Command("bash", "-euo", "pipefail", "-c", `
		PATH=$PATH:/usr/sbin:/sbin
		mmdebstrap --quiet --variant=minbase --architectures="$2" --include="$5" \
			--aptopt='Acquire::Languages "none"' --dpkgopt='path-exclude=/usr/share/doc/*' "$3" "$1/root" "$4"
		mke2fs -q -t ext4 -d "$1/root" "$1/disk" 1G`, "bash", part, a.debian, release, mirror(), rootPackages)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("making a root file system: %v\n%s", err, out)
	}
	if err := os.Rename(filepath.Join(part, "disk"), kept); err != nil {
		t.Fatal(err)
	}
	return kept
}

// one returns the only file of a pattern.
func (d Distribution) one(t *testing.T, pattern string) string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(string(d), pattern))
	if err != nil || len(found) != 1 {
		t.Fatalf("%s in %s: one is expected, there are %q (%v)", pattern, d, found, err)
	}
	return found[0]
}

// Kernel is its file.
func (d Distribution) Kernel(t *testing.T) string { t.Helper(); return d.one(t, "boot/vmlinuz-*") }

// Busybox is its file.
func (d Distribution) Busybox(t *testing.T) string {
	t.Helper()
	for _, at := range []string{"bin/busybox", "usr/bin/busybox"} {
		if p := filepath.Join(string(d), at); exists(p) {
			return p
		}
	}
	t.Fatalf("there is no busybox in %s", d)
	return ""
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}
