package uplink

import (
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/vishvananda/netlink"

	"sluice/relay/endpoint"
)

// A Local is a role that the command line gives to a NIC. It is locally owned:
// no document takes it away or gives it to another NIC.
type Local struct {
	Name      string
	Interface string
}

// ParseLocal reads NAME=INTERFACE.
func ParseLocal(s string) (Local, error) {
	name, nic, ok := strings.Cut(s, "=")
	if !ok || name == "" || nic == "" || len(nic) > 15 || len(name) > 32 {
		return Local{}, fmt.Errorf("%q is not NAME=INTERFACE, such as lan0=eth0", s)
	}
	return Local{Name: name, Interface: nic}, nil
}

// Status is what an uplink is doing, at one moment.
type Status struct {
	Name      string
	Interface string // empty while there is no NIC
	Ready     bool
	Reason    *endpoint.Reason // why it is not ready
	Carrier   bool
	Addresses []netip.Addr
	Gateways  []netip.Addr // routers in use, at most one of each family
	// Routing says why the uplink has no routing table of its own, or only
	// part of one; nil where it has it. Sockets are bound to the NIC and its
	// address all the same.
	Routing *endpoint.Reason
	RxBytes uint64 // of the NIC since it came up, whoever used it
	TxBytes uint64
}

// A Manager keeps the uplinks in step with the box's NICs, and the kernel's
// routing in step with the uplinks. Make it with New.
type Manager struct {
	log    *slog.Logger
	locals []Local
	look   chan struct{} // asks Run to look again; capacity 1
	// eventBuffer is the size of the event socket's receive buffer in bytes,
	// 0 for the system's.
	eventBuffer int
	alive       atomic.Pointer[time.Time]

	looking sync.Mutex // one look at a time; guards the next two
	routes  bool       // routing is ours to keep: there was an uplink other than the loopback
	ended   bool       // Run has returned and taken our routing away

	mu      sync.Mutex // guards what follows; readers of a role's facts never take it
	roles   map[string]*role
	order   []string // names of the configured roles
	general string   // name of the default role, empty if none
}

// New returns a Manager of the locally owned roles alone. It has looked at the
// NICs once; Run keeps looking.
func New(locals []Local, log *slog.Logger) *Manager {
	m := &Manager{
		log:    log,
		locals: slices.Clone(locals),
		look:   make(chan struct{}, 1),
		roles:  make(map[string]*role),
	}
	m.Set(nil)
	return m
}

// Set makes the uplinks those of configs and the locally owned ones, and looks
// at the NICs before it returns. A role that is no longer configured stays
// known to those who hold it, and is not ready. The error says that the NICs
// could not be listed; the configuration is taken all the same.
func (m *Manager) Set(configs []Config) error {
	m.take(withLocals(configs, m.locals))
	return m.update()
}

func (m *Manager) take(configs []Config) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.order = m.order[:0]
	m.general = ""
	for _, c := range configs {
		m.order = append(m.order, c.Name)
		if c.Default {
			m.general = c.Name
		}
	}
	if m.general == "" && len(m.locals) > 0 {
		m.general = m.locals[0].Name
	}
	for name, r := range m.roles {
		if !slices.Contains(m.order, name) {
			r.config.Store(nil)
			r.slot = -1
		}
	}
	for _, c := range configs {
		r := m.role(c.Name)
		r.config.Store(&c)
		if r.slot < 0 {
			r.slot = m.freeSlot()
		}
	}
}

// freeSlot returns the lowest slot that no role has. m.mu is held.
func (m *Manager) freeSlot() int {
	taken := make(map[int]bool)
	for _, r := range m.roles {
		taken[r.slot] = true
	}
	slot := 0
	for taken[slot] {
		slot++
	}
	return slot
}

// withLocals returns configs with the command line's roles: a local role keeps
// its NIC and takes everything else from the document.
func withLocals(configs []Config, locals []Local) []Config {
	merged := slices.Clone(configs)
	for _, l := range locals {
		match := &Match{Interface: l.Interface}
		i := slices.IndexFunc(merged, func(c Config) bool { return c.Name == l.Name })
		if i < 0 {
			merged = append(merged, Config{Name: l.Name, Match: match})
			continue
		}
		merged[i].Match = match
	}
	return merged
}

// role returns the role of that name, making it if need be. m.mu is held.
func (m *Manager) role(name string) *role {
	r := m.roles[name]
	if r == nil {
		r = newRole(name)
		m.roles[name] = r
	}
	return r
}

// Get returns the uplink of that name, or the default one for an empty name.
// It never returns nil: a role that is not configured is never ready, and
// comes to life once it is.
func (m *Manager) Get(name string) endpoint.Uplink {
	m.mu.Lock()
	defer m.mu.Unlock()
	if name == "" {
		name = m.general
	}
	return m.role(name)
}

// Default returns the name of the uplink that serves what names none; empty if
// there is no such uplink.
func (m *Manager) Default() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.general
}

// Status returns the configured uplinks in their order, with counters as they
// are now.
func (m *Manager) Status() []Status {
	m.mu.Lock()
	roles := make([]*role, 0, len(m.order))
	for _, name := range m.order {
		roles = append(roles, m.roles[name])
	}
	m.mu.Unlock()
	all := make([]Status, 0, len(roles))
	for _, r := range roles {
		f := r.facts.Load()
		s := Status{
			Name: r.name, Interface: f.nic, Ready: f.reason == nil, Reason: f.reason,
			Carrier: f.carrier, Addresses: slices.Clone(f.addresses), Gateways: slices.Clone(f.gateways), Routing: f.routing,
		}
		if f.index > 0 {
			s.RxBytes, s.TxBytes = counters(f.index)
		}
		all = append(all, s)
	}
	return all
}

// counters returns the NIC's byte counters, zero once it is gone.
func counters(index int) (rx, tx uint64) {
	link, err := netlink.LinkByIndex(index)
	if err != nil || link.Attrs().Statistics == nil {
		return 0, 0
	}
	st := link.Attrs().Statistics
	return st.RxBytes, st.TxBytes
}

// Look asks Run to look at the NICs again.
func (m *Manager) Look() {
	select {
	case m.look <- struct{}{}:
	default:
	}
}
