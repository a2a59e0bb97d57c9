package system

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"sluice/device/uplink"
)

const (
	// hardTime is how long a NIC may take to have the addresses that its file
	// says, softTime how long we wait for what may never come: DHCP, or IPv6
	// where there is no carrier.
	hardTime = 8 * time.Second
	softTime = 3 * time.Second
)

// A networkd is what systemd-networkd shows of the NICs, and what they have.
type networkd struct {
	root       string
	nics       func() ([]Interface, error)
	addresses  func(nic string) (index int, all []netip.Prefix)
	hard, soft time.Duration
}

func newNetworkd(root string) networkd {
	return networkd{root: root, nics: New().Interfaces, addresses: addressesOf, hard: hardTime, soft: softTime}
}

func addressesOf(nic string) (index int, all []netip.Prefix) {
	i, err := net.InterfaceByName(nic)
	if err != nil {
		return 0, nil
	}
	addrs, _ := i.Addrs()
	for _, a := range addrs {
		if p, err := netip.ParsePrefix(a.String()); err == nil {
			all = append(all, p)
		}
	}
	return i.Index, all
}

// errSoft is what need not come.
var errSoft = errors.New("networkd is not through with it")

// await returns when networkd has done what the changed files say, as far as
// it can: a NIC that is not there, has no carrier or finds no DHCP server is no
// fault of the settings. The error is that a NIC has not what they say.
func (n networkd) await(ctx context.Context, s Settings, had, want map[string]string) error {
	began := time.Now()
	for {
		err := n.look(s, had, want)
		waited := time.Since(began)
		switch {
		case err == nil:
			return nil
		case errors.Is(err, errSoft) && waited >= n.soft:
			return nil
		case waited >= n.hard:
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// look returns why it is not done yet; what is worse than errSoft comes first.
func (n networkd) look(s Settings, had, want map[string]string) error {
	var all []Interface
	soft := error(nil)
	for _, l := range s.Links {
		if file := networkFile(l.Name); same(had, want, file) {
			continue
		}
		if all == nil {
			var err error
			if all, err = n.nics(); err != nil {
				return err
			}
		}
		at := slices.IndexFunc(all, func(i Interface) bool { return matches(i, l.Match) })
		if at < 0 {
			continue
		}
		switch err := n.check(l, all[at].Name); {
		case errors.Is(err, errSoft):
			soft = err
		case err != nil:
			return err
		}
	}
	for name := range had {
		if _, ok := want[name]; !ok && n.uses("/"+name) {
			soft = errSoft
		}
	}
	return soft
}

func matches(i Interface, m uplink.Match) bool {
	mac, _ := net.ParseMAC(m.MAC)
	return i.Name == m.Interface || i.Path != "" && i.Path == m.Path || mac != nil && i.MAC == mac.String()
}

func (n networkd) check(l Link, nic string) error {
	index, has := n.addresses(nic)
	state := n.state(fmt.Sprint(index))
	switch by := state["NETWORK_FILE"]; {
	case by == "":
		return fmt.Errorf("systemd-networkd does not manage %s", nic)
	case by != "/"+networkFile(l.Name):
		return fmt.Errorf("%s is as %s says: take that file away, or the uplink's settings", nic, by)
	case state["ADMIN_STATE"] == "failed":
		return fmt.Errorf("systemd-networkd could not set %s up: see journalctl -u systemd-networkd", nic)
	}
	for _, a := range l.Addresses {
		if !slices.Contains(has, a) {
			return fmt.Errorf("%s does not get the address %s", nic, a)
		}
	}
	if state["ADMIN_STATE"] != "configured" {
		return errSoft
	}
	return nil
}

// uses tells whether a NIC is as a file says.
func (n networkd) uses(file string) bool {
	links, _ := filepath.Glob(filepath.Join(n.root, "run/systemd/netif/links/*"))
	return slices.ContainsFunc(links, func(link string) bool {
		return n.state(filepath.Base(link))["NETWORK_FILE"] == file
	})
}

// state returns what networkd keeps of a NIC, by its index: the file that
// sd-network reads.
func (n networkd) state(index string) map[string]string {
	all := make(map[string]string)
	text, _ := os.ReadFile(filepath.Join(n.root, "run/systemd/netif/links", index))
	for line := range strings.Lines(string(text)) {
		if key, value, ok := strings.Cut(strings.TrimSpace(line), "="); ok {
			all[key] = value
		}
	}
	return all
}
