package remux

import (
	"bytes"
	"slices"
	"time"

	"sluice/relay/flv"
	"sluice/relay/media"
	"sluice/relay/mpegts"
)

const (
	// maxPrograms bounds how many program map tables are followed.
	maxPrograms = 32
	// maxStreams bounds how many streams of a programme are looked at.
	maxStreams = 64
	// patience is how long a programme is waited for that stands before
	// another in the table.
	patience = time.Second
)

// What becomes of the packets of a PID.
type role uint8

const (
	roleUnknown role = iota
	roleIgnored      // null packets, tables, a clock of its own
	rolePAT
	rolePMT
	roleVideo
	roleAudio
	roleSecond
	roleData
	roleCodec
	roleOther
)

// drop returns why packets of the role are not passed on.
func (r role) drop() (why Drop, ok bool) {
	switch r {
	case roleUnknown:
		return DropUnknown, true
	case roleSecond:
		return DropSecond, true
	case roleData:
		return DropData, true
	case roleCodec:
		return DropCodec, true
	case roleOther:
		return DropProgram, true
	}
	return 0, false
}

// A programme is an entry of the PAT, with its PMT.
type programme struct {
	mpegts.Program
	tables  *mpegts.Assembler // made for the first packet of its PID
	crc     uint32
	known   bool
	pcr     uint16
	streams []mpegts.Stream
}

// What a stream is to a message.
type use struct {
	track int // media.Video, media.Audio, or 0 for what is neither
	codec string
	why   string // it cannot be carried
}

// useOf tells what a stream of a PMT is.
func useOf(s mpegts.Stream) use {
	switch s.Type {
	case mpegts.H264:
		return use{media.Video, flv.AVC, ""}
	case mpegts.HEVC:
		return use{media.Video, flv.HEVC, ""}
	case mpegts.MPEG1Video, mpegts.MPEG2Video:
		return use{media.Video, "mpeg2", "MPEG-2 video has no place in RTMP"}
	case mpegts.MPEG4Video:
		return use{media.Video, "mpeg4", "MPEG-4 part 2 video has no place in RTMP"}
	case mpegts.VVC:
		return use{media.Video, flv.VVC, "VVC is not converted"}
	case mpegts.VC1:
		return use{media.Video, "vc1", "VC-1 has no place in RTMP"}
	case mpegts.MPEG1Audio, mpegts.MPEG2Audio:
		return use{media.Audio, flv.MP3, ""} // or layer II: the frames tell
	case mpegts.ADTS, mpegts.LATM:
		return use{media.Audio, flv.AAC, ""}
	case mpegts.AC3:
		return use{media.Audio, flv.AC3, ""}
	case mpegts.EAC3:
		return use{media.Audio, flv.EAC3, ""}
	case mpegts.SCTE35:
		return use{0, "scte35", "splice information has no place in RTMP"}
	case mpegts.Private, mpegts.Metadata:
		return useOfPrivate(s)
	}
	return use{0, "", "data of an unknown kind"}
}

// useOfPrivate tells by the descriptors what private PES packets are.
func useOfPrivate(s mpegts.Stream) use {
	switch s.Registration() {
	case "HEVC":
		return use{media.Video, flv.HEVC, ""}
	case "AV01":
		return use{media.Video, flv.AV1, ""}
	case "Opus":
		return use{media.Audio, flv.Opus, ""}
	case "AC-3":
		return use{media.Audio, flv.AC3, ""}
	case "EAC3":
		return use{media.Audio, flv.EAC3, ""}
	case "BSSD":
		return use{media.Audio, "s302m", "SMPTE 302M audio has no place in RTMP"}
	case "KLVA":
		return use{0, "klv", "KLV has no place in RTMP"}
	}
	for _, d := range []struct { // ETSI EN 300 468 table 12
		tag byte
		use use
	}{
		{0x6A, use{media.Audio, flv.AC3, ""}},
		{0x7A, use{media.Audio, flv.EAC3, ""}},
		{0x7B, use{media.Audio, "dts", "DTS has no place in RTMP"}},
		{0x59, use{0, "dvbsub", "subtitles have no place in RTMP"}},
		{0x56, use{0, "teletext", "teletext has no place in RTMP"}},
	} {
		if _, ok := s.Descriptor(d.tag); ok {
			return d.use
		}
	}
	return use{0, "", "private data"}
}

