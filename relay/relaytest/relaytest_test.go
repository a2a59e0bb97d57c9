package relaytest

import (
	"bytes"
	"net"
	"testing"

	"sluice/relay/mpegts"
)

func TestTSIsDeterministicAndContinuous(t *testing.T) {
	a, b := NewTS(7), NewTS(7)
	var continuity mpegts.Continuity
	counts := map[uint16]int{}
	entries, lastPCR := 0, int64(-1)
	for n := range 4 * GroupOfPictures {
		d := a.Next()
		if len(d) != DatagramSize || !bytes.Equal(d, b.Next()) {
			t.Fatalf("datagram %d differs from its twin", n)
		}
		for o := 0; o < len(d); o += mpegts.PacketSize {
			p := mpegts.Packet(d[o : o+mpegts.PacketSize])
			counts[p.PID()]++
			if p[0] != mpegts.SyncByte || !continuity.Check(p) {
				t.Fatalf("datagram %d: PID %#x is not continuous", n, p.PID())
			}
			if p.RandomAccess() {
				if n%GroupOfPictures != 0 {
					t.Errorf("random access in datagram %d", n)
				}
				entries++
			}
			if pcr, ok := p.PCR(); ok {
				if pcr <= lastPCR {
					t.Errorf("clock goes from %d to %d", lastPCR, pcr)
				}
				lastPCR = pcr
			}
		}
	}
	if entries != 4 {
		t.Errorf("%d random-access points in 4 groups of pictures", entries)
	}
	for _, pid := range []uint16{mpegts.PIDPAT, PIDMap, PIDVideo, PIDAudio, PIDMarker, PIDSplice, mpegts.PIDNull} {
		if counts[pid] == 0 {
			t.Errorf("no packets on PID %#x", pid)
		}
	}
	if bytes.Equal(NewTS(8).Next(), NewTS(7).Next()) {
		t.Error("two seeds give the same bytes")
	}
}

func TestVerifier(t *testing.T) {
	g := NewTS(1)
	var d [][]byte
	for range 12 {
		d = append(d, g.Next())
	}
	altered := bytes.Clone(d[6])
	altered[900] ^= 1
	foreign := bytes.Repeat(append([]byte{mpegts.SyncByte}, make([]byte, mpegts.PacketSize-1)...), 1)
	for _, c := range []struct {
		name string
		feed [][]byte
		want Report
	}{
		{"intact", d[3:8], Report{Received: 5, First: 3, Last: 7}},
		{"joined inside a datagram", [][]byte{d[2][3*188:], d[3]}, Report{Received: 1, First: 3, Last: 3}},
		{"missing", [][]byte{d[0], d[1], d[5]}, Report{Received: 3, Last: 5, Missing: 3}},
		{"duplicated", [][]byte{d[0], d[1], d[1]}, Report{Received: 2, Last: 1, Duplicated: 1}},
		{"disordered", [][]byte{d[0], d[2], d[1]}, Report{Received: 3, Last: 2, Disordered: 1}},
		{"altered", [][]byte{d[5], altered, d[7]}, Report{Received: 2, First: 5, Last: 7, Missing: 1, Altered: 1}},
		{"cut short", [][]byte{d[5], d[6][:188*5], d[7]}, Report{Received: 2, First: 5, Last: 7, Missing: 1, Altered: 1}},
		{"foreign", [][]byte{d[5], foreign, d[6]}, Report{Received: 2, First: 5, Last: 6, Foreign: 1}},
	} {
		v := NewVerifier(1)
		var each uint64
		v.Each = func(uint64) { each++ }
		all := bytes.Join(c.feed, nil)
		for len(all) > 0 { // cut anywhere
			n := min(1000, len(all))
			v.Feed(all[:n])
			all = all[n:]
		}
		if got := v.Report(); got != c.want {
			t.Errorf("%s: got %+v, want %+v", c.name, got, c.want)
		}
		if each != c.want.Received+c.want.Duplicated {
			t.Errorf("%s: told of %d datagrams", c.name, each)
		}
		intact := c.want.Missing+c.want.Duplicated+c.want.Disordered+c.want.Altered+c.want.Foreign == 0
		if err := v.Report().Intact(); (err == nil) != intact {
			t.Errorf("%s: Intact says %v", c.name, err)
		}
	}
	if NewVerifier(1).Report().Intact() == nil {
		t.Error("nothing received is intact")
	}
}

func TestDatagrams(t *testing.T) {
	g, v := NewDatagrams(3), NewDatagramVerifier(3)
	for n := range 500 {
		b := g.Next()
		if bytes.IndexByte(b[26:len(b)-hashLength], mpegts.SyncByte) >= 0 {
			t.Fatalf("payload %d has a sync byte in its noise", n)
		}
		switch n {
		case 10: // not received
		case 20:
			b[30] ^= 1
			v.Feed(b)
		default:
			v.Feed(b)
		}
	}
	v.Feed(make([]byte, 100))
	want := Report{Received: 498, Last: 499, Missing: 2, Altered: 1, Foreign: 1}
	if got := v.Report(); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

// A port is given once until it is released, and none that is in use.
func TestReservePorts(t *testing.T) {
	first := FreePorts(t, 0, 1, 4)
	if first%2 != 0 || first < lowestPort || first >= highestPort {
		t.Errorf("port %d", first)
	}
	for _, offset := range []int{0, 1, 4} {
		if l := reserve(first + offset); l != nil {
			t.Errorf("port+%d is given twice", offset)
			l.Close()
		}
	}
	port, release, err := ReservePorts(0)
	if err != nil {
		t.Fatal(err)
	}
	release()
	l := reserve(port)
	if l == nil {
		t.Fatal("a released port is not free")
	}
	l.Close()
	c, err := net.ListenUDP("udp", &net.UDPAddr{Port: port})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if l := reserve(port); l != nil {
		t.Error("a port in use is given")
		l.Close()
	}
}
