package uplinks

import (
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"sluice/test/harness"
)

// Two thousand events that the daemon could not read in time, and of which the
// kernel has dropped some: what it does in the end is right.
func TestEventsLost(t *testing.T) {
	t.Parallel()
	p := newTopology(t)
	sent := p.wan.receive(t, 5000, "10.0.0.", "198.18.1.1")
	x := startBox(t, p.box, nil)
	x.relay(t, []object{routed(0), routed(1)}, rtpOutput("rtp-0", "wan0", peers[0], 5000), rtpOutput("rtp-1", "wan1", peers[0], 5000))
	p.send(t)
	for _, v := range sent {
		v.Receives(t, 50, 20*time.Second)
	}
	before := x.eventsDropped(t)

	must(t, x.process.Cmd.Process.Signal(syscall.SIGSTOP))
	var burst strings.Builder
	for i := range 500 { // each an event of an address and of a route, twice
		fmt.Fprintf(&burst, "addr add 10.9.%d.%d/32 dev w0\naddr del 10.9.%d.%d/32 dev w0\n", i/200, 1+i%200, i/200, 1+i%200)
	}
	p.box.Sh(t, "ip -batch - <<'END'\n"+burst.String()+"END")
	p.box.Sh(t, `
		ip link set w0 down
		ip addr del 10.0.0.1/24 dev w0
		ip addr add 10.0.0.77/24 dev w0
		ip link set w0 up`)
	must(t, x.process.Cmd.Process.Signal(syscall.SIGCONT))

	harness.Await(t, 20*time.Second, "wan0 has its new address", func() bool {
		for _, u := range x.Report(t).Uplinks {
			if u.Name == "wan0" {
				return u.Ready && len(u.Addresses) == 1 && u.Addresses[0] == "10.0.0.77"
			}
		}
		return false
	})
	if x.eventsDropped(t) == before {
		t.Error("no event was lost: the burst is too small to show anything")
	}
	for _, v := range sent {
		v.Receives(t, 50, 20*time.Second)
	}
	if p.gateSees(t, 0, "10.0.0.77") == 0 {
		t.Error("nothing came from the new address")
	}
	p.onItsNIC(t, "after the burst")
	table := p.box.Sh(t, `ip route show table 8301; ip rule`)
	for _, want := range []string{"default via 10.0.0.254 dev w0", "from 10.0.0.77 lookup 8301", "oif w0 lookup 8301"} {
		if !strings.Contains(table, want) {
			t.Errorf("%q is not routed:\n%s", want, table)
		}
	}
	if strings.Contains(table, "10.9.") || strings.Contains(table, "10.0.0.1 ") {
		t.Errorf("what is gone is still routed:\n%s", table)
	}
}

// eventsDropped counts what the kernel could not deliver to netlink sockets of
// the daemon's namespace (the column Drops of /proc/net/netlink).
func (x *box) eventsDropped(t *testing.T) (n uint64) {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/net/netlink", x.process.Cmd.Process.Pid))
	must(t, err)
	for line := range strings.Lines(string(text)) {
		var drops uint64
		if fields := strings.Fields(line); len(fields) == 10 {
			_, _ = fmt.Sscan(fields[8], &drops)
		}
		n += drops
	}
	return n
}
