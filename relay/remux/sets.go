package remux

import (
	"bytes"
	"slices"

	"github.com/bluenviron/mediacommon/v2/pkg/codecs/h264"
	"github.com/bluenviron/mediacommon/v2/pkg/codecs/h265"
)

func has(sets [][]byte, n []byte) bool {
	return slices.ContainsFunc(sets, func(s []byte) bool { return bytes.Equal(s, n) })
}

// keepSets takes the parameter sets of an access unit. An SPS replaces those
// before it, with their PPS where they come along; a PPS alone replaces the one
// of its number.
func (r *nalReader) keepSets(units [][]byte) {
	var vps, sps, pps [][]byte
	for _, n := range units {
		if len(n) <= r.head || len(n) > maxSet {
			continue
		}
		switch r.kind(n) {
		case nalVPS:
			vps = r.collect(vps, n)
		case nalSPS:
			sps = r.collect(sps, n)
		case nalPPS:
			pps = r.collect(pps, n)
		}
	}
	r.vps = r.replace(r.vps, vps)
	if len(sps) > 0 {
		r.sps = r.replace(r.sps, sps)
		r.pps = r.replace(r.pps, pps)
		return
	}
	for _, n := range pps {
		i := slices.IndexFunc(r.pps, func(old []byte) bool { return r.setID(old) == r.setID(n) })
		switch {
		case i < 0 && len(r.pps) < maxSets:
			r.pps = append(r.pps, bytes.Clone(n))
			r.changed()
		case i >= 0 && !bytes.Equal(r.pps[i], n):
			r.pps[i] = bytes.Clone(n)
			r.changed()
		}
	}
}

// changed tells that the parameter sets are others.
func (r *nalReader) changed() { r.stale, r.fields.known = true, false }

func (r *nalReader) collect(sets [][]byte, n []byte) [][]byte {
	if len(sets) < maxSets && !has(sets, n) {
		sets = append(sets, n)
	}
	return sets
}

func (r *nalReader) replace(old, sets [][]byte) [][]byte {
	if len(sets) == 0 || slices.EqualFunc(old, sets, bytes.Equal) {
		return old
	}
	r.changed()
	kept := make([][]byte, len(sets))
	for i, s := range sets {
		kept[i] = bytes.Clone(s)
	}
	return kept
}

// setID is pic_parameter_set_id, which begins a PPS.
func (r *nalReader) setID(n []byte) uint32 {
	b := bitReader{b: n[r.head:min(len(n), r.head+8)]}
	return b.ue()
}

// announce makes the header message of the parameter sets that are there.
func (r *nalReader) announce() {
	if len(r.sps) == 0 || len(r.pps) == 0 || r.hevc && len(r.vps) == 0 {
		return
	}
	var configuration []byte
	if r.hevc {
		configuration = r.hevcConfiguration()
	} else {
		configuration = r.avcConfiguration()
	}
	if configuration == nil {
		return
	}
	r.stale = false
	if m := sequenceHeader(r.in.Codec, configuration); !bytes.Equal(m, r.announced) {
		r.announced = m
	}
	r.known = slices.Concat(r.vps, r.sps, r.pps)
}

// avcConfiguration is an AVCDecoderConfigurationRecord (14496-15, 5.3.3.1.2).
func (r *nalReader) avcConfiguration() []byte {
	first := r.sps[0]
	if len(first) < 4 {
		return nil
	}
	var sps h264.SPS
	err := sps.Unmarshal(first)
	if err == nil {
		r.in.shows(sps.Width(), sps.Height(), sps.FPS())
		r.reorder = 0
		if sps.VUI != nil && sps.VUI.BitstreamRestriction != nil {
			r.reorder = int(min(sps.VUI.BitstreamRestriction.MaxNumReorderFrames, maxReorder))
		}
	}
	b := []byte{1, first[1], first[2], first[3], 0xFC | 3, 0xE0 | byte(min(len(r.sps), 31))}
	for _, s := range r.sps[:min(len(r.sps), 31)] {
		b = append(append(b, byte(len(s)>>8), byte(len(s))), s...)
	}
	b = append(b, byte(len(r.pps)))
	for _, s := range r.pps {
		b = append(append(b, byte(len(s)>>8), byte(len(s))), s...)
	}
	switch first[1] {
	case 66, 77, 88:
	default:
		if err == nil {
			b = append(b, 0xFC|byte(sps.ChromaFormatIdc)&3, 0xF8|byte(sps.BitDepthLumaMinus8)&7, 0xF8|byte(sps.BitDepthChromaMinus8)&7, 0)
		}
	}
	return b
}

// hevcConfiguration is an HEVCDecoderConfigurationRecord (14496-15, 8.3.3.1.2).
func (r *nalReader) hevcConfiguration() []byte {
	var sps h265.SPS
	if err := sps.Unmarshal(r.sps[0]); err != nil {
		return nil
	}
	r.in.shows(sps.Width(), sps.Height(), sps.FPS())
	r.reorder = 0
	if n := len(sps.MaxNumReorderPics); n > 0 {
		r.reorder = int(min(sps.MaxNumReorderPics[n-1], maxReorder))
	}
	// profile_tier_level begins after two bytes of header and one of
	// sps_video_parameter_set_id, sps_max_sub_layers_minus1 and the nesting
	// flag (H.265 section 7.3.2.2.1): 12 bytes that are taken as they are.
	raw := unescape(r.scratch[:0], r.sps[0])
	r.scratch = raw
	if len(raw) < 15 {
		return nil
	}
	b := append([]byte{1}, raw[3:15]...)
	b = append(
		b, 0xF0, 0, // min_spatial_segmentation_idc: not known
		0xFC, // parallelismType: not known
		0xFC|byte(sps.ChromaFormatIdc)&3,
		0xF8|byte(sps.BitDepthLumaMinus8)&7, 0xF8|byte(sps.BitDepthChromaMinus8)&7,
		0, 0, // avgFrameRate: not known
		(raw[2]>>1&7+1)<<3|(raw[2]&1)<<2|3, // numTemporalLayers, temporalIdNested, lengthSizeMinusOne
		3,
	)
	for i, sets := range [][][]byte{r.vps, r.sps, r.pps} {
		b = append(b, 0x80|byte(32+i), 0, byte(len(sets))) // array_completeness, type, count
		for _, s := range sets {
			b = append(append(b, byte(len(s)>>8), byte(len(s))), s...)
		}
	}
	return b
}
