package remux

import (
	"encoding/binary"
	"time"

	"sluice/relay/media"
	"sluice/relay/mpegts"
)

// The PIDs of a stream that a Mux makes.
const (
	muxProgram = 1
	pidMap     = 0x1000
	pidVideo   = 0x0100
	pidAudio   = 0x0101
)

// A packetizer writes transport packets into datagrams.
type packetizer struct {
	slab     media.Slab
	data     []byte // the datagram that is being filled
	entry    bool   // a random-access picture begins in it
	counters map[uint16]byte
	format   *media.Format
	arrival  time.Time
	out      func(media.Packet)
	pes      []byte
}

// A stamp is what the adaptation field of a packet says.
type stamp struct {
	pcr           int64 // 27 MHz; negative: none
	entry         bool  // random_access_indicator
	discontinuity bool
}

// flush sends the datagram as it is.
func (w *packetizer) flush() {
	if len(w.data) == 0 {
		return
	}
	w.out(media.Packet{Format: w.format, Arrival: w.arrival, RandomAccess: w.entry, Data: w.data[:len(w.data):len(w.data)]})
	w.data, w.entry = nil, false
}

// packet begins a transport packet and returns it, all of it to be written.
func (w *packetizer) packet(pid uint16, start, payload bool) []byte {
	if len(w.data) == mpegts.MaxGroup*mpegts.PacketSize {
		w.flush()
	}
	if w.data == nil {
		w.data = w.slab.Alloc(mpegts.MaxGroup * mpegts.PacketSize)[:0]
	}
	n := len(w.data)
	w.data = w.data[:n+mpegts.PacketSize]
	p := w.data[n:]
	p[0] = mpegts.SyncByte
	binary.BigEndian.PutUint16(p[1:], pid)
	if start {
		p[1] |= 0x40
	}
	// The counter stands still without payload (2.4.3.3).
	if payload {
		p[3] = 0x10 | w.counters[pid]
		w.counters[pid] = (w.counters[pid] + 1) & 0x0F
	} else {
		p[3] = (w.counters[pid] - 1) & 0x0F
	}
	return p
}

// section writes a PSI section that fits a packet.
func (w *packetizer) section(pid uint16, s []byte) {
	p := w.packet(pid, true, true)
	p[4] = 0 // pointer_field
	fill(p[5+copy(p[5:], s):])
}

// clock writes a packet with a PCR alone.
func (w *packetizer) clock(pid uint16, s stamp) {
	p := w.packet(pid, false, false)
	p[3] |= 0x20
	p[4] = mpegts.PacketSize - 5
	fill(p[5+adaptation(p[5:], s):])
}

// unit writes a PES packet.
func (w *packetizer) unit(pid uint16, stream byte, pts, dts int64, s stamp, data []byte) {
	b := append(w.pes[:0], 0, 0, 1, stream, 0, 0, 0x84, 0x80, 5) // data_alignment_indicator; PTS
	if dts == pts {
		b = appendTimestamp(b, 0x20, pts)
	} else {
		b[7], b[8] = 0xC0, 10
		b = appendTimestamp(appendTimestamp(b, 0x30, pts), 0x10, dts)
	}
	b = append(b, data...)
	if n := len(b) - 6; n <= 0xFFFF {
		binary.BigEndian.PutUint16(b[4:], uint16(n))
	} // else video, whose length may be unknown (2.4.3.7)
	w.pes = b
	for start := true; len(b) > 0; start = false {
		p := w.packet(pid, start, true)
		if start && s.entry {
			w.entry = w.entry || pid == pidVideo
		}
		at := 4
		if start && s != (stamp{pcr: -1}) {
			p[3] |= 0x20
			p[4] = byte(adaptation(p[5:], s))
			at = 5 + int(p[4])
		}
		if spare := mpegts.PacketSize - at - len(b); spare > 0 {
			if p[3]&0x20 == 0 { // an adaptation field of stuffing
				p[3] |= 0x20
				p[4] = byte(spare - 1)
				if spare > 1 {
					p[5] = 0
					fill(p[6 : 4+spare])
				}
			} else {
				p[4] += byte(spare)
				fill(p[at : at+spare])
			}
			at += spare
		}
		b = b[copy(p[at:], b):]
	}
}

// adaptation writes what an adaptation field has after its length (2.4.3.5).
func adaptation(b []byte, s stamp) int {
	b[0] = 0
	if s.discontinuity {
		b[0] |= 0x80
	}
	if s.entry {
		b[0] |= 0x40
	}
	if s.pcr < 0 {
		return 1
	}
	b[0] |= 0x10
	base, extension := s.pcr/300&(wrap-1), s.pcr%300
	binary.BigEndian.PutUint32(b[1:], uint32(base>>1))
	b[5] = byte(base<<7) | 0x7E | byte(extension>>8)
	b[6] = byte(extension)
	return 7
}

func appendTimestamp(b []byte, mark byte, t int64) []byte {
	return append(b, mark|byte(t>>29)&0x0E|1, byte(t>>22), byte(t>>14)|1, byte(t>>7), byte(t<<1)|1)
}

func fill(b []byte) {
	for i := range b {
		b[i] = 0xFF
	}
}

// section builds a PSI section (2.4.4).
func section(table byte, extension uint16, version byte, body []byte) []byte {
	s := []byte{table}
	s = binary.BigEndian.AppendUint16(s, 0xB000|uint16(5+len(body)+4))
	s = binary.BigEndian.AppendUint16(s, extension)
	s = append(append(s, 0xC1|version&31<<1, 0, 0), body...)
	return binary.BigEndian.AppendUint32(s, mpegts.CRC32(s))
}

// pat is the program association section of the one programme.
func pat() []byte {
	return section(0x00, 1, 0, []byte{0, muxProgram, 0xE0 | pidMap>>8, pidMap & 0xFF})
}

// pmt is its program map section.
func pmt(version byte, clock uint16, streams ...mpegts.Stream) []byte {
	b := []byte{0xE0 | byte(clock>>8), byte(clock), 0xF0, 0}
	for _, s := range streams {
		b = append(b, byte(s.Type), 0xE0|byte(s.PID>>8), byte(s.PID), 0xF0, byte(len(s.Descriptors)))
		b = append(b, s.Descriptors...)
	}
	return section(0x02, muxProgram, version, b)
}
