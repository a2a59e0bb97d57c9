package relaytest

import (
	"net"
	"net/netip"
	"sync"

	"sluice/relay/endpoint"
)

// An Uplink is a fake endpoint.Uplink: its sockets are bound to nothing, and a
// test says when it is ready. Make it with NewUplink.
type Uplink struct {
	name string

	mu         sync.Mutex
	unready    *endpoint.Reason
	generation uint64
	advertise  string
	addresses  []netip.Addr
}

// NewUplink returns an uplink that is ready.
func NewUplink(name string, addresses ...netip.Addr) *Uplink {
	return &Uplink{name: name, generation: 1, addresses: addresses}
}

// Up makes the uplink ready.
func (u *Uplink) Up() { u.set(func() { u.unready = nil }) }

// Down makes the uplink not ready, as after a pulled cable.
func (u *Uplink) Down() {
	u.set(func() { u.unready = endpoint.Because("no_carrier", "%s has no carrier", u.name) })
}

// Renew makes all sockets so far unusable, as a changed address does.
func (u *Uplink) Renew() { u.set(func() { u.generation++ }) }

// Advertise sets the host of playback URLs.
func (u *Uplink) Advertise(host string) { u.set(func() { u.advertise = host }) }

func (u *Uplink) set(f func()) {
	u.mu.Lock()
	defer u.mu.Unlock()
	f()
}

func (u *Uplink) Name() string { return u.name }

func (u *Uplink) Ready() *endpoint.Reason {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.unready
}

func (u *Uplink) Generation() uint64 {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.generation
}

func (u *Uplink) AdvertiseHost() string {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.advertise
}

func (u *Uplink) Addresses() []netip.Addr         { return u.addresses }
func (u *Uplink) Interface() string               { return "" }
func (u *Uplink) Dialer() *net.Dialer             { return &net.Dialer{} }
func (u *Uplink) ListenConfig() *net.ListenConfig { return &net.ListenConfig{} }
func (u *Uplink) Resolver() *net.Resolver         { return net.DefaultResolver }
