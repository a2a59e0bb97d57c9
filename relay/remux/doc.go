// Package remux turns transport streams into RTMP messages and back, without
// touching what the codecs made: it takes frames out of one wrapping and puts
// them into the other. It has no sockets, no goroutines and no clock of its own.
//
//	media.TS  -> Demux: PSI -> programme -> PES -> frames -> timeline -> interleave -> media.FLV
//	media.FLV -> Mux:   tag -> frames -> interleave -> PES -> packets, PSI, PCR     -> media.TS
//
// Sources: ISO/IEC 13818-1 (systems; section numbers are of the 2018 edition),
// ISO/IEC 14496-3 (AAC, LATM), 14496-15 (avcC, hvcC), ITU-T H.264 and H.265,
// ETSI TS 102 366 (AC-3), RFC 6716 and 7845 (Opus) with ETSI TS 101 154 for
// Opus in transport streams, the AV1 specification with AOM's "Carriage of AV1 in
// MPEG-2 TS", FLV 10.1 and Enhanced RTMP v2.
package remux

import "time"

// millisecond is how many ticks of 90 kHz a millisecond has.
const millisecond = 90

// wrap is where PTS and DTS begin anew (2.4.3.7).
const wrap = 1 << 33

// nearest returns the time that is equal to t modulo 2^33 and nearest to ref.
func nearest(t, ref int64) int64 {
	d := (t - ref) & (wrap - 1)
	if d >= wrap/2 {
		d -= wrap
	}
	return ref + d
}

// whole rounds ticks to whole milliseconds, in ticks.
func whole(t int64) int64 {
	t += millisecond / 2
	if t < 0 {
		t -= millisecond - 1
	}
	return t / millisecond * millisecond
}

// ticks is a duration at 90 kHz.
func ticks(d time.Duration) int64 { return d.Milliseconds() * millisecond }
