package uplink

import (
	"net/netip"
	"slices"
	"sync/atomic"

	"sluice/relay/endpoint"
)

// A role is one uplink by name. It implements endpoint.Uplink, and outlives
// every change of its configuration and of its NIC.
type role struct {
	name   string
	config atomic.Pointer[Config] // nil while the role is not configured
	facts  atomic.Pointer[facts]
	asked  atomic.Uint32 // queries so far: which name server is next
	slot   int           // of its routing table, -1 while it is not configured; under Manager.mu

	// routed is the match under which the NIC last had a default route: from
	// then on it needs one. It belongs to who looks.
	routed *Match
}

var _ endpoint.Uplink = (*role)(nil)

// facts are what was last seen of a role's NIC. They are immutable.
type facts struct {
	index      int    // of the NIC in the kernel, 0 while there is none
	nic        string // its name
	loopback   bool
	carrier    bool
	reason     *endpoint.Reason // why it is not ready
	addresses  []netip.Addr     // sorted
	gateways   []netip.Addr     // at most one of each family
	servers    []netip.Addr     // name servers that the NIC's DHCP lease names
	routing    *endpoint.Reason // why it has no routing table of its own
	generation uint64
}

func newRole(name string) *role {
	r := &role{name: name, slot: -1}
	r.facts.Store(&facts{reason: r.unknown()})
	return r
}

// unknown says that no configuration names this role.
func (r *role) unknown() *endpoint.Reason {
	if r.name == "" {
		return endpoint.Because("uplink_unknown", "no uplink is named and there is no default one")
	}
	return endpoint.Because("uplink_unknown", "uplink %s is not configured", r.name)
}

// see returns the facts of the role for the NICs that there are, and its NIC.
func (r *role) see(nics []nic) (*facts, *nic) {
	old := r.facts.Load()
	f := &facts{generation: old.generation}
	c := r.config.Load()
	var n *nic
	var why *endpoint.Reason
	if c == nil {
		f.reason = r.unknown()
	} else if n, why = find(nics, c.Match); why != nil {
		f.reason = endpoint.Because(why.Code, "uplink %s: %s", r.name, why.Message)
	} else {
		f.index, f.nic, f.loopback, f.carrier, f.addresses, f.servers = n.index, n.name, n.loopback, n.carrier, n.addresses, n.lease.servers
		if why := n.unready(); why != nil {
			f.reason = endpoint.Because(why.Code, "uplink %s: %s", r.name, why.Message)
		}
	}
	if lostSockets(old, f) {
		f.generation++
	}
	return f, n
}

// lostSockets tells whether sockets made before are of no use now: the NIC is
// another one, or an address that they may carry has gone. A new address beside
// the old ones, and a carrier that comes and goes, leave them as they are.
func lostSockets(old, now *facts) bool {
	if old.index != now.index || old.nic != now.nic {
		return old.index != 0
	}
	for _, a := range old.addresses {
		if !slices.Contains(now.addresses, a) {
			return true
		}
	}
	return false
}

func (r *role) Name() string { return r.name }

func (r *role) Ready() *endpoint.Reason { return r.facts.Load().reason }

func (r *role) Interface() string { return r.facts.Load().nic }

func (r *role) Addresses() []netip.Addr { return slices.Clone(r.facts.Load().addresses) }

func (r *role) Generation() uint64 { return r.facts.Load().generation }

func (r *role) AdvertiseHost() string {
	if c := r.config.Load(); c != nil {
		return c.AdvertiseHost
	}
	return ""
}
