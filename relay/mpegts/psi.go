package mpegts

import (
	"encoding/binary"
	"errors"
	"slices"
)

// Errors of the section parsers.
var (
	errTable = errors.New("mpegts: not the expected table")
	errShort = errors.New("mpegts: section is cut short")
)

// A Program is an entry of the program association table.
type Program struct {
	Number uint16
	PMT    uint16 // PID of its program map table
}

// A StreamType says what an elementary stream is (table 2-34, SCTE 35).
type StreamType uint8

// The stream types that this package knows by name.
const (
	MPEG1Video StreamType = 0x01
	MPEG2Video StreamType = 0x02
	MPEG1Audio StreamType = 0x03
	MPEG2Audio StreamType = 0x04
	Private    StreamType = 0x06 // PES packets; descriptors say of what
	ADTS       StreamType = 0x0F
	MPEG4Video StreamType = 0x10
	LATM       StreamType = 0x11
	Metadata   StreamType = 0x15
	H264       StreamType = 0x1B
	HEVC       StreamType = 0x24
	VVC        StreamType = 0x33
	AC3        StreamType = 0x81 // ATSC A/52
	SCTE35     StreamType = 0x86
	EAC3       StreamType = 0x87 // ATSC A/52
	VC1        StreamType = 0xEA
)

// Video tells whether the stream is of pictures.
func (t StreamType) Video() bool {
	switch t {
	case MPEG1Video, MPEG2Video, MPEG4Video, H264, HEVC, VVC, VC1:
		return true
	}
	return false
}

// A Stream is one elementary stream of a program.
type Stream struct {
	Type        StreamType
	PID         uint16
	Descriptors []byte // its descriptors (2.6), one after another
}

// Descriptor returns the body of the first descriptor with the tag.
func (s Stream) Descriptor(tag byte) (body []byte, ok bool) {
	for b := s.Descriptors; len(b) >= 2 && 2+int(b[1]) <= len(b); b = b[2+int(b[1]):] {
		if b[0] == tag {
			return b[2 : 2+int(b[1])], true
		}
	}
	return nil, false
}

// Registration returns the format_identifier of the stream (2.6.8), empty
// where it has none.
func (s Stream) Registration() string {
	if d, ok := s.Descriptor(0x05); ok && len(d) >= 4 {
		return string(d[:4])
	}
	return ""
}

// A PMT is a program map table.
type PMT struct {
	Program uint16
	PCR     uint16 // PID that carries the program's clock; PIDNull where none
	Streams []Stream
}

// table checks the part that PAT and PMT sections share (2.4.4.4, 2.4.4.9) and
// returns what stands between last_section_number and the CRC. current is
// false for a table that is not in force yet.
func table(id byte, s []byte) (extension uint16, body []byte, current bool, err error) {
	if len(s) < 12 {
		return 0, nil, false, errShort
	}
	if s[0] != id || s[1]&0x80 == 0 {
		return 0, nil, false, errTable
	}
	return binary.BigEndian.Uint16(s[3:]), s[8 : len(s)-4], s[5]&1 != 0, nil
}

// ParsePAT reads a program association section (2.4.4.4) whose CRC is right.
// The network PID, program 0, is left out. A table that is not in force yet
// is nil.
func ParsePAT(section []byte) ([]Program, error) {
	_, b, current, err := table(0x00, section)
	if err != nil || !current {
		return nil, err
	}
	if len(b)%4 != 0 {
		return nil, errShort
	}
	programs := make([]Program, 0, len(b)/4)
	for ; len(b) > 0; b = b[4:] {
		p := Program{Number: binary.BigEndian.Uint16(b), PMT: binary.BigEndian.Uint16(b[2:]) & 0x1FFF}
		if p.Number != 0 {
			programs = append(programs, p)
		}
	}
	return programs, nil
}

// ParsePMT reads a program map section (2.4.4.9) whose CRC is right. A table
// that is not in force yet is nil.
func ParsePMT(section []byte) (*PMT, error) {
	program, b, current, err := table(0x02, section)
	if err != nil || !current {
		return nil, err
	}
	if len(b) < 4 {
		return nil, errShort
	}
	pmt := &PMT{Program: program, PCR: binary.BigEndian.Uint16(b) & 0x1FFF}
	info := int(binary.BigEndian.Uint16(b[2:]) & 0x0FFF)
	b = b[4:]
	if info > len(b) {
		return nil, errShort
	}
	for b = b[info:]; len(b) > 0; {
		if len(b) < 5 {
			return nil, errShort
		}
		n := 5 + int(binary.BigEndian.Uint16(b[3:])&0x0FFF)
		if n > len(b) {
			return nil, errShort
		}
		pmt.Streams = append(pmt.Streams, Stream{
			Type: StreamType(b[0]), PID: binary.BigEndian.Uint16(b[1:]) & 0x1FFF, Descriptors: slices.Clone(b[5:n]),
		})
		b = b[n:]
	}
	return pmt, nil
}
