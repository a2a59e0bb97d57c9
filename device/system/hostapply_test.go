package system

import (
	"encoding/json"
	"errors"
	"flag"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

var update = flag.Bool("update", false, "write the golden files")

// The files for systemd are as they were looked at.
func TestHostFiles(t *testing.T) {
	s := Settings{Hostname: "ob-van-3", NTP: []string{"192.0.2.123", "ntp.example.com"}, Links: links()}
	if err := s.Validate(); err != nil {
		t.Fatal(err)
	}
	files := s.files()
	if len(files) != len(s.Links)+1 {
		t.Errorf("there are %d files", len(files))
	}
	for name, text := range files {
		golden := filepath.Join("testdata/host", filepath.Base(name))
		if *update {
			if err := os.WriteFile(golden, []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if want, err := os.ReadFile(golden); err != nil || string(want) != text {
			t.Errorf("%s is (%v)\n%s", name, err, text)
		}
	}
}

// What is wanted is made, another wish changes only what differs, and with
// nothing wanted any more all of it is gone.
func TestHostApply(t *testing.T) {
	b := newFakeBox(t)
	b.put(t, "run/systemd/network/50-other.network", "not ours\n")
	b.put(t, "run/systemd/network/60-sluicegate.network", "not ours either\n")
	others := b.content(t, "run/systemd")
	all := links()
	s := Settings{Hostname: "ob-van-3", NTP: []string{"192.0.2.123"}, Links: all[:2]}

	apply := func(s Settings) {
		t.Helper()
		if err := b.apply(t.Context(), s); err != nil {
			t.Fatal(err)
		}
		want := maps.Clone(others)
		maps.Copy(want, s.files())
		if got := b.content(t, "run/systemd"); !maps.Equal(got, want) {
			t.Errorf("there are %q, want %q", slices.Collect(maps.Keys(got)), slices.Collect(maps.Keys(want)))
		}
	}
	const networks, times = "networkctl reload", "systemctl try-restart systemd-timesyncd.service"
	apply(s)
	b.toldIs(t, networks, times)
	b.hostnameIs(t, "ob-van-3")

	apply(s)
	b.toldIs(t)

	s.Hostname, s.Links = "ob-van-4", all[1:3]
	apply(s)
	b.toldIs(t, networks)
	b.hostnameIs(t, "ob-van-4")

	s.NTP = []string{"192.0.2.124"}
	apply(s)
	b.toldIs(t, times)

	apply(Settings{})
	b.toldIs(t, networks, times)
	b.hostnameIs(t, "sluice-1234")
}

// Whatever fails, the host is left as it was, and those who had read the new
// files read the old ones again.
func TestHostGoesBack(t *testing.T) {
	const reload, restart = "networkctl reload", "systemctl try-restart systemd-timesyncd.service"
	for _, c := range []struct {
		fails string
		told  []string
	}{
		{reload, []string{reload, reload}},
		{restart, []string{reload, restart, reload, restart}},
		{"systemd-networkd", nil},
		{"systemd-timesyncd", nil},
		{"address", []string{reload, restart, reload, restart}},
	} {
		t.Run(c.fails, func(t *testing.T) {
			b := newFakeBox(t)
			all := links()
			before := Settings{Hostname: "ob-van-3", NTP: []string{"192.0.2.123"}, Links: all[:2]}
			if err := b.apply(t.Context(), before); err != nil {
				t.Fatal(err)
			}
			b.told = nil
			had := b.content(t, "run/systemd")
			b.failed[c.fails] = true
			after := Settings{Hostname: "ob-van-4", NTP: []string{"192.0.2.124"}, Links: all[1:4]}
			if c.fails == "address" { // lan's NIC is there and does not get its own
				b.nics = []Interface{{Name: "eth2"}}
				b.put(t, "run/systemd/netif/links/1", "ADMIN_STATE=configured\nNETWORK_FILE=/"+networkFile("lan")+"\n")
				b.netd.hard = time.Millisecond
				had = b.content(t, "run/systemd")
			}
			err := b.apply(t.Context(), after)
			if err == nil {
				t.Fatal("nothing failed")
			}
			t.Log(err)
			b.toldIs(t, c.told...)
			if got := b.content(t, "run/systemd"); !maps.Equal(got, had) {
				t.Errorf("left are %q", got)
			}
			b.hostnameIs(t, "ob-van-3")
		})
	}
}

// A NIC that has not what its file says is waited for, and then named with what
// is in the way.
func TestHostAwait(t *testing.T) {
	lan := links()[3]
	file := "/" + networkFile("lan")
	address := lan.Addresses
	for _, c := range []struct {
		what, state, want string
		nics              []Interface
		has               []netip.Prefix
	}{
		{"no such NIC", "", "", nil, nil},
		{"all is well", "ADMIN_STATE=configured\nNETWORK_FILE=" + file, "", []Interface{{Name: "eth2"}}, address},
		{"no carrier", "ADMIN_STATE=configuring\nNETWORK_FILE=" + file, "", []Interface{{Name: "eth2"}}, address},
		{"it failed", "ADMIN_STATE=failed\nNETWORK_FILE=" + file, "could not set eth2 up", []Interface{{Name: "eth2"}}, address},
		{"another file", "ADMIN_STATE=configured\nNETWORK_FILE=/etc/systemd/network/10-lan.network", "as /etc/systemd/network/10-lan.network says", []Interface{{Name: "eth2"}}, address},
		{"no file", "ADMIN_STATE=unmanaged", "does not manage eth2", []Interface{{Name: "eth2"}}, address},
		{"no address", "ADMIN_STATE=configured\nNETWORK_FILE=" + file, "does not get the address 10.0.0.1/24", []Interface{{Name: "eth2"}}, nil},
	} {
		b := newFakeBox(t)
		b.nics, b.has["eth2"] = c.nics, c.has
		b.put(t, "run/systemd/netif/links/1", "# This is private data. Do not parse.\n"+c.state+"\n")
		b.netd.hard, b.netd.soft = time.Millisecond, time.Millisecond
		s := Settings{Links: []Link{lan}}
		err := b.netd.await(t.Context(), s, nil, s.files())
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: %v, want %q", c.what, err, c.want)
		}
		if err := b.netd.await(t.Context(), s, s.files(), s.files()); err != nil {
			t.Errorf("%s, and nothing changed: %v", c.what, err)
		}
	}
}

// Files that are gone are waited for too, as long as a NIC is as they said; what
// need not come is not waited for as long as what must.
func TestHostAwaitsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newFakeBox(t)
		s := Settings{Links: links()[:1]}
		used := func() { b.put(t, "run/systemd/netif/links/1", "NETWORK_FILE=/"+networkFile("dhcp")+"\n") }
		await := func() time.Duration {
			began := time.Now()
			if err := b.netd.await(t.Context(), Settings{}, s.files(), nil); err != nil {
				t.Error(err)
			}
			return time.Since(began)
		}
		used()
		if took := await(); took < softTime || took >= hardTime {
			t.Errorf("a NIC that stays as it was was waited for %v", took)
		}
		time.AfterFunc(time.Second, func() { b.put(t, "run/systemd/netif/links/1", "NETWORK_FILE=\n") })
		if took := await(); took < time.Second || took >= softTime {
			t.Errorf("a NIC that was left after a second was waited for %v", took)
		}
	})
}

