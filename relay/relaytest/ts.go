// Package relaytest is what the tests of the relay share: streams in which
// every datagram can be told from every other, and verifiers that say exactly
// what a receiver is missing.
package relaytest

import (
	"encoding/binary"
	"math/rand/v2"
	"time"

	"sluice/relay/mpegts"
)

// The PIDs of a generated stream.
const (
	PIDMap    = 0x1000
	PIDVideo  = 0x0100 // H.264, with the clock
	PIDAudio  = 0x0101
	PIDMarker = 0x0102 // private data: the marker that begins every datagram
	PIDSplice = 0x01F0 // SCTE 35
)

// DatagramSize is the length of the generated datagrams of a transport stream.
const DatagramSize = mpegts.MaxGroup * mpegts.PacketSize

// The rhythm of a generated stream, in datagrams of 1316 bytes: at Bitrate
// about 2.6 ms each.
const (
	Bitrate = 4_000_000 // bits per second

	tablesEvery = 38 // PAT and PMT, 100 ms
	frameEvery  = 15 // 25 frames per second
	groupFrames = 12 // frames from one random-access picture to the next
	audioEvery  = 9
	spliceEvery = 380 // 1 s
)

// GroupOfPictures is how many datagrams lie between two random-access points.
const GroupOfPictures = frameEvery * groupFrames

// A TS is a constant-rate transport stream: PAT, PMT, H.264 video with
// random_access_indicator and PCR, audio, private data, SCTE 35 sections and
// null packets, its continuity correct. The pictures have the structure of
// H.264 and no meaning. The same seed gives the same bytes.
type TS struct {
	seed     uint64
	random   *rand.Rand
	sequence uint64
	packets  uint64 // made so far, for the clock
	frames   uint64
	counters map[uint16]uint8
	tables   [][]byte
	splices  [][]byte
	audio    unit
	video    unit
}

// A unit is a PES packet on its way into transport packets.
type unit struct {
	pid   uint16
	data  []byte
	start bool
	entry bool // a decoder may start here
}

// NewTS returns the stream of a seed, from its first datagram.
func NewTS(seed uint64) *TS {
	return &TS{seed: seed, random: rand.New(rand.NewPCG(seed, 0x5457)), counters: map[uint16]uint8{}}
}

// Interval is the time from one datagram to the next.
func (g *TS) Interval() time.Duration { return DatagramSize * 8 * time.Second / Bitrate }

// Sequence is the number of the datagram that Next makes, from 0.
func (g *TS) Sequence() uint64 { return g.sequence }

// Next returns the next datagram: a marker, and six other packets.
func (g *TS) Next() []byte {
	n := g.sequence
	if n%tablesEvery == 0 {
		g.tables = append(g.tables, patSection(), pmtSection())
	}
	if n%spliceEvery == spliceEvery-1 {
		g.splices = append(g.splices, spliceSection(g.random.Uint32()))
	}
	if n%audioEvery == 1 {
		g.audio = unit{pid: PIDAudio, start: true, data: pes(0xC0, g.clock()/300, g.noise(400))}
	}
	if n%frameEvery == 0 {
		g.video = g.picture()
	}
	d := make([]byte, mpegts.PacketSize, DatagramSize)
	for len(d) < DatagramSize {
		g.packets++
		d = append(d, g.packet()...)
	}
	g.packets++
	mark(d, g.header(PIDMarker, true), g.seed, n)
	g.sequence++
	return d
}

// packet returns the most urgent packet.
func (g *TS) packet() []byte {
	switch {
	case len(g.tables) > 0:
		s, pid := g.tables[0], uint16(mpegts.PIDPAT)
		if s[0] == 0x02 {
			pid = PIDMap
		}
		g.tables = g.tables[1:]
		return g.sectionPacket(pid, s)
	case len(g.splices) > 0:
		s := g.splices[0]
		g.splices = g.splices[1:]
		return g.sectionPacket(PIDSplice, s)
	case len(g.audio.data) > 0:
		return g.unitPacket(&g.audio)
	case len(g.video.data) > 0:
		return g.unitPacket(&g.video)
	}
	p := g.header(mpegts.PIDNull, false)
	return fill(append(p, g.noise(40)...), 0xFF)
}

// header returns the four bytes that begin a packet with payload alone.
func (g *TS) header(pid uint16, start bool) []byte {
	p := make([]byte, 4, mpegts.PacketSize)
	p[0] = mpegts.SyncByte
	binary.BigEndian.PutUint16(p[1:], pid)
	if start {
		p[1] |= 0x40
	}
	p[3] = 0x10 | g.counters[pid]
	if pid != mpegts.PIDNull {
		g.counters[pid] = (g.counters[pid] + 1) & 0x0F
	}
	return p
}

func (g *TS) sectionPacket(pid uint16, section []byte) []byte {
	p := append(g.header(pid, true), 0) // pointer_field
	return fill(append(p, section...), 0xFF)
}

