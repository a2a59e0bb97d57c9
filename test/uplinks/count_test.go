package uplinks

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
)

// count has the host count what comes in at a port of its switch, by all that
// tells whose it is: addresses, port, and code point (see mark).
func (h *host) count(t *testing.T, port string) {
	t.Helper()
	h.Sh(t, strings.ReplaceAll(`
nft -f - <<'END'
table bridge PORT {
	set v4 {
		type ipv4_addr . ipv4_addr . mark . inet_proto . inet_service
		flags dynamic; size 65535; counter
	}
	set v6 {
		type ipv6_addr . ipv6_addr . mark . inet_proto . inet_service
		flags dynamic; size 65535; counter
	}
	chain in {
		type filter hook prerouting priority -300
		iifname != "PORT" return
		# Code points as marks: nft 1.0.6 reads none of IPv6 within a set's key.
		ip dscp 1 meta mark set 1
		ip dscp 2 meta mark set 2
		ip6 dscp 1 meta mark set 1
		ip6 dscp 2 meta mark set 2
		meta l4proto { tcp, udp } update @v4 { ip saddr . ip daddr . meta mark . meta l4proto . th dport counter }
		meta l4proto { tcp, udp } update @v6 { ip6 saddr . ip6 daddr . meta mark . meta l4proto . th dport counter }
	}
}
END`, "PORT", port))
}

// packets are those of one kind that a far end counted.
type packets struct {
	from, to string
	mark     int    // its code point (see mark), 0 for any other
	protocol string // udp, tcp
	toPort   int
	count    uint64
}

func (p packets) String() string {
	return fmt.Sprintf("%d packets %s from %s to %s:%d of mark %d", p.count, p.protocol, p.from, p.to, p.toPort, p.mark)
}

// counted returns what came in at a port so far.
func (h *host) counted(t *testing.T, port string) (all []packets) {
	t.Helper()
	for _, set := range []string{"v4", "v6"} {
		var list struct {
			Nftables []struct {
				Set struct {
					Elem []struct {
						Elem struct {
							Val struct {
								Concat []json.RawMessage `json:"concat"`
							} `json:"val"`
							Counter struct {
								Packets uint64 `json:"packets"`
							} `json:"counter"`
						} `json:"elem"`
					} `json:"elem"`
				} `json:"set"`
			} `json:"nftables"`
		}
		text := h.Sh(t, "nft -j -n list set bridge "+port+" "+set)
		must(t, json.Unmarshal([]byte(text), &list))
		for _, one := range list.Nftables {
			for _, e := range one.Set.Elem {
				p := packets{count: e.Elem.Counter.Packets}
				var protocol int
				for i, into := range []any{&p.from, &p.to, &p.mark, &protocol, &p.toPort} {
					if err := json.Unmarshal(e.Elem.Val.Concat[i], into); err != nil {
						t.Fatalf("nft: %v: %s", err, text)
					}
				}
				p.protocol = map[int]string{6: "tcp", 17: "udp"}[protocol]
				all = append(all, p)
			}
		}
	}
	return all
}

// total counts the packets that match.
func total(all []packets, match func(packets) bool) (n uint64) {
	for _, p := range all {
		if match(p) {
			n += p.count
		}
	}
	return n
}