// hostile are requests that root refuses: beside what is no settings at all,
// what would be a path, a line or a pattern in the files that it writes.
var hostile = map[string]string{
	"empty":            "",
	"no JSON":          "[Match]\nName=*\n",
	"null":             "null",
	"no settings":      `{"sequence": 1}`,
	"no number":        `{"settings": {}}`,
	"two requests":     asked(1, "{}") + asked(2, "{}"),
	"unknown field":    asked(1, `{"exec": "/bin/sh"}`),
	"an action":        `{"sequence": 1, "action": {"name": "reboot"}}`,
	"deep":             `{"sequence": 1, "settings": ` + strings.Repeat("[", 20000),
	"name is a path":   asked(1, `{"links": [{"name": "../../../etc/cron.d/x", "match": {"interface": "eth0"}}]}`),
	"name is no name":  asked(1, `{"links": [{"name": "", "match": {"interface": "eth0"}}]}`),
	"name has a line":  asked(1, `{"links": [{"name": "a\nb", "match": {"interface": "eth0"}}]}`),
	"NIC has a line":   asked(1, `{"links": [{"name": "a", "match": {"interface": "x\n[Network]"}}]}`),
	"NIC is a pattern": asked(1, `{"links": [{"name": "a", "match": {"interface": "*"}}]}`),
	"NIC is all but":   asked(1, `{"links": [{"name": "a", "match": {"interface": "!eth0"}}]}`),
	"two NICs":         asked(1, `{"links": [{"name": "a", "match": {"interface": "eth0 eth1"}}]}`),
	"two matches":      asked(1, `{"links": [{"name": "a", "match": {"interface": "eth0", "mac": "02:00:5e:00:53:01"}}]}`),
	"no match":         asked(1, `{"links": [{"name": "a", "match": {}}]}`),
	"path has a line":  asked(1, `{"links": [{"name": "a", "match": {"path": "pci\nName=*"}}]}`),
	"path is pattern":  asked(1, `{"links": [{"name": "a", "match": {"path": "pci-*"}}]}`),
	"MAC is longer":    asked(1, `{"links": [{"name": "a", "match": {"mac": "02:00:5e:00:53:01:02:03"}}]}`),
	"zone is a line":   asked(1, `{"links": [{"name": "a", "match": {"interface": "eth0"}, "gateway6": "fe80::1%x\nDNS=192.0.2.66"}]}`),
	"server's zone":    asked(1, `{"links": [{"name": "a", "match": {"interface": "eth0"}, "nameservers": ["fe80::1%x\n[Route]"]}]}`),
	"gateway's family": asked(1, `{"links": [{"name": "a", "match": {"interface": "eth0"}, "gateway4": "fe80::1"}]}`),
	"address is net":   asked(1, `{"links": [{"name": "a", "match": {"interface": "eth0"}, "addresses": ["0.0.0.0/0"]}]}`),
	"no address":       asked(1, `{"links": [{"name": "a", "match": {"interface": "eth0"}, "addresses": [""]}]}`),
	"same name":        asked(1, `{"links": [{"name": "a", "match": {"interface": "eth0"}}, {"name": "a", "match": {"interface": "eth1"}}]}`),
	"same NIC":         asked(1, `{"links": [{"name": "a", "match": {"interface": "eth0"}}, {"name": "b", "match": {"interface": "eth0"}}]}`),
	"host has a line":  asked(1, `{"hostname": "a\nb"}`),
	"host is long":     asked(1, `{"hostname": "`+strings.Repeat("a", 65)+`"}`),
	"time has a line":  asked(1, `{"ntp": ["192.0.2.1\nFallbackNTP=192.0.2.66"]}`),
	"time has a space": asked(1, `{"ntp": ["a b"]}`),
	"time is %-code":   asked(1, `{"ntp": ["%H.example.com"]}`),
	"many servers":     asked(1, `{"ntp": [`+strings.TrimSuffix(strings.Repeat(`"192.0.2.1",`, 9), ",")+`]}`),
	"huge":             asked(1, `{"hostname": "a"}`) + strings.Repeat(" ", maxRequest),
}