// unitPacket cuts a packet's worth off u. The first of a picture carries the
// clock, the last is filled up with adaptation field stuffing.
func (g *TS) unitPacket(u *unit) []byte {
	p := g.header(u.pid, u.start)
	var field []byte // adaptation field after its length
	if u.start && u.pid == PIDVideo {
		field = make([]byte, 7)
		field[0] = 0x10
		if u.entry {
			field[0] |= 0x40
		}
		putPCR(field[1:], g.clock())
	}
	u.start = false
	room := mpegts.PacketSize - 4
	if field != nil {
		room -= 1 + len(field)
	}
	if field != nil || len(u.data) < room {
		p[3] |= 0x20
		if field == nil {
			room-- // the length byte
		}
		stuffing := max(0, room-len(u.data))
		if field == nil && stuffing > 0 {
			field = []byte{0}
			stuffing--
		}
		room = min(room, len(u.data))
		for range stuffing {
			field = append(field, 0xFF)
		}
		p = append(append(p, byte(len(field))), field...)
	}
	p = append(p, u.data[:room]...)
	u.data = u.data[room:]
	return p
}

// picture returns the next frame: access unit delimiter, parameter sets before
// an IDR slice, a slice of noise.
func (g *TS) picture() unit {
	entry := g.frames%groupFrames == 0
	g.frames++
	b := []byte{0, 0, 0, 1, 0x09, 0xF0}
	size := 3000 + g.random.IntN(4000)
	if entry {
		size *= 2
		b = append(b, 0, 0, 0, 1, 0x67, 0x42, 0xC0, 0x1E, 0xD9, 0x40, 0, 0, 0, 1, 0x68, 0xCE, 0x3C, 0x80, 0, 0, 1, 0x65)
	} else {
		b = append(b, 0, 0, 1, 0x41)
	}
	return unit{pid: PIDVideo, start: true, entry: entry, data: pes(0xE0, g.clock()/300, append(b, g.noise(size)...))}
}

// noise returns n bytes without a zero, so that no start code is among them;
// sync bytes are.
func (g *TS) noise(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(1 + g.random.IntN(255))
	}
	return b
}

// clock is the 27 MHz time of the packet that is being made.
func (g *TS) clock() int64 {
	return int64(g.packets*mpegts.PacketSize*8*27_000_000/Bitrate) % (1 << 33 * 300)
}

// pes wraps b with a presentation time in 90 kHz (ISO/IEC 13818-1, 2.4.3.7).
func pes(stream byte, pts int64, b []byte) []byte {
	h := []byte{
		0, 0, 1, stream, 0, 0, 0x80, 0x80, 5,
		0x21 | byte(pts>>29)&0x0E, byte(pts >> 22), byte(pts>>14) | 1, byte(pts >> 7), byte(pts<<1) | 1,
	}
	if n := len(h) - 6 + len(b); stream != 0xE0 {
		binary.BigEndian.PutUint16(h[4:], uint16(n))
	}
	return append(h, b...)
}

func putPCR(b []byte, ticks int64) {
	base, extension := ticks/300, ticks%300
	binary.BigEndian.PutUint32(b, uint32(base>>1))
	b[4] = byte(base<<7) | 0x7E | byte(extension>>8)
	b[5] = byte(extension)
}

func patSection() []byte {
	return section(0x00, 0xB000, 1, []byte{0, 1, 0xE0 | PIDMap>>8, PIDMap & 0xFF})
}

func pmtSection() []byte {
	b := []byte{0xE0 | PIDVideo>>8, PIDVideo & 0xFF, 0xF0, 0x06, 0x05, 0x04, 'C', 'U', 'E', 'I'}
	for _, s := range []struct {
		kind byte
		pid  uint16
	}{{0x1B, PIDVideo}, {0x0F, PIDAudio}, {0x06, PIDMarker}, {0x86, PIDSplice}} {
		b = append(b, s.kind, 0xE0|byte(s.pid>>8), byte(s.pid), 0xF0, 0)
	}
	return section(0x02, 0xB000, 1, b)
}

// spliceSection is a splice_null command (SCTE 35, 9.6 and 9.7.1) with a
// private descriptor, so that no two are equal.
func spliceSection(mark uint32) []byte {
	b := []byte{0xFC, 0x30, 0, 0, 0, 0, 0, 0, 0, 0, 0xFF, 0xF0, 0, 0, 0, 10, 0xF0, 8, 'C', 'U', 'E', 'I'}
	b = binary.BigEndian.AppendUint32(b, mark)
	b[2] = byte(len(b) - 3 + 4)
	return binary.BigEndian.AppendUint32(b, mpegts.CRC32(b))
}

// section builds a PSI section of version 0 (ISO/IEC 13818-1, 2.4.4).
func section(table byte, flags, extension uint16, body []byte) []byte {
	s := []byte{table}
	s = binary.BigEndian.AppendUint16(s, flags|uint16(5+len(body)+4))
	s = binary.BigEndian.AppendUint16(s, extension)
	s = append(append(s, 0xC1, 0, 0), body...)
	return binary.BigEndian.AppendUint32(s, mpegts.CRC32(s))
}

func fill(p []byte, with byte) []byte {
	for len(p) < mpegts.PacketSize {
		p = append(p, with)
	}
	return p
}