func newReader(s mpegts.Stream, codec string) reader {
	switch codec {
	case flv.AVC, flv.HEVC:
		return newNALReader(codec)
	case flv.AV1:
		return newAV1Reader()
	case flv.AC3, flv.EAC3:
		return &scanner{syntax: newDolby(codec)}
	case flv.Opus:
		return &scanner{syntax: newOpus(s)}
	case flv.MP3:
		return &scanner{syntax: newMPA()}
	}
	if s.Type == mpegts.LATM {
		return &scanner{syntax: newLATM()}
	}
	return &scanner{syntax: newADTS()}
}

func (d *Demux) readPAT(section []byte) {
	crc := mpegts.CRC32(section[:len(section)-4])
	if d.listed && crc == d.patCRC {
		return
	}
	listed, err := mpegts.ParsePAT(section)
	if err != nil || listed == nil {
		return
	}
	if !d.listed {
		d.listedAt = d.now
	}
	d.listed, d.patCRC = true, crc
	old := d.programs
	d.programs = nil
	for _, l := range listed[:min(len(listed), maxPrograms)] {
		i := slices.IndexFunc(old, func(p *programme) bool { return p.Program == l })
		if i >= 0 {
			d.programs = append(d.programs, old[i])
			continue
		}
		d.programs = append(d.programs, &programme{Program: l})
	}
	d.choose()
}

// pushPMT gives a packet to the programmes whose map is on its PID: several
// may share one.
func (d *Demux) pushPMT(pid uint16, p mpegts.Packet) {
	for _, pr := range d.programs {
		if pr.PMT == pid {
			if pr.tables == nil {
				pr.tables = &mpegts.Assembler{}
			}
			pr.tables.Push(p, func(section []byte) { d.readPMT(pr, section) })
		}
	}
}

func (d *Demux) readPMT(pr *programme, section []byte) {
	crc := mpegts.CRC32(section[:len(section)-4])
	if pr.known && crc == pr.crc {
		return
	}
	pmt, err := mpegts.ParsePMT(section)
	if err != nil || pmt == nil || pmt.Program != pr.Number {
		return
	}
	pr.known, pr.crc, pr.pcr = true, crc, pmt.PCR
	pr.streams = pmt.Streams[:min(len(pmt.Streams), maxStreams)]
	if pr == d.chosen {
		clear(d.unfit)
	}
	d.choose()
}

// choose takes the programme that was asked for, or the first in the table
// that has anything to carry, and stays with it while it has.
func (d *Demux) choose() {
	keep := d.chosen != nil && slices.Contains(d.programs, d.chosen) && carriable(d.chosen)
	if !keep {
		d.chosen = nil
		clear(d.unfit)
		for _, pr := range d.programs {
			if d.o.Program != 0 && pr.Number != d.o.Program {
				continue
			}
			if !pr.known && d.o.Program == 0 && d.now.Sub(d.listedAt) < patience {
				break // it may yet come, and stands before the others
			}
			if pr.known && carriable(pr) {
				d.chosen = pr
				break
			}
		}
	}
	d.assign()
}

func carriable(pr *programme) bool {
	return slices.ContainsFunc(pr.streams, func(s mpegts.Stream) bool {
		u := useOf(s)
		return u.track != 0 && u.why == ""
	})
}