func TestHostRefuses(t *testing.T) {
	for what, text := range hostile {
		b := newFakeBox(t)
		b.put(t, "run/sluice-host/wanted/settings.json", text)
		if err := b.Run(t.Context()); err != nil {
			t.Errorf("%s: %v", what, err)
		}
		if got := b.content(t, "run/systemd"); len(got) > 0 || len(b.told) > 0 {
			t.Errorf("%s: there are now %q, told was %q", what, got, b.told)
		}
		b.hostnameIs(t, "sluice-1234")
		a, err := readAnswer(filepath.Join(b.dir, "applied.json"))
		if err != nil || a.Sequence > 0 && (!a.Done || a.Error == "" || strings.Contains(a.Error, "\n")) {
			t.Errorf("%s: the answer is %+v, %v", what, a, err)
		}
		b.nothingWanted(t, what)
	}
}

func (b *fakeBox) nothingWanted(t *testing.T, what string) {
	t.Helper()
	for _, pattern := range []string{"wanted/*", "wanted/.*", ".taken*"} {
		if left, _ := filepath.Glob(filepath.Join(b.dir, pattern)); len(left) > 0 {
			t.Errorf("%s: left are %q", what, left)
		}
	}
}

// What is called like a request and is no plain file of the daemon's is taken
// away unread, and what it points to stays.
func TestHostTakesOnlyFiles(t *testing.T) {
	good := asked(1, `{"hostname": "taken"}`)
	for what, make := range map[string]func(b *fakeBox, name string) error{
		"a symbolic link":  func(b *fakeBox, name string) error { return os.Symlink(filepath.Join(b.root, "secret"), name) },
		"a hard link":      func(b *fakeBox, name string) error { return os.Link(filepath.Join(b.root, "secret"), name) },
		"a pipe":           func(_ *fakeBox, name string) error { return syscall.Mkfifo(name, 0o644) },
		"a directory":      func(_ *fakeBox, name string) error { return os.Mkdir(name, 0o755) },
		"a full directory": func(_ *fakeBox, name string) error { return os.MkdirAll(name+"/a/b", 0o755) },
		"a link to itself": func(_ *fakeBox, name string) error { return os.Symlink(name, name) },
	} {
		b := newFakeBox(t)
		b.put(t, "secret", good)
		name := filepath.Join(b.dir, "wanted/settings.json")
		if err := make(b, name); err != nil {
			t.Fatal(err)
		}
		b.put(t, "run/sluice-host/wanted/action.json", `{"sequence": 1, "boot_id": "`+boot+`", "action": {"name": "reboot"}}`)
		if err := b.Run(t.Context()); err != nil {
			t.Errorf("%s: %v", what, err)
		}
		b.toldIs(t, "systemctl --no-block reboot") // it is in nobody's way
		b.hostnameIs(t, "sluice-1234")
		b.nothingWanted(t, what)
		if text, err := os.ReadFile(filepath.Join(b.root, "secret")); err != nil || string(text) != good {
			t.Errorf("%s: what it points to is %q, %v", what, text, err)
		}
	}
}

