package uplinks

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sluice/test/harness"
)

// announce runs radvd on a gateway, which gives the box its prefix and itself
// as the router.
func (p *topology) announce(t *testing.T, i int) {
	t.Helper()
	dir := t.TempDir()
	config := filepath.Join(dir, "radvd.conf")
	must(t, os.WriteFile(config, fmt.Appendf(nil, `
interface switch {
	AdvSendAdvert on;
	MinRtrAdvInterval 3;
	MaxRtrAdvInterval 4;
	prefix 2001:db8:%d::/64 { };
};
`, i), 0o600))
	p.gates[i].Start(t, harness.Need(t, "radvd", "radvd"),
		[]string{"--nodaemon", "--config", config, "--pidfile", filepath.Join(dir, "pid"), "--logmethod", "stderr"}, nil)
}

// IPv6 as routers announce it: each uplink sends from the address and through
// the router of its own, whichever the main table prefers.
func TestIPv6(t *testing.T) {
	t.Parallel()
	p := newTopology(t)
	p.box.Sh(t, `
		sysctl -qw net.ipv6.conf.w0.accept_ra=1 net.ipv6.conf.w1.accept_ra=1
		ip -4 addr flush dev w0
		ip -4 addr flush dev w1`)
	for i := range p.gates {
		p.announce(t, i)
	}
	p.stray = func(i int, c packets) bool {
		return strings.HasPrefix(c.from, []string{"2001:db8:1:", "2001:db8::"}[i])
	}
	far := p.wan.receive(t, 5000, "2001:db8::", "2001:db8:1:")
	srt := []*headend{p.wan.receiveSRTs(t, "[2001:db8:f::1]:5010"), p.wan.receiveSRTs(t, "[2001:db8:f::1]:5011")}
	x := startBox(t, p.box, nil)
	uplinks := []object{plain(0), plain(1)}
	for i, u := range uplinks {
		u["nameservers"] = []string{fmt.Sprintf("2001:db8:%d::fe", i)}
	}
	x.relay(t, uplinks,
		rtpOutput("rtp-0", "wan0", "six.test", 5000), rtpOutput("rtp-1", "wan1", "six.test", 5000),
		srtCaller("srt-0", "wan0", "six.test", 5010), srtCaller("srt-1", "wan1", "six.test", 5011))
	p.send(t)
	rtp := []*harness.Viewer{far["2001:db8::"], far["2001:db8:1:"]}
	flowing := func(when string, uplinks ...int) {
		t.Helper()
		for _, i := range uplinks {
			rtp[i].Receives(t, 100, 40*time.Second)
			srt[i].flows(t, 100)
		}
		p.onItsNIC(t, when)
	}
	flowing("steady", 0, 1)
	p.box.Sh(t, `ip -6 route add default via 2001:db8:1::fe dev w1 metric 1`)
	flowing("with a better default route through w1", 0, 1)
	p.disturb(t, x, flowing) // a NIC switched on waits for its router
	rtp[1].Intact(t)
	srt[1].last().Intact(t)
}
