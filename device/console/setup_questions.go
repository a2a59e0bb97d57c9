package console

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strings"

	"sluice/device/console/edit"
)

func say(text string) func() string { return func() string { return text } }

// questions are all of them, in order. Which are needed depends on the answers.
func (w *wizard) questions() []*question {
	all := []*question{{
		name: "hostname", text: say("Name of this box"), proposed: w.nameProposed,
		more: "The name of the box in its network and in the fleet's lists: letters, digits and - between them.",
	}}
	for i := range w.nics {
		all = append(all, w.nicQuestions(i)...)
	}
	all = append(all,
		&question{
			name: "default", text: say("Which is the default uplink"), proposed: w.defaultProposed,
			needed: func() bool { return len(w.roles()) > 1 }, check: w.oneOfRoles,
			more: "Whatever names no uplink goes through this one: outputs, name resolution, time. Mostly the one that leads to the internet.",
		},
		&question{
			name: "ntp", text: say("Time servers"), proposed: func() string { return orNone(w.now("device", "ntp")) },
			more: "Names or addresses of up to four NTP servers, with a space between them. none: as the system has it.",
		})
	all = append(all, w.fleetQuestions()...)
	all = append(all, w.flowQuestions()...)
	return all
}

func orNone(s string) string {
	if s == "" {
		return none
	}
	return s
}

func (w *wizard) nameProposed() string {
	if name := w.now("device", "hostname"); name != "" {
		return name
	}
	return strings.ToLower(w.box)
}

// nicQuestions are those of one interface.
func (w *wizard) nicQuestions(i int) []*question {
	n := w.nics[i]
	role := "role " + n.Name
	has := func() bool { return w.given(role) != "" }
	static := func() bool { return has() && len(w.addresses(n)) > 0 }
	of := func(what string) func() string {
		return func() string { return fmt.Sprintf("%s of %s (%s)", what, w.is(role), n.Name) }
	}
	var first func(context.Context) string
	if i == 0 {
		first = w.interfaces
	}
	return []*question{
		{
			name: role, before: first, text: func() string { return fmt.Sprintf("Role of %s (%s, %s)", n.Name, dash(n.MAC), w.nics[i].link()) },
			proposed: func() string { return w.roleProposed(i) }, check: func(a string) (string, error) { return w.roleFree(i, a) },
			more: "A role names what a NIC is for, and everything else refers to it: lan0 for the cameras and encoders, wan0 for the way out, wan1 for a second one. none: it is not used.",
		},
		{
			name: "address " + n.Name, needed: has, text: of("Address"),
			proposed: func() string { return w.addressProposed(n) }, check: addressed,
			more: "dhcp: the network gives an address. Or type the address with its prefix length, such as 192.0.2.9/24, several with a space between them. none: it is left as the system has it.",
		},
		{
			name: "gateway " + n.Name, needed: static, text: of("Gateway"),
			proposed: func() string { return w.gatewayProposed(n) },
			check:    func(a string) (string, error) { return w.reachable(n, a) },
			more:     "The router that leads out of this network. none where there is nothing behind it, as on an encoder LAN.",
		},
		{
			name: "dns " + n.Name, needed: static, text: of("Name servers"),
			proposed: func() string { return orNone(w.now("uplinks", w.roleOf(n), "nameservers")) },
			more:     "Addresses of up to four name servers that are reached through this NIC, with a space between them. none where names are not looked up here.",
		},
	}
}

// roles are those that were given, in the order of the NICs.
func (w *wizard) roles() (names []string) {
	for _, n := range w.nics {
		if r := w.given("role " + n.Name); r != "" {
			names = append(names, r)
		}
	}
	return names
}

// roleProposed is the role that a NIC has, or the next of lan0, wan0, wan1 ...
func (w *wizard) roleProposed(i int) string {
	if r := w.roleOf(w.nics[i]); r != "" {
		return r
	}
	taken := append(w.roles(), w.uplinksOf(w.tree)...)
	names := []string{"lan0"}
	if len(w.nics) == 1 {
		names = nil // one that has to do for both
	}
	for j := range maxNICs {
		names = append(names, fmt.Sprintf("wan%d", j))
	}
	for _, name := range names {
		if !slices.Contains(taken, name) {
			return name
		}
	}
	return none
}

func (w *wizard) roleFree(i int, role string) (string, error) {
	nic := w.nics[i].Name
	switch own := w.local.of(nic); {
	case own != "" && own != role:
		return "", fmt.Errorf("the command line of the box gives %s the role %s: it keeps that", nic, own)
	case own == "" && w.local.has(role):
		return "", fmt.Errorf("the command line of the box gives the role %s to another NIC: use another role", role)
	}
	for j, n := range w.nics {
		if j != i && role != none && w.is("role "+n.Name) == role {
			if j > i {
				delete(w.answers, "role "+n.Name) // it is asked for again
				continue
			}
			return "", fmt.Errorf("%s is %s already: give each NIC its own role", role, n.Name)
		}
	}
	return role, nil
}

func (w *wizard) oneOfRoles(a string) (string, error) {
	if roles := w.roles(); !slices.Contains(roles, a) {
		return "", fmt.Errorf("there is no uplink %q: it is %s", brief(a), orWords(roles))
	}
	return a, nil
}

