package uplinks

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"sluice/test/harness"
)

// serveDHCP has a gateway give one address, and itself as the router.
func (p *topology) serveDHCP(t *testing.T, i int, address string) *harness.Process {
	t.Helper()
	dir := t.TempDir()
	config := filepath.Join(dir, "udhcpd.conf")
	must(t, os.WriteFile(config, fmt.Appendf(nil, `
interface switch
start %[1]s
end %[1]s
max_leases 1
lease_file %[2]s/leases
pidfile %[2]s/pid
opt subnet 255.255.255.0
opt router 10.%[3]d.0.254
opt lease 3600
`, address, dir, i), 0o600))
	must(t, os.WriteFile(filepath.Join(dir, "leases"), nil, 0o600))
	return p.gates[i].Start(t, harness.Need(t, "udhcpd", "udhcpd"), []string{"-f", config}, nil)
}

// What the DHCP client does with a lease, which it then notes in a file.
const leaseScript = `#!/bin/sh -e
PATH=$PATH:/usr/sbin:/sbin
case $1 in
deconfig)
	ip addr flush dev $interface scope global
	ip link set $interface up
	;;
bound | renew)
	ip addr replace $ip/24 dev $interface
	ip route replace default via $router dev $interface metric 100
	echo "$ip" >>"$(dirname "$0")/bound"
	;;
esac
`

// A DHCP server that gives another address: the outputs are back from it by
// themselves.
func TestAddressChangedByDHCP(t *testing.T) {
	t.Parallel()
	rounds := 3
	if harness.Long() {
		rounds = 15
	}
	p := newTopology(t)
	p.box.Sh(t, `ip addr del 10.0.0.1/24 dev w0`)
	dir := t.TempDir()
	script := filepath.Join(dir, "lease")
	must(t, os.WriteFile(script, []byte(leaseScript), 0o700))
	bound := func(address string) {
		t.Helper()
		harness.Await(t, 30*time.Second, "the NIC has the address "+address, func() bool {
			text, _ := os.ReadFile(filepath.Join(dir, "bound"))
			return strings.HasSuffix(string(text), address+"\n")
		})
	}
	server := p.serveDHCP(t, 0, "10.0.0.100")
	client := p.box.Start(t, harness.Need(t, "udhcpc", "udhcpc"),
		[]string{"-f", "-i", "w0", "-s", script, "-t", "20", "-T", "1", "-A", "1"}, nil)
	bound("10.0.0.100")
	r := newRig(t, p, []object{plain(0), routed(1)})
	var all []comeback
	for round := range rounds {
		address := fmt.Sprintf("10.0.0.%d", 101+round)
		server.Stop()
		server = p.serveDHCP(t, 0, address)
		// Give the lease back, and ask for another.
		must(t, client.Cmd.Process.Signal(syscall.SIGUSR2))
		must(t, client.Cmd.Process.Signal(syscall.SIGUSR1))
		bound(address)
		all = append(all, r.back(t))
		r.flow(t)
		if n := r.gateSees(t, 0, address); n == 0 {
			t.Errorf("nothing came from %s", address)
		}
	}
	inTime(t, all)
	r.othersLostNothing(t)
	r.onItsNIC(t, "with changed addresses")
}

// gateSees is how many packets came from an address to a far end.
func (p *topology) gateSees(t *testing.T, i int, address string) uint64 {
	t.Helper()
	return total(p.gates[i].counted(t, fmt.Sprintf("port%d", i)), func(c packets) bool { return c.from == address })
}
