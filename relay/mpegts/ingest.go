package mpegts

import (
	"slices"
	"sync/atomic"
	"time"

	"sluice/relay/media"
)

// How long an Ingest looks before it decides what a source sends, and when it
// decides anew.
const (
	lookBytes     = (lockSyncs + 1) * PacketSize // enough for lockSyncs at any offset
	lookDatagrams = 16
	lookTime      = time.Second
	// loseSync is how many bytes without a packet end a transport stream.
	loseSync = 64 << 10
	// gainSync is how many datagrams of nothing but transport packets, one
	// after another, end a run of opaque ones.
	gainSync = 8
)

// Stats is what an Ingest has counted since it was made.
type Stats struct {
	Packets    uint64 // transport packets
	Opaque     uint64 // datagrams that are not transport packets
	Realigned  uint64 // transport packets that came out of alignment
	Skipped    uint64 // bytes given up in search of packets
	Continuity uint64 // jumps of a continuity counter
	PCR        uint64 // clock references
	Access     uint64 // places where a decoder may start
}

// An Ingest makes packets of the payloads that a source sends in datagrams. It
// decides whether they are MPEG-TS:
//
//   - transport packets in alignment pass as they are, in the source's own
//     datagrams;
//   - transport packets that the source cuts elsewhere are put together, up to
//     MaxGroup in one datagram;
//   - payloads that are no transport packets pass as they are, as
//     media.Datagram.
//
// It is for one goroutine, but for Stats.
type Ingest struct {
	slab   media.Slab
	kind   media.Kind // 0 while undecided
	format *media.Format
	held   []media.Packet // while undecided
	bytes  int            // in held

	align      aligner
	lost       int // bytes since the last transport packet
	run        int // datagrams of transport packets in a row, while opaque
	continuity Continuity
	access     accessFinder

	packets, opaque, realigned, skipped, discontinuities, pcr, accesses atomic.Uint64
}

// NewIngest returns an Ingest at the start of a session.
func NewIngest() *Ingest { return &Ingest{} }

// Restart begins a new session: the source is another one, or the same from
// its beginning. What is held of the old one is given up.
func (i *Ingest) Restart() {
	i.align.drop()
	i.countSkipped()
	i.kind, i.format, i.held, i.bytes = 0, nil, nil, 0
	i.align, i.lost, i.run = aligner{}, 0, 0
	i.continuity, i.access = Continuity{}, accessFinder{}
}

// Gap tells that datagrams are missing before the next payload, so that halves
// of two packets are not taken for one.
func (i *Ingest) Gap() {
	if i.kind == media.TS {
		i.align.drop()
		i.countSkipped()
	}
}

// Push takes the payload of one datagram, with the RTP header that it came
// with if there was one, and appends to out the packets that it completes. It
// copies what it keeps. The first packets of a session come after a look at
// several of its payloads.
func (i *Ingest) Push(payload []byte, arrival time.Time, header []byte, out []media.Packet) []media.Packet {
	if len(payload) == 0 {
		return out
	}
	switch i.kind {
	case media.TS:
		return i.pushTS(payload, arrival, header, out)
	case media.Datagram:
		return i.pushOpaque(payload, arrival, header, out)
	}
	i.held = append(i.held, media.Packet{Arrival: arrival, Data: slices.Clone(payload), Header: slices.Clone(header)})
	i.bytes += len(payload)
	return i.decide(out)
}

// Stats returns what was counted so far. It may be called from any goroutine.
func (i *Ingest) Stats() Stats {
	return Stats{
		Packets: i.packets.Load(), Opaque: i.opaque.Load(), Realigned: i.realigned.Load(), Skipped: i.skipped.Load(),
		Continuity: i.discontinuities.Load(), PCR: i.pcr.Load(), Access: i.accesses.Load(),
	}
}

// decide looks at what is held, and passes it on once it is known what it is.
func (i *Ingest) decide(out []media.Packet) []media.Packet {
	all := make([]byte, 0, i.bytes)
	for _, p := range i.held {
		all = append(all, p.Data...)
	}
	last := i.held[len(i.held)-1]
	switch {
	case findSync(all[:min(len(all), lookBytes)], lockSyncs) >= 0:
		i.kind = media.TS
	case len(all) >= lookBytes, len(i.held) >= lookDatagrams, last.Arrival.Sub(i.held[0].Arrival) > lookTime:
		i.kind = media.Datagram
	default:
		return out
	}
	i.format = &media.Format{Kind: i.kind}
	i.lost, i.run = 0, 0
	held := i.held
	i.held, i.bytes = nil, 0
	for _, p := range held {
		out = i.Push(p.Data, p.Arrival, p.Header, out)
	}
	return out
}

func (i *Ingest) pushTS(payload []byte, arrival time.Time, header []byte, out []media.Packet) []media.Packet {
	if !i.align.empty() && len(payload) >= resyncs*PacketSize && aligned(payload) {
		i.align.drop() // the source is in alignment again
		i.countSkipped()
	}
	if i.align.empty() && (mostlyAligned(payload)) {
		i.lost = 0
		return i.emit(payload, arrival, header, out)
	}
	i.lost += len(payload)
	i.align.add(payload)
	for b := i.align.next(); b != nil; b = i.align.next() {
		i.lost = 0
		i.realigned.Add(uint64(len(b) / PacketSize))
		for len(b) > 0 {
			n := min(len(b), MaxGroup*PacketSize)
			out = i.emit(b[:n], arrival, nil, out)
			b = b[n:]
		}
	}
	i.countSkipped()
	if i.lost > loseSync {
		i.Restart()
	}
	return out
}

// emit appends a datagram of whole transport packets.
func (i *Ingest) emit(b []byte, arrival time.Time, header []byte, out []media.Packet) []media.Packet {
	p := media.Packet{Format: i.format, Arrival: arrival, Data: i.slab.Copy(b)}
	if len(header) > 0 {
		p.Header = i.slab.Copy(header)
	}
	var jumps, clocks uint64
	for o := 0; o < len(b); o += PacketSize {
		tp := Packet(p.Data[o : o+PacketSize])
		if tp[0] != SyncByte || tp.Corrupt() {
			continue
		}
		if !i.continuity.Check(tp) {
			jumps++
		}
		if _, ok := tp.PCR(); ok {
			clocks++
		}
		if i.access.look(tp) {
			p.RandomAccess = true
		}
	}
	i.packets.Add(uint64(len(b) / PacketSize))
	if jumps > 0 {
		i.discontinuities.Add(jumps)
	}
	if clocks > 0 {
		i.pcr.Add(clocks)
	}
	if p.RandomAccess {
		i.accesses.Add(1)
	}
	return append(out, p)
}

func (i *Ingest) pushOpaque(payload []byte, arrival time.Time, header []byte, out []media.Packet) []media.Packet {
	if aligned(payload) || len(payload) >= lookBytes && findSync(payload[:lookBytes], lockSyncs) >= 0 {
		i.run++
	} else {
		i.run = 0
	}
	if i.run >= gainSync {
		i.Restart()
		return i.Push(payload, arrival, header, out)
	}
	p := media.Packet{Format: i.format, Arrival: arrival, Data: i.slab.Copy(payload)}
	if len(header) > 0 {
		p.Header = i.slab.Copy(header)
	}
	i.opaque.Add(1)
	return append(out, p)
}

func (i *Ingest) countSkipped() {
	if i.align.skipped > 0 {
		i.skipped.Add(uint64(i.align.skipped))
		i.align.skipped = 0
	}
}
