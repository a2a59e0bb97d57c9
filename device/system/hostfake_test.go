package system

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"sluice/device/uplink"
)

const boot = "5f0c4a1e-boot"

// A fakeBox is a root directory with an Applier, and what systemd was told.
type fakeBox struct {
	*Applier
	told   []string
	failed map[string]bool // commands that fail, and units that do not run
	nics   []Interface
	has    map[string][]netip.Prefix // addresses of NICs
}

func newFakeBox(t *testing.T) *fakeBox {
	t.Helper()
	root := t.TempDir()
	b := &fakeBox{failed: map[string]bool{}, has: map[string][]netip.Prefix{}}
	b.Applier = NewApplier(filepath.Join(root, "run/sluice-host"), root, slog.New(slog.DiscardHandler))
	b.Applier.run = func(_ context.Context, name string, args ...string) (string, error) {
		line := strings.Join(append([]string{name}, args...), " ")
		if unit, ok := strings.CutPrefix(line, "systemctl is-active "); ok {
			if b.failed[strings.TrimSuffix(unit, ".service")] {
				return "inactive", errors.New("exit status 3")
			}
			return "active", nil
		}
		b.told = append(b.told, line)
		if b.failed[line] {
			return "", errors.New("said no")
		}
		return "", nil
	}
	b.netd.nics = func() ([]Interface, error) { return b.nics, nil }
	b.netd.addresses = func(nic string) (int, []netip.Prefix) {
		return 1 + slices.IndexFunc(b.nics, func(i Interface) bool { return i.Name == nic }), b.has[nic]
	}
	b.lights.nic = func(string) error { return errors.ErrUnsupported }
	b.put(t, "proc/sys/kernel/hostname", "sluice-1234\n")
	b.put(t, "proc/sys/kernel/random/boot_id", boot+"\n")
	if err := os.MkdirAll(filepath.Join(b.dir, "wanted"), 0o755); err != nil {
		t.Fatal(err)
	}
	return b
}

func (b *fakeBox) put(t *testing.T, name, text string) {
	t.Helper()
	name = filepath.Join(b.root, name)
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// content returns the files of a directory below the root.
func (b *fakeBox) content(t *testing.T, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	err := filepath.WalkDir(filepath.Join(b.root, dir), func(p string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err == nil && !d.IsDir() {
			var text []byte
			text, err = os.ReadFile(p)
			p, _ = filepath.Rel(b.root, p)
			all[p] = string(text)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func (b *fakeBox) hostnameIs(t *testing.T, want string) {
	t.Helper()
	if is, err := b.hostname(); err != nil || is != want {
		t.Errorf("the box is called %q (%v), want %q", is, err, want)
	}
}

func (b *fakeBox) toldIs(t *testing.T, want ...string) {
	t.Helper()
	if !slices.Equal(b.told, want) {
		t.Errorf("systemd was told %q, want %q", b.told, want)
	}
	b.told = nil
}

// host returns the daemon's side, and has the path unit's work done until the
// test ends.
func (b *fakeBox) host(t *testing.T) *Host {
	t.Helper()
	h := NewHost(b.dir)
	h.boot = boot
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	t.Cleanup(func() { cancel(); <-done })
	go func() {
		defer close(done)
		for ctx.Err() == nil {
			if err := b.Run(ctx); err != nil {
				t.Errorf("host-apply: %v", err)
			}
			select {
			case <-ctx.Done():
			case <-time.After(time.Millisecond):
			}
		}
	}()
	return h
}

func addr(s string) *netip.Addr { a := netip.MustParseAddr(s); return &a }

func onNIC(name string) uplink.Match { return uplink.Match{Interface: name} }

// links are one of each sort, by the name of their golden file.
func links() []Link {
	return []Link{
		{Name: "dhcp", Match: onNIC("eth0"), Default: true, DHCP4: true},
		{Name: "dhcp-second", Match: uplink.Match{Path: "pci-0000:02:00.0"}, DHCP4: true, Nameservers: []netip.Addr{*addr("192.0.2.53")}},
		{
			Name: "static", Match: uplink.Match{MAC: "02:00:5E:00:53:01"}, Default: true,
			Addresses: []netip.Prefix{netip.MustParsePrefix("192.0.2.9/24"), netip.MustParsePrefix("2001:db8::9/64")},
			Gateway4:  addr("192.0.2.1"), Gateway6: addr("fe80::1"),
			Nameservers: []netip.Addr{*addr("192.0.2.53"), *addr("2001:db8::53")},
		},
		{Name: "lan", Match: onNIC("eth2"), Addresses: []netip.Prefix{netip.MustParsePrefix("10.0.0.1/24")}},
		{
			Name: "both", Match: onNIC("eth3"), DHCP4: true,
			Addresses: []netip.Prefix{netip.MustParsePrefix("10.1.0.1/24")}, Gateway4: addr("10.1.0.254"),
		},
	}
}

// request is the text of a file that asks for settings.
func asked(sequence int, settings string) string {
	return fmt.Sprintf(`{"sequence": %d, "settings": %s}`, sequence, settings)
}
