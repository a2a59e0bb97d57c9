package mpegts

import "bytes"

// lockSyncs is how many sync bytes in a row, PacketSize apart, make a stream of
// transport packets out of unknown bytes. Annex G.1 of ISO/IEC 13818-1 and
// ETSI TR 101 290 (5.2.1) use five.
const lockSyncs = 5

// aligned tells whether b is whole transport packets.
func aligned(b []byte) bool {
	if len(b) == 0 || len(b)%PacketSize != 0 {
		return false
	}
	for i := 0; i < len(b); i += PacketSize {
		if b[i] != SyncByte {
			return false
		}
	}
	return true
}

// mostlyAligned is aligned with up to half of the sync bytes damaged: bytes of
// a locked stream that are passed on as they came.
func mostlyAligned(b []byte) bool {
	if len(b) == 0 || len(b)%PacketSize != 0 {
		return false
	}
	good := 0
	for i := 0; i < len(b); i += PacketSize {
		if b[i] == SyncByte {
			good++
		}
	}
	return 2*good*PacketSize > len(b)
}

// findSync returns the first offset from which on b is transport packets to
// its end, the last one perhaps cut short, with at least syncs sync bytes; -1
// if there is none.
func findSync(b []byte, syncs int) int {
	for o := 0; o+(syncs-1)*PacketSize < len(b); o++ {
		i := bytes.IndexByte(b[o:], SyncByte)
		if i < 0 {
			return -1
		}
		o += i
		if synced(b[o:], syncs) {
			return o
		}
	}
	return -1
}

func synced(b []byte, syncs int) bool {
	if len(b) <= (syncs-1)*PacketSize {
		return false
	}
	for i := 0; i < len(b); i += PacketSize {
		if b[i] != SyncByte {
			return false
		}
	}
	return true
}

// resyncs is how many sync bytes bring an aligner back whose stream was
// interrupted: fewer than at first, since it is known to be one.
const resyncs = 3

// An aligner finds whole packets in payloads that cut them anywhere. The zero
// value is ready.
type aligner struct {
	buf     []byte
	at      int // buf[at:] is not dealt with yet; it begins with a packet if locked
	locked  bool
	skipped int // bytes given up
}

// add takes the next payload. What next returned before is no longer valid.
func (a *aligner) add(b []byte) {
	n := copy(a.buf, a.buf[a.at:])
	a.buf, a.at = append(a.buf[:n], b...), 0
}

// next returns whole packets that follow one another, nil if there are none
// for now. A packet counts only if another sync byte or the end of the payload
// follows it: after a loss, two halves that do not belong together meet.
func (a *aligner) next() []byte {
	for {
		b := a.buf[a.at:]
		if !a.locked {
			o := findSync(b, resyncs)
			if o < 0 {
				a.skip(len(b) - resyncs*PacketSize) // the rest may begin a packet
				return nil
			}
			a.skip(o)
			a.locked = true
			continue
		}
		n := 0
		for n+PacketSize <= len(b) && b[n] == SyncByte &&
			(n+PacketSize == len(b) || b[n+PacketSize] == SyncByte) {
			n += PacketSize
		}
		switch {
		case n > 0:
			a.at += n
			return b[:n]
		case len(b) == 0, b[0] == SyncByte && len(b) < PacketSize:
			return nil // the rest of the packet is yet to come
		}
		a.locked = false
		a.skip(1)
	}
}

// drop gives up what is held.
func (a *aligner) drop() {
	a.skip(len(a.buf) - a.at)
	a.locked = false
}

func (a *aligner) skip(n int) {
	if n > 0 {
		a.at += n
		a.skipped += n
	}
}

// empty tells whether no part of a packet is held.
func (a *aligner) empty() bool { return a.at == len(a.buf) }
