package uplink

import (
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"sync"

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
	Addresses []netip.Addr
	RxBytes   uint64 // of the NIC since it came up, whoever used it
	TxBytes   uint64
}

// A Manager keeps the uplinks in step with the box's NICs. Make it with New.
type Manager struct {
	log    *slog.Logger
	locals []Local
	look   chan struct{} // asks Run to look again; capacity 1

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
	m.mu.Lock()
	defer m.mu.Unlock()
	merged := withLocals(configs, m.locals)
	m.order = m.order[:0]
	m.general = ""
	for _, c := range merged {
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
		}
	}
	for _, c := range merged {
		m.role(c.Name).config.Store(&c)
	}
	return m.update()
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
		s := Status{Name: r.name, Interface: f.nic, Ready: f.reason == nil, Reason: f.reason, Addresses: f.addresses}
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

// update lists the NICs and brings every role in line. m.mu is held.
func (m *Manager) update() error {
	nics, err := list()
	if err != nil {
		return fmt.Errorf("uplink: %w", err)
	}
	for _, r := range m.roles {
		before := r.facts.Load()
		after := r.see(nics)
		if before.same(after) {
			continue
		}
		r.facts.Store(after)
		switch {
		case after.reason == nil:
			m.log.Info("uplink ready", "uplink", r.name, "interface", after.nic, "addresses", after.addresses)
		case before.reason == nil || before.reason.Code != after.reason.Code:
			m.log.Warn("uplink not ready", "uplink", r.name, "interface", after.nic, "reason", after.reason.Message)
		}
	}
	return nil
}
