package provisioning

import (
	"context"
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"sync"
	"time"

	"sluice/device"
	"sluice/device/system"
	"sluice/device/uplink"
	"sluice/provisioning/config"
	"sluice/provisioning/mqtt"
)

// A network is what the host was asked to be like, and how the fleet is
// reached. Both change with the document.
type network struct {
	host Host // nil: not ours to set

	mu     sync.Mutex
	wanted system.Settings
	asked  uint64        // counts what was wanted
	done   uint64        // of those, the last that was answered
	failed error         // the answer
	wake   chan struct{} // something new is wanted; capacity 1
	ended  chan struct{} // it was answered; capacity 1

	// What follows belongs to the goroutine of Agent.Run.
	due        bool   // the session is to be made anew
	generation uint64 // of the session that is made as the document says
}

func newNetwork(host Host) network {
	return network{host: host, wake: make(chan struct{}, 1), ended: make(chan struct{}, 1)}
}

// want says what the host is to be like. It does not wait.
func (n *network) want(s system.Settings) {
	if n.host == nil {
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.asked > 0 && n.failed == nil && reflect.DeepEqual(s, n.wanted) {
		return
	}
	n.wanted = s
	n.asked++
	signal(n.wake)
}

// signal leaves one token in a channel of capacity 1.
func signal(ch chan<- struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}

// hostAgain is how long after a failure the host is asked again.
const hostAgain = time.Minute

// run asks the host for what is wanted, until ctx is done.
func (n *network) run(ctx context.Context) {
	if n.host == nil {
		return
	}
	var again <-chan time.Time
	for {
		select {
		case <-ctx.Done():
			return
		case <-n.wake:
		case <-again:
		}
		n.mu.Lock()
		wanted, number := n.wanted, n.asked
		n.mu.Unlock()
		err := n.host.Set(ctx, wanted)
		if ctx.Err() != nil {
			return
		}
		n.mu.Lock()
		n.done, n.failed = number, err
		n.mu.Unlock()
		signal(n.ended)
		again = nil
		if err != nil {
			again = time.After(hostAgain)
		}
	}
}

// busy tells whether the host has not answered yet.
func (n *network) busy() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.done != n.asked
}

// await waits until the host has answered, but no longer than that.
func (n *network) await(ctx context.Context, patience time.Duration) {
	until := time.NewTimer(patience)
	defer until.Stop()
	for n.busy() {
		select {
		case <-ctx.Done():
			return
		case <-until.C:
			return
		case <-n.ended:
		}
	}
}

// failing tells whether the host answered that it could not; not that there is
// nobody to do it.
func (n *network) failing() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.done == n.asked && n.failed != nil && !errors.Is(n.failed, system.ErrNoHost)
}

// trouble says why the host is not as the document asks, empty if it is: also
// where somebody else has made it so.
func (n *network) trouble(uplinks []uplink.Status) string {
	n.mu.Lock()
	defer n.mu.Unlock()
	switch {
	case n.done != n.asked, n.failed == nil, errors.Is(n.failed, system.ErrNoHost) && !lacks(n.wanted, uplinks):
		return ""
	}
	return n.failed.Error()
}

// lacks tells whether the box cannot be seen to be as wanted. Who gave a NIC
// its address by DHCP, and where the time is from, cannot be seen; a NIC that is
// not there has an alarm of its own.
func lacks(s system.Settings, uplinks []uplink.Status) bool {
	if name, err := os.Hostname(); s.Hostname != "" && (err != nil || name != s.Hostname) || len(s.NTP) > 0 {
		return true
	}
	for _, l := range s.Links {
		i := slices.IndexFunc(uplinks, func(u uplink.Status) bool { return u.Name == l.Name })
		if i < 0 || uplinks[i].Interface == "" {
			continue
		}
		has := uplinks[i]
		if l.DHCP4 {
			return true
		}
		for _, p := range l.Addresses {
			if !slices.Contains(has.Addresses, p.Addr()) {
				return true
			}
		}
		for _, gateway := range []*netip.Addr{l.Gateway4, l.Gateway6} {
			if gateway != nil && !slices.Contains(has.Gateways, *gateway) {
				return true
			}
		}
	}
	return false
}

// hostSettings are what a document asks of the host. An uplink with neither
// addresses nor DHCP is left as the system has it.
func (a *Agent) hostSettings(f *inForce) system.Settings {
	d := f.document.State.Device
	s := system.Settings{Hostname: d.Hostname, NTP: d.NTP}
	byDefault := a.defaultOf(f)
	for _, u := range f.document.State.Uplinks {
		match := a.matchOf(u)
		if match == nil || !u.DHCP4 && len(u.Addresses) == 0 {
			continue
		}
		s.Links = append(s.Links, system.Link{
			Name: u.Name, Match: *match, Default: u.Name == byDefault, DHCP4: u.DHCP4, Addresses: u.Addresses,
			Gateway4: u.Gateway4, Gateway6: u.Gateway6, Nameservers: u.Nameservers,
		})
	}
	return s
}

