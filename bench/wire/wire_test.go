package wire

import (
	"bytes"
	"context"
	"net"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/datarhei/gosrt/crypto"
	"github.com/datarhei/gosrt/packet"
)

func listen(t *testing.T) *net.UDPConn {
	t.Helper()
	c, err := Listen(0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func address(c *net.UDPConn) netip.AddrPort { return c.LocalAddr().(*net.UDPAddr).AddrPort() }

// read waits until n datagrams came.
func read(t *testing.T, c *net.UDPConn, size, n int) (all []Datagram) {
	t.Helper()
	r := NewReader(size)
	deadline := time.Now().Add(10 * time.Second)
	for len(all) < n {
		for i := range r.Read(Descriptor(c)) {
			d := r.Datagram(i)
			d.Data = bytes.Clone(d.Data)
			all = append(all, d)
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d datagrams of %d came", len(all), n)
		}
	}
	return all
}

func TestBatches(t *testing.T) {
	from, c := listen(t), listen(t)
	to := AddressOf(address(c))
	if AddrPort(&to) != address(c) {
		t.Fatalf("%v became %v", address(c), AddrPort(&to))
	}
	before := time.Now()
	var w Writer
	var want [][]byte
	for n := range 100 {
		head, tail := bytes.Repeat([]byte{byte(n)}, 16), bytes.Repeat([]byte{0xEE}, 1000)
		w.Add(&to, 0, head, tail)
		want = append(want, slices.Concat(head, tail))
	}
	w.Flush(Descriptor(from))
	for i, d := range read(t, c, 2000, len(want)) {
		if !bytes.Equal(d.Data, want[i]) || d.Length != 1016 {
			t.Fatalf("datagram %d: %d bytes beginning with %x", i, d.Length, d.Data[:20])
		}
		if AddrPort(d.From) != address(from) {
			t.Fatalf("it came from %v, want %v", AddrPort(d.From), address(from))
		}
		if at := time.Unix(0, d.At); at.Before(before.Add(-time.Second)) || at.After(time.Now().Add(time.Second)) {
			t.Fatalf("it came at %v", at)
		}
	}
	w.Add(&to, 0, want[0])
	w.Flush(Descriptor(from))
	if d := read(t, c, 64, 1)[0]; len(d.Data) != 64 || d.Length != 1016 {
		t.Errorf("%d bytes kept of %d, want 64 of 1016", len(d.Data), d.Length)
	}
}

func TestSegments(t *testing.T) {
	from, c := listen(t), listen(t)
	to := AddressOf(address(c))
	var w Writer
	for range 3 { // the second and third move the slices of the first
		var parts [][]byte
		for n := range 5 {
			parts = append(parts, bytes.Repeat([]byte{byte(n)}, 16), bytes.Repeat([]byte{byte(n)}, 84))
		}
		w.Add(&to, 100, parts...)
	}
	w.Flush(Descriptor(from))
	for i, d := range read(t, c, 2000, 15) {
		if d.Length != 100 || d.Data[0] != byte(i%5) || d.Data[99] != byte(i%5) {
			t.Errorf("datagram %d: %d bytes, from %d to %d", i, d.Length, d.Data[0], d.Data[len(d.Data)-1])
		}
	}
}

// Our keys are those of the library that relays use.
func TestKeyIsInteroperable(t *testing.T) {
	const secret = "a passphrase to share"
	key, km, err := newKeyMaterial(secret)
	if err != nil {
		t.Fatal(err)
	}
	theirs, err := crypto.New(keyLength)
	if err != nil {
		t.Fatal(err)
	}
	if err := theirs.UnmarshalKM(km, secret); err != nil {
		t.Fatal(err)
	}
	clear := bytes.Repeat([]byte("payload"), 100)
	for _, sequence := range []uint32{0, 1, 0x12345678, MaxSequence} {
		b := make([]byte, len(clear))
		key.Crypt(b, clear, sequence)
		if bytes.Contains(b, []byte("payload")) {
			t.Fatal("nothing is encrypted")
		}
		begin := b[:48]
		key.Crypt(begin, bytes.Clone(begin), sequence)
		if !bytes.Equal(begin, clear[:48]) {
			t.Error("the beginning alone is not decrypted")
		}
		key.Crypt(begin, bytes.Clone(begin), sequence)
		if err := theirs.EncryptOrDecryptPayload(b, packet.EvenKeyEncrypted, sequence); err != nil || !bytes.Equal(b, clear) {
			t.Errorf("sequence number %d: the library reads something else (%v)", sequence, err)
		}
	}
	if _, err := keyOf(km, "another passphrase"); err == nil {
		t.Error("another passphrase opens the key")
	}
}

func TestBefore(t *testing.T) {
	for _, c := range []struct {
		a, b uint32
		want bool
	}{{1, 2, true}, {2, 1, false}, {5, 5, false}, {MaxSequence, 0, true}, {0, MaxSequence, false}, {MaxSequence - 10, 10, true}} {
		if got := Before(c.a, c.b); got != c.want {
			t.Errorf("Before(%d, %d) is %v", c.a, c.b, got)
		}
	}
}

func TestHandshake(t *testing.T) {
	for _, terms := range []Terms{{Latency: 120 * time.Millisecond}, {Latency: time.Second, Passphrase: "a passphrase to share"}} {
		c, l := listen(t), listen(t)
		accepted := make(chan *Session, 1)
		go func() {
			b := make([]byte, 2000)
			for {
				n, from, err := l.ReadFromUDPAddrPort(b)
				if err != nil {
					return
				}
				a := AddressOf(from)
				reply, s, err := Answer(b[:n], &a, terms)
				if err != nil || reply == nil {
					continue
				}
				_, _ = l.WriteToUDPAddrPort(reply, from)
				if s != nil {
					accepted <- s
					return
				}
			}
		}()
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		caller, err := Dial(ctx, c, address(l), terms)
		if err != nil {
			t.Fatal(err)
		}
		listener := <-accepted
		if caller.Peer != listener.ID || listener.Peer != caller.ID || caller.Initial != listener.Initial {
			t.Errorf("caller %+v, listener %+v", caller, listener)
		}
		if (caller.Key != nil) != (terms.Passphrase != "") || (listener.Key != nil) != (terms.Passphrase != "") {
			t.Errorf("passphrase %q: keys %v, %v", terms.Passphrase, caller.Key, listener.Key)
		}
	}
}

func TestDialGivesUp(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if _, err := Dial(ctx, listen(t), address(listen(t)), Terms{}); err == nil {
		t.Error("connected to nobody")
	}
}
