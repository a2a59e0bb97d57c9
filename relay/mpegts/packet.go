// Package mpegts looks at MPEG transport streams (ISO/IEC 13818-1, ITU-T
// H.222.0; section numbers are of the 2018 edition). It finds the packets in
// what a source sends, tells where a decoder may start and whether packets are
// missing. It never rewrites a packet.
//
//	payload -> Ingest: alignment -> continuity, PSI, random access -> media.Packet
package mpegts

// PacketSize is the length of a transport packet in bytes (2.4.3.2).
const PacketSize = 188

// SyncByte begins every transport packet (2.4.3.3).
const SyncByte = 0x47

// MaxGroup is how many transport packets fit a datagram on Ethernet, by
// convention: 7 x 188 = 1316 bytes.
const MaxGroup = 7

// PIDs with a fixed meaning (table 2-3).
const (
	PIDPAT  = 0x0000
	PIDNull = 0x1FFF
)

const pidCount = 0x2000

// A Packet is one transport packet of PacketSize bytes. The accessors never
// read outside it, whatever it holds.
type Packet []byte

// PID is the packet identifier (2.4.3.3).
func (p Packet) PID() uint16 { return uint16(p[1]&0x1F)<<8 | uint16(p[2]) }

// Corrupt is transport_error_indicator: a demodulator could not correct it.
func (p Packet) Corrupt() bool { return p[1]&0x80 != 0 }

// UnitStart is payload_unit_start_indicator: a PES packet or a section begins.
func (p Packet) UnitStart() bool { return p[1]&0x40 != 0 }

// Scrambled tells whether the payload is encrypted (2.4.3.3).
func (p Packet) Scrambled() bool { return p[3]&0xC0 != 0 }

// HasPayload tells whether payload bytes are present (table 2-5).
func (p Packet) HasPayload() bool { return p[3]&0x10 != 0 }

// Continuity is continuity_counter, 0-15.
func (p Packet) Continuity() uint8 { return p[3] & 0x0F }

// Adaptation is the adaptation field after its length byte (2.4.3.4), empty
// where there is none. A length that does not fit the packet is cut.
func (p Packet) Adaptation() []byte {
	if p[3]&0x20 == 0 {
		return nil
	}
	return p[5:min(5+int(p[4]), PacketSize)]
}

// Payload is what follows the header and the adaptation field.
func (p Packet) Payload() []byte {
	if !p.HasPayload() {
		return nil
	}
	if p[3]&0x20 == 0 {
		return p[4:PacketSize]
	}
	return p[min(5+int(p[4]), PacketSize):PacketSize]
}

// Discontinuity is discontinuity_indicator (2.4.3.5): the continuity counter
// or the clock may jump here.
func (p Packet) Discontinuity() bool { return p.flags()&0x80 != 0 }

// RandomAccess is random_access_indicator (2.4.3.5): a decoder may start here.
func (p Packet) RandomAccess() bool { return p.flags()&0x40 != 0 }

// PCR is the program clock reference in units of 27 MHz, 0 to 2^33 x 300 - 1
// (2.4.3.5). ok is false where the packet carries none.
func (p Packet) PCR() (ticks int64, ok bool) {
	a := p.Adaptation()
	if len(a) < 7 || a[0]&0x10 == 0 {
		return 0, false
	}
	base := int64(a[1])<<25 | int64(a[2])<<17 | int64(a[3])<<9 | int64(a[4])<<1 | int64(a[5])>>7
	extension := int64(a[5]&1)<<8 | int64(a[6])
	return base*300 + extension, true
}

// flags is the first byte of the adaptation field, 0 where there is none.
func (p Packet) flags() byte {
	if p[3]&0x20 == 0 || p[4] == 0 {
		return 0
	}
	return p[5]
}
