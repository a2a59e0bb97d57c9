package remux

import "sluice/relay/mpegts"

// Tables for tests that change a stream.
var (
	MakeSection = section
	MakePMT     = pmt
)

// PAT is the section of several programmes.
func PAT(programs ...mpegts.Program) []byte {
	var b []byte
	for _, p := range programs {
		b = append(b, byte(p.Number>>8), byte(p.Number), 0xE0|byte(p.PMT>>8), byte(p.PMT))
	}
	return section(0x00, 1, 0, b)
}

// ProgramMap is the PMT of any programme.
func ProgramMap(number, clock uint16, streams ...mpegts.Stream) []byte {
	one := pmt(0, clock, streams...)
	return section(0x02, number, 0, one[8:len(one)-4])
}
