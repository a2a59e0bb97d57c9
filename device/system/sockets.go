package system

import (
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// maxSockets bounds what Sockets lists.
const maxSockets = 4096

// Sockets lists the network sockets of this process, a line each, as proc(5)
// tells of them: protocol, own address, peer's, state, bytes that wait to be
// sent and to be read.
func Sockets() ([]string, error) { return socketsOf("/proc") }

func socketsOf(proc string) (lines []string, err error) {
	fds, err := os.ReadDir(filepath.Join(proc, "self", "fd"))
	if err != nil {
		return nil, err
	}
	ours := make(map[string]bool)
	for _, fd := range fds {
		to, err := os.Readlink(filepath.Join(proc, "self", "fd", fd.Name()))
		if inode, ok := strings.CutPrefix(to, "socket:["); err == nil && ok {
			ours[strings.TrimSuffix(inode, "]")] = true
		}
	}
	var errs []error
	for _, protocol := range []string{"tcp", "tcp6", "udp", "udp6", "icmp", "icmp6", "raw", "raw6"} {
		text, err := os.ReadFile(filepath.Join(proc, "self", "net", protocol))
		if errors.Is(err, os.ErrNotExist) {
			continue // a kernel without it
		}
		if err != nil {
			errs = append(errs, err)
			continue
		}
		for line := range strings.Lines(string(text)) {
			if s, ok := readSocket(line); ok && ours[s.inode] && len(lines) < maxSockets {
				lines = append(lines, fmt.Sprintf("%-5s %s -> %s %s, %d to send, %d to read", protocol, s.local, s.peer, s.state(protocol), s.tx, s.rx))
			}
		}
	}
	return lines, errors.Join(errs...)
}

// A socketLine is a line of /proc/net/tcp and its like.
type socketLine struct {
	local, peer netip.AddrPort
	code        uint64
	tx, rx      uint64
	inode       string
}

// readSocket reads "0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000 0 0 12345 ...".
func readSocket(line string) (s socketLine, ok bool) {
	words := strings.Fields(line)
	if len(words) < 10 || !strings.HasSuffix(words[0], ":") {
		return s, false
	}
	tx, rx, _ := strings.Cut(words[4], ":")
	var errs [3]error
	s.code, errs[0] = strconv.ParseUint(words[3], 16, 8)
	s.tx, errs[1] = strconv.ParseUint(tx, 16, 64)
	s.rx, errs[2] = strconv.ParseUint(rx, 16, 64)
	s.local, ok = readAddress(words[1])
	if !ok || errors.Join(errs[:]...) != nil {
		return s, false
	}
	s.peer, ok = readAddress(words[2])
	s.inode = words[9]
	return s, ok
}

// readAddress reads an address of proc(5): words of 32 bits, each in the order
// of the machine, which is little-endian wherever this runs.
func readAddress(text string) (at netip.AddrPort, ok bool) {
	address, port, _ := strings.Cut(text, ":")
	b, err := hex.DecodeString(address)
	if err != nil || len(b)%4 != 0 {
		return at, false
	}
	for i := 0; i < len(b); i += 4 {
		b[i], b[i+1], b[i+2], b[i+3] = b[i+3], b[i+2], b[i+1], b[i]
	}
	a, ok := netip.AddrFromSlice(b)
	n, err := strconv.ParseUint(port, 16, 16)
	return netip.AddrPortFrom(a.Unmap(), uint16(n)), ok && err == nil
}

// state names what linux/tcp_states.h numbers.
func (s socketLine) state(protocol string) string {
	if !strings.HasPrefix(protocol, "tcp") {
		return "open"
	}
	names := []string{
		"", "established", "syn sent", "syn received", "fin wait 1", "fin wait 2", "time wait", "closed", "close wait", "last ack", "listening", "closing",
	}
	if s.code == 0 || s.code >= uint64(len(names)) {
		return fmt.Sprintf("state %d", s.code)
	}
	return names[s.code]
}
