package system

import (
	"net"
	"slices"
	"strings"
	"testing"
)

// The sockets of this process are listed, with their peers and states.
func TestSockets(t *testing.T) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c, err := net.Dial("tcp4", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	u, err := net.ListenPacket("udp6", "[::1]:0")
	if err != nil {
		t.Skip("no IPv6 here: ", err)
	}
	defer u.Close()
	lines, err := Sockets()
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"tcp   " + l.Addr().String() + " -> 0.0.0.0:0 listening", "tcp   " + c.LocalAddr().String() + " -> " + l.Addr().String() + " established",
		"udp6  " + u.LocalAddr().String() + " -> [::]:0 open",
	} {
		if !slices.ContainsFunc(lines, func(line string) bool { return strings.HasPrefix(line, want) }) {
			t.Errorf("it lacks %q:\n%s", want, strings.Join(lines, "\n"))
		}
	}
}

func TestReadSocket(t *testing.T) {
	for line, want := range map[string]string{
		"   1: 0100007F:1F90 0200000A:0050 01 00000010:00000020 00:00000000 00000000  1000        0 12345 1 0": "127.0.0.1:8080 10.0.0.2:80 established 12345",
		"  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode":     "",
		"   1: 0100007F:1F90 0200000A 01 00000010:00000020 00:00000000 00000000  1000        0 12345 1 0":      "",
		"   1: 01007F:1F90 0200000A:0050 01 00000010:00000020 00:00000000 00000000  1000        0 12345 1 0":   "",
		"   1: 0100007F:1F90 0200000A:0050 zz 00000010:00000020 00:00000000 00000000  1000        0 12345 1 0": "",
		"": "",
	} {
		s, ok := readSocket(line)
		got := ""
		if ok {
			got = s.local.String() + " " + s.peer.String() + " " + s.state("tcp") + " " + s.inode
		}
		if got != want {
			t.Errorf("%s: %q", line, got)
		}
	}
}
