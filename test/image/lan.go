package image

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"testing"

	"sluice/test/harness"
)

// A Lan is what the NICs of a machine are plugged into: a network for each, in
// which the host has the first address and the machine the second.
type Lan struct{ Taps []string }

// HostAddress and GuestAddress are those of a NIC's network.
func HostAddress(nic int) string  { return fmt.Sprintf("10.77.%d.1", nic) }
func GuestAddress(nic int) string { return fmt.Sprintf("10.77.%d.2", nic) }

// NewLan makes two networks. The test is in a network namespace of its own
// (harness.InNetns), and they go with it.
func NewLan(t *testing.T) Lan {
	t.Helper()
	tun, err := os.OpenFile("/dev/net/tun", os.O_RDWR, 0)
	if err != nil {
		t.Skipf("the machine's NICs are taps, and this kernel gives none: %v", err)
	}
	tun.Close()
	l := Lan{Taps: []string{"tap0", "tap1"}}
	ip(t, "link", "set", "lo", "up")
	for i, tap := range l.Taps {
		ip(t, "tuntap", "add", tap, "mode", "tap")
		ip(t, "addr", "add", HostAddress(i)+"/24", "dev", tap)
		ip(t, "link", "set", tap, "up")
	}
	return l
}

// Carried is how many bytes went to the machine's NIC, and how many came.
func (l Lan) Carried(t *testing.T, nic int) (to, from uint64) {
	t.Helper()
	var links []struct {
		Stats struct {
			Rx, Tx struct {
				Bytes uint64 `json:"bytes"`
			}
		} `json:"stats64"`
	}
	out := ip(t, "-json", "-stats", "link", "show", l.Taps[nic])
	if err := json.Unmarshal(out, &links); err != nil || len(links) != 1 {
		t.Fatalf("ip link show %s: %v: %s", l.Taps[nic], err, out)
	}
	return links[0].Stats.Tx.Bytes, links[0].Stats.Rx.Bytes
}

func ip(t *testing.T, args ...string) []byte {
	t.Helper()
	out, err := exec.Command(harness.Need(t, "ip", "iproute2"), args...).CombinedOutput()
	if err != nil {
		t.Fatalf("ip %q: %v\n%s", args, err, out)
	}
	return out
}
