// Package load makes the work that relays are measured with: paced senders of
// stamped datagrams, and sinks that read the stamps at as little cost as can
// be, so that the relay between them is what costs.
package load

import (
	"encoding/binary"
	"time"
)

// PayloadSize is that of every datagram: seven transport packets.
const PayloadSize = 1316

// A stamp stands in the first packet of each payload, a null packet of a
// transport stream, which is carried like any other: sequence number and time.
const (
	stampMagic = 0x736C756963654254
	stampSize  = 4 + 8 + 8 + 8
)

// blank returns a payload of null packets.
func blank() []byte {
	b := make([]byte, PayloadSize)
	for i := 0; i < len(b); i += 188 {
		copy(b[i:], []byte{0x47, 0x1F, 0xFF, 0x10})
	}
	return b
}

func stamp(b []byte, sequence uint64, at time.Time) {
	binary.BigEndian.PutUint64(b[4:], stampMagic)
	binary.BigEndian.PutUint64(b[12:], sequence)
	binary.BigEndian.PutUint64(b[20:], uint64(at.UnixNano()))
}

// readStamp returns what stamp wrote; at is in nanoseconds since 1970.
func readStamp(b []byte) (sequence uint64, at int64, ok bool) {
	if len(b) < stampSize || binary.BigEndian.Uint64(b[4:]) != stampMagic {
		return 0, 0, false
	}
	return binary.BigEndian.Uint64(b[12:]), int64(binary.BigEndian.Uint64(b[20:])), true
}