// assign gives every PID its role, and makes the tracks.
func (d *Demux) assign() {
	clear(d.roles[:])
	for pid := range 0x20 { // PSI and service information
		d.roles[pid] = roleIgnored
	}
	d.roles[mpegts.PIDNull] = roleIgnored
	for _, pr := range d.programs {
		if pr == d.chosen {
			continue
		}
		for _, s := range pr.streams {
			d.roles[s.PID] = roleOther
		}
		if pr.pcr != 0 && d.roles[pr.pcr] == roleUnknown {
			d.roles[pr.pcr] = roleOther
		}
	}
	var video, audio *track
	if d.chosen != nil {
		for _, s := range d.chosen.streams {
			u := useOf(s)
			why := u.why
			if d.unfit[s.PID] != "" {
				why = d.unfit[s.PID]
			}
			switch {
			case u.track == 0:
				d.roles[s.PID] = roleData
			case why != "":
				d.roles[s.PID] = roleCodec
			case u.track == media.Video && video == nil:
				d.roles[s.PID] = roleVideo
				video = d.trackOf(d.video, s, u)
			case u.track == media.Audio && audio == nil:
				d.roles[s.PID] = roleAudio
				audio = d.trackOf(d.audio, s, u)
			default:
				d.roles[s.PID] = roleSecond
			}
		}
		if d.roles[d.chosen.pcr] == roleUnknown {
			d.roles[d.chosen.pcr] = roleIgnored
		}
	}
	for _, pr := range d.programs {
		d.roles[pr.PMT] = rolePMT
	}
	d.roles[mpegts.PIDPAT] = rolePAT // last: no table takes it away
	if video != d.video || audio != d.audio {
		if d.started {
			d.release(d.out, true)
		}
		d.retire(d.video, video)
		d.retire(d.audio, audio)
		d.video, d.audio = video, audio
	}
	d.describe()
}

// trackOf returns the track as it is, where it reads that stream already, or a
// new one.
func (d *Demux) trackOf(old *track, s mpegts.Stream, u use) *track {
	if old != nil && old.stream.PID == s.PID && old.stream.Type == s.Type && bytes.Equal(old.stream.Descriptors, s.Descriptors) {
		return old
	}
	t := &track{kind: u.track, stream: s, reader: newReader(s, u.codec), place: &d.audioPlace}
	if u.track == media.Video {
		t.place = &d.videoPlace
	}
	return t
}

// A Program is what is known of a programme.
type Program struct {
	Number  uint16
	PMT     uint16 // PID of its map
	Chosen  bool
	Streams []Stream
}

// A Stream is what is known of an elementary stream.
type Stream struct {
	PID   uint16
	Type  uint8 // of the PMT
	Track int   // media.Video or media.Audio; 0: neither
	Info
	Carried bool
	Reason  string // why it is not carried
	Spare   bool   // because another one of its kind is
	Packets uint64 // of its PID since the stage was made: their growth is its rate
}

// describe brings the report up to date.
func (d *Demux) describe() {
	d.described = d.now
	programs := make([]Program, 0, len(d.programs))
	for _, pr := range d.programs {
		p := Program{Number: pr.Number, PMT: pr.PMT, Chosen: pr == d.chosen}
		for _, s := range pr.streams {
			u := useOf(s)
			r := Stream{PID: s.PID, Type: uint8(s.Type), Track: u.track, Info: Info{Codec: u.codec}, Reason: u.why}
			if p.Chosen {
				for _, t := range []*track{d.video, d.audio} {
					if t != nil && t.stream.PID == s.PID {
						r.Carried, r.Info = true, t.reader.info()
					}
				}
				if why := d.unfit[s.PID]; why != "" {
					r.Reason = why
				}
				if r.Reason == "" && !r.Carried {
					r.Reason, r.Spare = "another track of its kind is carried", true
				}
			} else if r.Reason == "" {
				r.Reason = "another programme is carried"
			}
			p.Streams = append(p.Streams, r)
		}
		programs = append(programs, p)
	}
	d.report.Store(&programs)
}

// Streams returns the programmes of the source. It may be called from any
// goroutine.
func (d *Demux) Streams() []Program {
	r := d.report.Load()
	if r == nil {
		return nil
	}
	programs := slices.Clone(*r)
	for i := range programs {
		programs[i].Streams = slices.Clone(programs[i].Streams)
		for j := range programs[i].Streams {
			s := &programs[i].Streams[j]
			s.Packets = d.seen[s.PID].Load()
		}
	}
	return programs
}
