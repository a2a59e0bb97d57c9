package uplink

import (
	"errors"
	"fmt"
	"net/netip"
	"reflect"
	"slices"

	"golang.org/x/sys/unix"

	"sluice/relay/endpoint"
)

// A sight is one role in one look.
type sight struct {
	role   *role
	config *Config // nil where the role is not configured
	slot   int
	facts  *facts
	nic    *nic // nil where there is none
}

// update looks at everything and brings every role, and the kernel's routing,
// in line. It keeps no account of what happened before: whatever the look
// shows is compared with what is wanted.
func (m *Manager) update() error {
	m.looking.Lock()
	defer m.looking.Unlock()
	nics, err := list()
	if err != nil {
		return fmt.Errorf("uplink: %w", err)
	}
	main, have, err := listRouting()
	if err != nil {
		return fmt.Errorf("uplink: %w", err)
	}
	sights := m.sights(nics)
	owners, others := ownersOf(sights)
	m.routes = m.routes || others
	var failed map[int]error
	want := wanted(owners, main)
	if m.routes && !m.ended {
		failed = difference(have, want).apply()
	}
	for _, s := range sights {
		s.route(want.routes, main, failed[firstTable+s.slot])
		s.keepARP(owners)
		m.publish(s.role, s.facts)
	}
	return nil
}

// sights returns all roles, the configured ones first and in their order.
func (m *Manager) sights(nics []nic) (sights []sight) {
	m.mu.Lock()
	defer m.mu.Unlock()
	see := func(r *role) {
		f, n := r.see(nics)
		sights = append(sights, sight{r, r.config.Load(), r.slot, f, n})
	}
	for _, name := range m.order {
		see(m.roles[name])
	}
	for name, r := range m.roles {
		if !slices.Contains(m.order, name) {
			see(r)
		}
	}
	return sights
}

// ownersOf returns the roles that are to have a routing table, and whether any
// role has a NIC other than the loopback.
func ownersOf(sights []sight) (owners []owner, others bool) {
	for _, s := range sights {
		if s.config == nil {
			continue
		}
		others = others || s.nic != nil && !s.nic.loopback
		if s.nic != nil && s.slot < slots {
			owners = append(owners, owner{s.slot, s.nic, s.config.Gateway4, s.config.Gateway6})
		}
	}
	return owners, others
}

// route completes the facts with how the NIC is routed. failed is why the
// role's table could not be made.
func (s *sight) route(wanted, main []route, failed error) {
	if s.nic == nil || s.nic.loopback {
		return
	}
	effective := wanted
	if failed != nil || s.slot >= slots {
		effective = main
		s.facts.routing = unrouted(s.role.name, s.nic.name, failed)
	}
	gateways := gatewaysOf(effective, s.nic.index)
	s.facts.gateways = gateways
	if s.role.routed != nil && !reflect.DeepEqual(s.role.routed, s.config.Match) {
		s.role.routed = nil
	}
	if len(gateways) > 0 {
		s.role.routed = s.config.Match
	}
	if s.facts.reason == nil {
		s.facts.reason = s.unroutable(gateways, failed)
	}
}

// gatewaysOf returns the router of the best default route through the NIC, of
// each family. A default route without a router counts as its own unspecified
// address.
func gatewaysOf(routes []route, index int) (gateways []netip.Addr) {
	for _, all := range []netip.Prefix{all4, all6} {
		var best *route
		for _, r := range routes {
			if r.dev == index && r.dst == all && (best == nil || r.metric < best.metric) {
				best = &r
			}
		}
		switch {
		case best == nil:
		case best.via.IsValid():
			gateways = append(gateways, best.via)
		default:
			gateways = append(gateways, all.Addr())
		}
	}
	return gateways
}

// unroutable returns why the uplink cannot reach beyond its own subnets, or
// nil where it can, or is not meant to.
func (s *sight) unroutable(gateways []netip.Addr, failed error) *endpoint.Reason {
	has := func(six bool) bool {
		return slices.ContainsFunc(gateways, func(g netip.Addr) bool { return g.Is6() == six })
	}
	for _, g := range []*netip.Addr{s.config.Gateway4, s.config.Gateway6} {
		switch {
		case g == nil || has(g.Is6()):
		case !s.nic.has(g.Is6()):
			return endpoint.Because("no_route", "uplink %s: %s has no address yet from which to reach its gateway %s", s.role.name, s.nic.name, g)
		case errors.Is(failed, unix.EPERM):
			return endpoint.Because("no_route", "uplink %s: the route through the gateway %s cannot be set: the program lacks CAP_NET_ADMIN", s.role.name, g)
		default:
			return endpoint.Because("no_route", "uplink %s: the route through the gateway %s cannot be set: %v", s.role.name, g, failed)
		}
	}
	if len(gateways) == 0 && (s.role.routed != nil || s.nic.lease.router) {
		return endpoint.Because("no_route", "uplink %s: %s has no default route yet", s.role.name, s.nic.name)
	}
	return nil
}

// unrouted says what an uplink without a table of its own lacks.
func unrouted(role, nic string, failed error) *endpoint.Reason {
	const meanwhile = "its sockets are bound to %[2]s and its address all the same, but only the main table's routes through %[2]s lead anywhere"
	switch {
	case failed == nil:
		return endpoint.Because("no_table", "uplink %[1]s has no routing table of its own: there are more than %[3]d uplinks; "+meanwhile, role, nic, slots)
	case errors.Is(failed, unix.EPERM):
		return endpoint.Because("no_privilege", "uplink %[1]s has no routing table of its own: the program lacks CAP_NET_ADMIN; "+meanwhile, role, nic)
	}
	return endpoint.Because("routing_failed", "uplink %[1]s has no complete routing table of its own: %[3]v; "+meanwhile, role, nic, failed)
}

// keepARP sets the NIC up for another one in the same subnet, if there is one.
func (s *sight) keepARP(owners []owner) {
	shared := s.nic != nil && !s.nic.loopback && slices.ContainsFunc(owners, func(o owner) bool {
		return o.nic.index != s.nic.index && !o.nic.loopback && o.nic.shares(s.nic)
	})
	if !shared {
		return
	}
	if err := keepARP(s.nic.name); err != nil && s.facts.routing == nil {
		s.facts.routing = endpoint.Because("arp_unfiltered", "uplink %s: another NIC is in the same subnet, and %s cannot be told to answer ARP for its own addresses alone: %v", s.role.name, s.nic.name, err)
	}
}

// publish makes the facts those of the role, and logs what matters of a change.
func (m *Manager) publish(r *role, now *facts) {
	before := r.facts.Swap(now)
	log := m.log.With("uplink", r.name, "interface", now.nic)
	switch {
	case now.reason == nil && (before.reason != nil || !slices.Equal(before.addresses, now.addresses) || !slices.Equal(before.gateways, now.gateways)):
		log.Info("uplink ready", "addresses", now.addresses, "gateways", now.gateways)
	case now.reason != nil && (before.reason == nil || before.reason.Code != now.reason.Code):
		log.Warn("uplink not ready", "reason", now.reason.Message)
	}
	if now.routing != nil && (before.routing == nil || before.routing.Message != now.routing.Message) {
		log.Warn("uplink not routed as it should be", "reason", now.routing.Message)
	}
}

// unroute takes our routing away, at the end.
func (m *Manager) unroute() {
	m.looking.Lock()
	defer m.looking.Unlock()
	if !m.routes {
		return
	}
	m.ended = true
	_, have, err := listRouting()
	if err == nil {
		difference(have, routing{}).apply()
	}
}