func (w *wizard) defaultProposed() string {
	roles := w.roles()
	for _, r := range roles {
		if w.now("uplinks", r, "default") == "true" {
			return r
		}
	}
	if first := w.local.first(); slices.Contains(roles, first) {
		return first // as it is now
	}
	for _, r := range roles {
		if strings.HasPrefix(r, "wan") {
			return r
		}
	}
	return roles[0]
}

const byDHCP = "dhcp"

func (w *wizard) addressProposed(n nic) string {
	r := w.roleOf(n)
	switch a := w.now("uplinks", r, "addresses"); {
	case r == "", w.now("uplinks", r, "dhcp4") == "true":
		return byDHCP
	case a == "":
		return none
	default:
		return a
	}
}

// addressed takes dhcp, none or addresses with their prefix length.
func addressed(a string) (string, error) {
	if lower := strings.ToLower(a); lower == byDHCP || lower == none {
		return lower, nil
	}
	for word := range strings.FieldsSeq(a) {
		p, err := netip.ParsePrefix(word)
		switch addr, bare := netip.ParseAddr(word); {
		case err != nil && bare == nil:
			usual := 24
			if addr.Is6() {
				usual = 64
			}
			return "", fmt.Errorf("%s lacks its prefix length: type it as %s/%d", word, word, usual)
		case err != nil:
			return "", fmt.Errorf("%q is no address: type dhcp, none, or one such as 192.0.2.9/24", brief(word))
		case p.Bits() < p.Addr().BitLen()-1 && p.Addr() == p.Masked().Addr():
			return "", fmt.Errorf("%s is the network itself: type the address of the box in it", word)
		}
	}
	return a, nil
}

// addresses are the static ones of a NIC.
func (w *wizard) addresses(n nic) (all []netip.Prefix) {
	for word := range strings.FieldsSeq(w.given("address " + n.Name)) {
		if p, err := netip.ParsePrefix(word); err == nil {
			all = append(all, p)
		}
	}
	return all
}

func (w *wizard) gatewayProposed(n nic) string {
	r := w.roleOf(n)
	for _, field := range []string{"gateway4", "gateway6"} {
		if g := w.now("uplinks", r, field); r != "" && g != "" {
			return g
		}
	}
	a := w.addresses(n)[0]
	if first := a.Masked().Addr().Next(); strings.HasPrefix(w.is("role "+n.Name), "wan") && a.Addr().Is4() && a.Bits() < 31 && first != a.Addr() {
		return first.String()
	}
	return none
}

// reachable takes a gateway that one of the addresses reaches.
func (w *wizard) reachable(n nic, answer string) (string, error) {
	if answer == none {
		return none, nil
	}
	g, err := netip.ParseAddr(answer)
	if err != nil {
		return "", fmt.Errorf("%q is no address: type one, or none", brief(answer))
	}
	if g.IsLinkLocalUnicast() {
		return answer, nil
	}
	for _, a := range w.addresses(n) {
		switch {
		case a.Addr() == g:
			return "", fmt.Errorf("%s is the box itself: the gateway is another one", answer)
		case a.Contains(g):
			return answer, nil
		}
	}
	return "", fmt.Errorf("%s cannot be reached from %s: it is in another network", answer, w.is("address "+n.Name))
}

const (
	yes = "yes"
	no  = "no"
)

// fleetQuestions are those of the broker. One that the command line gives is
// not asked for.
func (w *wizard) fleetQuestions() []*question {
	at := func(field string) []string { return []string{"device", "management", "broker", field} }
	mine := func() bool { return w.broker == "" || w.has(at("url")...) }
	has := func() bool { return mine() && w.given("broker") != "" }
	named := func() bool { return has() && w.given("broker user") != "" }
	return []*question{
		{
			name: "broker", needed: mine, text: say("Fleet broker"), proposed: func() string { return orNone(w.now(at("url")...)) }, check: brokerURL,
			more: "The MQTT broker through which a fleet manager sees and sets up this box, such as mqtts://fleet.example.com. none: the box is on its own.",
		},
		{
			name: "broker user", needed: has, text: say("User at the broker"),
			proposed: func() string {
				if u := w.now(at("username")...); u != "" {
					return u
				}
				return w.is("hostname")
			},
			more: "The name under which this box logs in at the broker. none where it asks for no name.",
		},
		{
			name: "broker password", needed: named, secret: true, text: say("Password at the broker"),
			kept: func() bool {
				return w.has(at("password")...) && w.is("broker user") == w.now(at("username")...) && edit.SameHost(w.is("broker"), w.now(at("url")...))
			},
			more: "It is not shown, and asked for twice. < goes back.",
		},
	}
}

func brokerURL(a string) (string, error) {
	if a == none {
		return a, nil
	}
	u, err := url.Parse(a)
	switch {
	case err != nil || u.Host == "" || !slices.Contains([]string{"mqtt", "mqtts", "ws", "wss"}, u.Scheme):
		return "", errors.New("a broker is such as mqtts://fleet.example.com or wss://fleet.example.com/mqtt")
	case u.User != nil:
		return "", errors.New("leave user and password out of it: they are asked for")
	}
	return a, nil
}
