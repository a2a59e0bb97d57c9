package mpegts

import "bytes"

// maxPrograms bounds how many program map tables are followed.
const maxPrograms = 32

// An accessFinder follows PAT and PMT to the video of the first program that
// has one, and tells where a decoder may start in it.
type accessFinder struct {
	pat      Assembler
	patCRC   uint32
	programs []*program // in the order of the PAT
	byPMT    [pidCount / 64]uint64
	video    Stream // PID 0 while there is none
	// indicates is set once the encoder was seen to set
	// random_access_indicator; pictures are then no longer looked into.
	indicates bool
}

type program struct {
	Program
	tables Assembler
	crc    uint32
	video  Stream
}

// look takes the next packet of the stream and tells whether a picture begins
// in it at which a decoder may start.
func (f *accessFinder) look(p Packet) bool {
	pid := p.PID()
	switch {
	case pid == PIDPAT:
		f.pat.Push(p, f.readPAT)
		return false
	case f.byPMT[pid/64]&(1<<(pid%64)) != 0:
		f.pushPMT(pid, p)
		return false
	case f.video.PID == 0 || pid != f.video.PID:
		return false
	case p.RandomAccess():
		f.indicates = true
		return true
	}
	return !f.indicates && p.UnitStart() && !p.Scrambled() && startsAccess(f.video.Type, p.Payload())
}

func (f *accessFinder) readPAT(section []byte) {
	crc := checksum(section)
	if crc == f.patCRC {
		return // the same table again
	}
	listed, err := ParsePAT(section)
	if err != nil || listed == nil {
		return
	}
	f.patCRC = crc
	f.programs, f.byPMT = nil, [pidCount / 64]uint64{}
	for _, l := range listed[:min(len(listed), maxPrograms)] {
		f.programs = append(f.programs, &program{Program: l})
		f.byPMT[l.PMT/64] |= 1 << (l.PMT % 64)
	}
	f.choose()
}

// pushPMT gives a packet to the programs whose map is on its PID: several may
// share one.
func (f *accessFinder) pushPMT(pid uint16, p Packet) {
	for _, pr := range f.programs {
		if pr.PMT != pid {
			continue
		}
		pr.tables.Push(p, func(section []byte) {
			crc := checksum(section)
			if crc == pr.crc {
				return
			}
			pmt, err := ParsePMT(section)
			if err != nil || pmt == nil || pmt.Program != pr.Number {
				return
			}
			pr.crc, pr.video = crc, Stream{}
			for _, s := range pmt.Streams {
				if s.Type.Video() {
					pr.video = s
					break
				}
			}
			f.choose()
		})
	}
}

func (f *accessFinder) choose() {
	var video Stream
	for _, pr := range f.programs {
		if pr.video.PID != 0 {
			video = pr.video
			break
		}
	}
	if video.PID != f.video.PID || video.Type != f.video.Type {
		f.video, f.indicates = video, false
	}
}

// checksum is the CRC that a section ends with.
func checksum(s []byte) uint32 {
	e := s[max(0, len(s)-4):]
	var c uint32
	for _, b := range e {
		c = c<<8 | uint32(b)
	}
	return c
}

var startCode = []byte{0, 0, 1}

// startsAccess tells whether the PES packet that begins in b begins with a
// picture at which decoding may start: an H.264 IDR or an HEVC IRAP picture,
// or the parameter sets that precede one, or an MPEG-2 sequence header. What
// stands before the first slice is small, so one transport packet is enough.
func startsAccess(t StreamType, b []byte) bool {
	// packet_start_code_prefix, stream_id of video (2.4.3.7), flags, length of
	// the optional header.
	if len(b) < 9 || !bytes.HasPrefix(b, startCode) || b[3]&0xF0 != 0xE0 {
		return false
	}
	b = b[min(9+int(b[8]), len(b)):]
	for {
		i := bytes.Index(b, startCode)
		if i < 0 || i+3 >= len(b) {
			return false
		}
		b = b[i+3:]
		switch t {
		case MPEG1Video, MPEG2Video:
			switch b[0] {
			case 0xB3: // sequence_header_code
				return true
			case 0x00: // picture_start_code
				return false
			}
		case H264: // ITU-T H.264 table 7-1
			switch b[0] & 0x1F {
			case 5, 7: // IDR slice, sequence parameter set
				return true
			case 1, 2: // other slices
				return false
			}
		case HEVC: // ITU-T H.265 table 7-1
			switch n := b[0] >> 1 & 0x3F; {
			case n >= 16 && n <= 23, n == 32, n == 33: // IRAP slice, VPS, SPS
				return true
			case n < 32:
				return false
			}
		default:
			return false
		}
	}
}