// matchOf returns which NIC an uplink has: the command line's word counts.
func (a *Agent) matchOf(u uplink.Config) *uplink.Match {
	for _, l := range a.o.LocalUplinks {
		if l.Name == u.Name {
			return &uplink.Match{Interface: l.Interface}
		}
	}
	return u.Match
}

// defaultOf returns the uplink of what names none, empty if there is none.
func (a *Agent) defaultOf(f *inForce) string {
	if name := f.document.DefaultUplink(); name != "" || len(a.o.LocalUplinks) == 0 {
		return name
	}
	return a.o.LocalUplinks[0].Name // with no document yet, too
}

// A way is how the broker is reached under a document.
type way struct {
	broker device.Broker // zero: none; the command line's never changes
	legs   []uplink.Config
}

func (a *Agent) wayOf(f *inForce) way {
	var w way
	if b := managementOf(f.document).Broker; b != nil && a.o.Broker == nil {
		w.broker = *b
	}
	names := a.waysOf(f)
	if len(names) == 0 {
		names = []string{a.defaultOf(f)}
	}
	for _, name := range names {
		leg := uplink.Config{Name: name}
		i := slices.IndexFunc(f.document.State.Uplinks, func(u uplink.Config) bool { return u.Name == name })
		if i >= 0 {
			leg = f.document.State.Uplinks[i]
		}
		leg.Match = a.matchOf(leg)
		leg.Default, leg.AdvertiseHost = false, "" // which lead nowhere
		w.legs = append(w.legs, leg)
	}
	return w
}

// waysOf are the uplinks to try, in order: those of the command line, else the
// document's. None: the default uplink.
func (a *Agent) waysOf(f *inForce) []string {
	if len(a.o.BrokerUplinks) > 0 {
		return a.o.BrokerUplinks
	}
	return managementOf(f.document).Uplinks
}

// managementOf returns what a document says of management, zero if nothing.
func managementOf(d *config.Document) device.Management {
	if m := d.State.Device.Management; m != nil {
		return *m
	}
	return device.Management{}
}

// networkDiffers tells whether a box that obeys g is reached in another way
// than one that obeys f.
func (a *Agent) networkDiffers(f, g *inForce) bool {
	return a.linksDiffer(f, g) || !reflect.DeepEqual(a.wayOf(f), a.wayOf(g))
}

// linksDiffer tells whether the host's network is another.
func (a *Agent) linksDiffer(f, g *inForce) bool {
	return a.o.Host != nil && !reflect.DeepEqual(a.hostSettings(f).Links, a.hostSettings(g).Links)
}

// brokerOf is the broker that a document, or the command line, names; nil if
// there is none.
func (a *Agent) brokerOf(f *inForce) *mqtt.Config {
	var c mqtt.Config
	switch b := managementOf(f.document).Broker; {
	case a.o.Broker != nil:
		c = *a.o.Broker
	case b == nil:
		return nil
	default:
		c = mqtt.Config{Broker: b.URL, Username: b.Username, Password: b.Password}
		if b.CAFile != "" {
			c.CAFile = filepath.Join(a.o.StateDir, b.CAFile)
		}
	}
	c.ClientID = a.o.Device
	c.Presence = a.present
	if c.Log == nil {
		c.Log = a.log
	}
	if a.o.Dial != nil {
		c.Dialers = a.dialers
	}
	return &c
}

// dial has the session made anew, as the document in force says, if that is
// due: once the host is as it is to be, or at once.
func (a *Agent) dial(atOnce bool) {
	if !a.network.due || !atOnce && a.network.busy() {
		return
	}
	a.network.due = false
	broker := mqtt.Config{}
	if b := a.brokerOf(a.inForce.Load()); b != nil {
		broker = *b
	}
	generation, err := a.client.Use(broker)
	if err != nil { // it was validated
		a.log.Error("broker", "error", err)
		return
	}
	a.network.generation = generation
}

// reached tells whether there is a session that was made as the document in
// force says.
func (a *Agent) reached() bool {
	s := a.client.Status()
	return !a.network.due && !a.network.busy() && s.Ready && s.Generation >= a.network.generation
}

// dialers returns the ways to the broker.
func (a *Agent) dialers() []mqtt.Dialer {
	names := a.waysOf(a.inForce.Load())
	if len(names) == 0 {
		return []mqtt.Dialer{{Name: "default uplink", Dial: a.o.Dial("")}}
	}
	var all []mqtt.Dialer
	for _, name := range names {
		all = append(all, mqtt.Dialer{Name: name, Dial: a.o.Dial(name)})
	}
	return all
}
