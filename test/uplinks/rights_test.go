package uplinks

import (
	"strings"
	"testing"
	"time"

	"sluice/test/harness"
)

// withOnly is the command that starts a program as nobody, with the named
// capabilities alone.
func withOnly(t *testing.T, capabilities ...string) []string {
	t.Helper()
	only := "-all"
	for _, c := range capabilities {
		only += ",+" + c
	}
	return []string{
		harness.Need(t, "setpriv", "util-linux"), "--reuid=65534", "--regid=65534", "--clear-groups", "--no-new-privs",
		"--bounding-set=" + only, "--inh-caps=" + only, "--ambient-caps=" + only,
	}
}

// With CAP_NET_ADMIN alone both uplinks are routed as they should be. Without
// it the box says so, and what the main table can reach is still sent from the
// right NIC and address, and nothing else.
func TestRights(t *testing.T) {
	t.Run("CAP_NET_ADMIN alone", func(t *testing.T) {
		t.Parallel()
		p, x := startUnprivileged(t, "net_admin")
		far := p.wan.receive(t, 5000, "10.0.0.1", "198.18.1.1")
		for _, v := range far {
			v.Receives(t, 200, 40*time.Second)
			v.Intact(t)
		}
		p.onItsNIC(t, "with CAP_NET_ADMIN alone")
		for _, a := range x.Report(t).Alarms {
			t.Errorf("alarm: %s: %s", a.Code, a.Message)
		}
		if table := p.box.Sh(t, `ip rule; ip route show table 8301`); !strings.Contains(table, "lookup 8301") || !strings.Contains(table, "default via 10.0.0.254") {
			t.Errorf("wan0 has no routing table of its own:\n%s", table)
		}
		x.process.Stop()
		if left := p.box.Sh(t, `ip rule; ip route show table all`); strings.Contains(left, "lookup 83") || strings.Contains(left, "table 83") || strings.Contains(left, "proto 83") {
			t.Errorf("left behind:\n%s", left)
		}
	})
	t.Run("no capability", func(t *testing.T) {
		t.Parallel()
		p, x := startUnprivileged(t)
		p.box.Sh(t, `ip route add default via 10.1.0.254 dev w1`) // there is none through w0
		far := p.wan.receive(t, 5000, "198.18.1.1")
		near := p.gates[0].receive(t, 5001, "10.0.0.1")
		far["198.18.1.1"].Receives(t, 200, 40*time.Second)
		near["10.0.0.1"].Receives(t, 200, 40*time.Second)
		p.onItsNIC(t, "without capabilities")
		const what = "uplink wan0 has no routing table of its own: the program lacks CAP_NET_ADMIN"
		told := map[string]bool{"the log": strings.Contains(string(x.process.Out.Bytes()), what)}
		r := x.Report(t)
		for _, u := range r.Uplinks {
			if u.Routing != nil {
				told["the state of "+u.Name] = strings.Contains(u.Routing.Message, "lacks CAP_NET_ADMIN")
			}
		}
		for _, a := range r.Alarms {
			if a.Code == "uplink_unrouted" {
				told["the alarm of "+a.Subject] = strings.Contains(a.Message, "lacks CAP_NET_ADMIN")
			}
		}
		for _, where := range []string{"the log", "the state of wan0", "the state of wan1", "the alarm of uplink/wan0"} {
			if !told[where] {
				t.Errorf("%s does not say that CAP_NET_ADMIN is missing: %+v", where, r)
			}
		}
	})
}

// startUnprivileged starts a box with these capabilities alone, and an output
// on each uplink to the same host and port, and one to wan0's gateway.
func startUnprivileged(t *testing.T, capabilities ...string) (*topology, *box) {
	t.Helper()
	p := newTopology(t)
	x := startBox(t, p.box, withOnly(t, capabilities...))
	first, second := routed(0), routed(1)
	if len(capabilities) == 0 {
		first, second = plain(0), plain(1)
	}
	x.relay(t, []object{first, second},
		rtpOutput("far-0", "wan0", peers[0], 5000), rtpOutput("far-1", "wan1", peers[0], 5000),
		rtpOutput("near-0", "wan0", "10.0.0.254", 5001))
	p.send(t)
	return p, x
}
