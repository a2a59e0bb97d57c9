package provisioning

import (
	"fmt"
	"slices"

	"sluice/device"
	"sluice/device/uplink"
	"sluice/provisioning/config"
	"sluice/provisioning/mqtt"
	"sluice/relay/endpoint"
)

// What leads to the fleet's broker is owned by whoever could not mend it from
// afar: what the command line says no document changes, and what was set at
// the box the fleet changes only where the box allows it. A document that does
// not mention it keeps it.

// What can be owned.
const (
	ownedBroker  = "broker"
	ownedUplinks = "uplinks"
)

const managementAt = "/state/device/management"

// contradictions lists where a document would change what the command line
// owns. To say nothing of it, or the same, is no contradiction.
func (a *Agent) contradictions(s *config.Settings) (faults []endpoint.Fault) {
	for i, u := range s.Uplinks {
		for _, local := range a.o.LocalUplinks {
			if u.Match == nil {
				continue
			}
			at, same := fmt.Sprintf("/state/uplinks/%d/match", i), *u.Match == uplink.Match{Interface: local.Interface}
			switch {
			case u.Name == local.Name && !same:
				faults = append(faults, endpoint.Fault{
					Pointer: at, Code: faultForbidden,
					Message: fmt.Sprintf("the command line gives %s to interface %s: leave match out, or give the same", u.Name, local.Interface),
				})
			case u.Name != local.Name && same:
				faults = append(faults, endpoint.Fault{
					Pointer: at, Code: faultForbidden,
					Message: fmt.Sprintf("the command line gives interface %s to %s: give %s another NIC", local.Interface, local.Name, u.Name),
				})
			}
		}
	}
	m := s.Device.Management
	if m == nil {
		return faults
	}
	if len(a.o.BrokerUplinks) > 0 && len(m.Uplinks) > 0 && !slices.Equal(m.Uplinks, a.o.BrokerUplinks) {
		faults = append(faults, endpoint.Fault{
			Pointer: "/state/device/management/uplinks", Code: faultForbidden,
			Message: fmt.Sprintf("the command line reaches the broker through %v: leave uplinks out, or give the same", a.o.BrokerUplinks),
		})
	}
	if m.Broker != nil && a.o.Broker != nil {
		faults = append(faults, otherBroker(*m.Broker, *a.o.Broker)...)
	}
	return faults
}

// otherBroker lists where a document's broker is not the command line's.
func otherBroker(b device.Broker, local mqtt.Config) (faults []endpoint.Fault) {
	const at = managementAt + "/broker"
	denied := func(field, message string) {
		faults = append(faults, endpoint.Fault{Pointer: at + "/" + field, Code: faultForbidden, Message: message})
	}
	theirs, err := device.ParseBroker(b.URL)
	ours, err2 := device.ParseBroker(local.Broker)
	if err != nil || err2 != nil || theirs.String() != ours.String() {
		denied("url", "the command line names the broker: leave broker out, or give the same")
	}
	if b.Username != local.Username {
		denied("username", "the command line says as whom the box comes to the broker: leave broker out, or give the same")
	}
	if b.Password.IsSet() {
		denied("password", "the command line says where the broker's password is: leave it out")
	}
	if b.CAFile != "" {
		denied("ca_file", "the command line says who signs for the broker: leave ca_file out")
	}
	return faults
}

// adopt gives a document of the fleet what was set at the box and it does not
// mention, and lists where it says otherwise.
func (a *Agent) adopt(d *config.Document) (faults []endpoint.Fault) {
	f := a.inForce.Load()
	was, is := managementOf(f.document), managementOf(d)
	denied := func(at, format string, args ...any) {
		faults = append(faults, endpoint.Fault{Pointer: at, Code: faultForbidden, Message: fmt.Sprintf(format, args...)})
	}
	if is.AllowFleet && !was.AllowFleet {
		denied(managementAt+"/allow_fleet", "only an edit at the box lets the fleet change what was set there: leave allow_fleet out")
	}
	is.AllowFleet = was.AllowFleet
	for _, what := range f.owned {
		switch {
		case what == ownedBroker && is.Broker == nil:
			is.Broker = was.Broker
		case what == ownedBroker && !sameBroker(is.Broker, was.Broker) && !was.AllowFleet:
			denied(managementAt+"/broker", "the broker was set at the box: leave broker out, or have allow_fleet set there")
		case what == ownedUplinks && len(is.Uplinks) == 0:
			is.Uplinks = was.Uplinks
			for _, name := range was.Uplinks {
				if !a.hasUplink(d, name) {
					denied("/state/uplinks", "the box reaches its broker through %s, as was set there: keep that uplink", name)
				}
			}
		case what == ownedUplinks && !slices.Equal(is.Uplinks, was.Uplinks) && !was.AllowFleet:
			denied(managementAt+"/uplinks", "the uplinks that lead to the broker were set at the box: leave uplinks out, or have allow_fleet set there")
		}
	}
	if is.Broker != nil || len(is.Uplinks) > 0 || is.AllowFleet {
		d.State.Device.Management = &is
	}
	return faults
}

func (a *Agent) hasUplink(d *config.Document, name string) bool {
	return slices.ContainsFunc(d.State.Uplinks, func(u uplink.Config) bool { return u.Name == name }) ||
		slices.ContainsFunc(a.o.LocalUplinks, func(l uplink.Local) bool { return l.Name == name })
}

func sameBroker(a, b *device.Broker) bool {
	if a == nil || b == nil {
		return a == b
	}
	return *a == *b
}

// ownedAfter is what is owned once a document follows the one in force: what
// an edit at the box sets is from then on, and what the fleet changes is no
// longer.
func ownedAfter(f *inForce, d *config.Document, local bool) (owned []string) {
	was, is := managementOf(f.document), managementOf(d)
	for _, each := range []struct {
		name      string
		set, same bool
	}{
		{ownedBroker, is.Broker != nil, sameBroker(is.Broker, was.Broker)},
		{ownedUplinks, len(is.Uplinks) > 0, slices.Equal(is.Uplinks, was.Uplinks)},
	} {
		if each.set && (each.same && slices.Contains(f.owned, each.name) || !each.same && local) {
			owned = append(owned, each.name)
		}
	}
	return owned
}

// ownedLocally is all that the fleet may not change now.
func (a *Agent) ownedLocally() []string {
	f := a.inForce.Load()
	owned := []string{}
	free := managementOf(f.document).AllowFleet
	for _, each := range []struct {
		name        string
		commandLine bool
	}{{ownedBroker, a.o.Broker != nil}, {ownedUplinks, len(a.o.BrokerUplinks) > 0}} {
		if each.commandLine || !free && slices.Contains(f.owned, each.name) {
			owned = append(owned, each.name)
		}
	}
	return owned
}
