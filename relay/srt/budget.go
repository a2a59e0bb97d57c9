package srt

import "net/netip"

// What a listener does for callers that are not connected in a turn of its
// loop, at most. What is beyond comes again.
const (
	// Inductions come from anywhere, also from who is not there. As many as a
	// loop reads in a turn leave others one answer in eight.
	mostInductions = mostReads * readBatch / 8
	// Conclusions come from where they seem to, as their cookie shows: a host
	// cannot take another's share.
	mostConclusions     = 64
	mostConclusionsHost = 16
	// A key is tried beside the loop, which takes a millisecond or more of a
	// processor.
	mostKeys     = 2
	mostKeysHost = 1
	// Those who want a rendezvous have no cookie.
	mostWaves = 1
)

// A budget is what is left of that in this turn.
type budget struct {
	inductions, conclusions, keys, waves int
	hosts                                map[netip.Addr]spent
}

// spent is what a host had.
type spent struct{ conclusions, keys int }

func newBudget() *budget {
	b := &budget{hosts: make(map[netip.Addr]spent)}
	b.renew()
	return b
}

// renew begins another turn.
func (b *budget) renew() {
	b.inductions, b.conclusions, b.keys, b.waves = mostInductions, mostConclusions, mostKeys, mostWaves
	clear(b.hosts)
}

func (b *budget) induction() bool { return take(&b.inductions) }

func (b *budget) wave() bool { return take(&b.waves) }

func take(left *int) bool {
	if *left == 0 {
		return false
	}
	*left--
	return true
}

func (b *budget) conclusion(from netip.Addr) bool {
	h := host(from)
	s := b.hosts[h]
	if s.conclusions == mostConclusionsHost || !take(&b.conclusions) {
		return false
	}
	s.conclusions++
	b.hosts[h] = s
	return true
}

func (b *budget) key(from netip.Addr) bool {
	h := host(from)
	s := b.hosts[h]
	if s.keys == mostKeysHost || !take(&b.keys) {
		return false
	}
	s.keys++
	b.hosts[h] = s
	return true
}

// host is what an address is one of: with IPv6, a host has a network of them.
func host(a netip.Addr) netip.Addr {
	if a.Is6() && !a.Is4In6() {
		if p, err := a.Prefix(64); err == nil {
			return p.Addr()
		}
	}
	return a
}
