package harness

import (
	"testing"

	"github.com/vishvananda/netlink"

	"sluice/relay/relaytest"
)

// NeedRules is for what looks at the kernel's routing rules, as uplinks do.
func NeedRules(t testing.TB) {
	t.Helper()
	_, err := netlink.RuleList(netlink.FAMILY_V4)
	relaytest.EmulatorLacks(t, "netlink RTM_GETRULE", err)
}