// Whatever the request, root writes nothing but its own files, in lines that it
// means.
func FuzzHostRequest(f *testing.F) {
	for _, text := range hostile {
		f.Add([]byte(text))
	}
	good, _ := json.Marshal(request{Sequence: 1, Settings: &Settings{Hostname: "a", NTP: []string{"192.0.2.1"}, Links: links()}})
	f.Add(good)
	keys := strings.Fields("Name PermanentMACAddress Path RequiredForOnline DHCP KeepConfiguration IgnoreCarrierLoss ConfigureWithoutCarrier" +
		" LinkLocalAddressing IPv6AcceptRA Address DNS DNSDefaultRoute Gateway Metric ClientIdentifier UseHostname UseRoutes UseGateway RouteMetric UseDNS NTP")
	sections := strings.Fields("[Match] [Link] [Network] [Route] [DHCPv4] [IPv6AcceptRA] [Time]")
	f.Fuzz(func(t *testing.T, text []byte) {
		r, err := parseRequest(text, settingsKind)
		if err != nil {
			return
		}
		for name, content := range r.Settings.files() {
			if dir, base := filepath.Split(name); dir != networkDir+"/" && dir != timesyncDir+"/" || !strings.HasPrefix(base, "60-sluice") {
				t.Errorf("the file %q", name)
			}
			once := map[string]bool{}
			for line := range strings.Lines(content) {
				line = strings.TrimSuffix(line, "\n")
				key, value, _ := strings.Cut(line, "=")
				switch {
				case line == "", strings.HasPrefix(line, "# Made by "), strings.HasPrefix(line, "# Uplink "):
				case slices.Contains(sections, line):
				case !slices.Contains(keys, key) || strings.ContainsAny(value, "\r\x00*?[]!%\\\"'"):
					t.Errorf("the line %q", line)
				case strings.Contains(value, " ") && key != "NTP", once[key] && (key == "Name" || key == "DHCP"):
					t.Errorf("the line %q", line)
				default:
					once[key] = true
				}
			}
		}
	})
}

func TestHostHasNoNetwork(t *testing.T) {
	b := newFakeBox(t)
	b.failed["systemd-networkd"], b.failed["systemd-timesyncd"] = true, true
	if err := b.apply(t.Context(), Settings{Hostname: "ob-van-3"}); err != nil {
		t.Errorf("a name alone needs neither: %v", err)
	}
	b.hostnameIs(t, "ob-van-3")
	err := b.apply(t.Context(), Settings{Links: links()[:1]})
	if err == nil || errors.Is(err, ErrNoHost) || !strings.Contains(err.Error(), "systemd-networkd does not run") {
		t.Errorf("without networkd: %v", err)
	}
}
