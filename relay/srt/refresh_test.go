package srt

import (
	"encoding/binary"
	"fmt"
	"slices"
	"sync"
	"testing"

	"sluice/relay/relaytest"
)

// A key is used for so many packets, the last of which announce the next:
// about two keys in a second of the generated stream.
const (
	packetsPerKey     = 200
	packetsToAnnounce = 50
	refreshes         = 4
)

// refreshing adds to the options of a sender on libsrt.
func refreshing(options string) string {
	return fmt.Sprintf("%s&kmrefreshrate=%d&kmpreannounce=%d", options, packetsPerKey, packetsToAnnounce)
}

// A keyWatch sees on the wire which of its two keys a sender uses
// (draft-sharabayko-srt section 3.1, field KK).
type keyWatch struct {
	mu      sync.Mutex
	key     byte
	changes []uint32 // sequence numbers of the first packets under another key
	clear   int      // packets without encryption
}

func (k *keyWatch) pass(_ bool, b []byte) bool {
	const again = 1 << 2 // field R: it may have an old key
	if len(b) <= headerSize || b[0]&0x80 != 0 || b[4]&again != 0 {
		return true
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	now := b[4] >> 3 & 3
	switch {
	case now == 0:
		k.clear++
	case k.key != 0 && k.key != now:
		k.changes = append(k.changes, binary.BigEndian.Uint32(b))
	}
	k.key = now
	return true
}

func (k *keyWatch) seen() (changes []uint32, clear int) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return slices.Clone(k.changes), k.clear
}

// refreshed waits until the key has changed several times and checks that the
// stream never suffered. It returns where it changed: libsrt may do so far too
// often, as it looks at its keys now and then only.
func (k *keyWatch) refreshed(t *testing.T, v *relaytest.Verifier) (changes []uint32) {
	t.Helper()
	const after = 100 // packets under the last key
	await(t, "the key changes", func() bool { changes, _ := k.seen(); return len(changes) >= refreshes })
	n := v.Report().Received
	await(t, "the stream goes on", func() bool { return v.Report().Received > n+after })
	intact(t, v)
	changes, clear := k.seen()
	if clear > 0 {
		t.Errorf("%d packets in clear", clear)
	}
	return changes
}

// regular checks that a key is used for as many packets as it is meant for, or
// for some more until the peer has the next.
func regular(t *testing.T, changes []uint32) {
	t.Helper()
	for i, at := range changes[1:] {
		if (at-changes[i])&maxSequence < packetsPerKey {
			t.Errorf("the key changes at %d, want %d packets under each", changes, packetsPerKey)
			break
		}
	}
}

// TestRefreshByLibsrt has a sender change its key while we receive.
func TestRefreshByLibsrt(t *testing.T) {
	relaytest.TakesSeconds(t)
	t.Parallel()
	cells := concurrent{t: t}
	for _, bits := range []int{128, 192, 256} {
		cells.run(fmt.Sprintf("AES-%d/it calls", bits), func(t *testing.T) {
			var k keyWatch
			in := runInput(t, keyed(shipped(listenerConfig(), patientMS), bits))
			_, port := through(t, in.port(t), network{pass: k.pass})
			runProgram(t, source(t), nil, libsrt.name, libsrt.send(url("127.0.0.1", port, refreshing(libsrt.options("caller", bits))))...)
			k.refreshed(t, in.seen)
		})
		cells.run(fmt.Sprintf("AES-%d/we call", bits), func(t *testing.T) {
			var k keyWatch
			port := relaytest.FreePort(t)
			runProgram(t, source(t), nil, libsrt.name, libsrt.send(url("127.0.0.1", port, refreshing(libsrt.options("listener", bits))))...)
			listening(t, port)
			_, port = through(t, port, network{pass: k.pass})
			in := runInput(t, keyed(shipped(callerConfig("127.0.0.1", port), patientMS), bits))
			k.refreshed(t, in.seen)
		})
		// What announces the new key is lost as well, and sent again.
		cells.run(fmt.Sprintf("AES-%d/on a bad network", bits), func(t *testing.T) {
			var k keyWatch
			in := runInput(t, keyed(shipped(listenerConfig(), patientMS), bits))
			_, port := through(t, in.port(t), network{pass: k.pass, forth: relaytest.Path{Loss: 0.05}, back: relaytest.Path{Loss: 0.05}}.opened(uint64(bits)))
			runProgram(t, source(t), nil, libsrt.name, libsrt.send(url("127.0.0.1", port, refreshing(libsrt.options("caller", bits))))...)
			k.refreshed(t, in.seen)
		})
	}
	cells.wait()
}

// TestRefreshByUs has us change the key while others receive.
func TestRefreshByUs(t *testing.T) {
	relaytest.TakesSeconds(t)
	t.Parallel()
	sends := func(t *testing.T, port, bits int, n network) {
		t.Helper()
		_, port = through(t, port, n)
		out := callWith(t, keyed(shipped(callerConfig("127.0.0.1", port), patientMS), bits), func(c *conn) {
			c.keys.every, c.keys.announce = packetsPerKey, packetsToAnnounce
		})
		generated{}.publish(t, out.flow)
	}
	cells := concurrent{t: t}
	for _, bits := range []int{128, 192, 256} {
		for name, path := range map[string]relaytest.Path{"libsrt": {}, "libsrt on a bad network": {Loss: 0.05}} {
			cells.run(fmt.Sprintf("AES-%d/%s", bits, name), func(t *testing.T) {
				var k keyWatch
				got, port := relaytest.NewVerifier(1), relaytest.FreePort(t)
				runProgram(t, nil, sink{got}, libsrt.name, libsrt.receive(url("127.0.0.1", port, libsrt.options("listener", bits)))...)
				listening(t, port)
				sends(t, port, bits, network{pass: k.pass, forth: path, back: path}.opened(uint64(bits)))
				regular(t, k.refreshed(t, got))
			})
		}
		cells.run(fmt.Sprintf("AES-%d/gosrt", bits), func(t *testing.T) {
			var k keyWatch
			got := relaytest.NewVerifier(1)
			port, _ := gosrtListener(t, bits, gosrtReceive(got))
			sends(t, port, bits, network{pass: k.pass})
			regular(t, k.refreshed(t, got))
		})
	}
	cells.wait()
}
