package rtmp

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"
	"testing"
	"time"

	rtmpmsg "github.com/yutopp/go-rtmp/message"

	"sluice/relay/endpoint"
	"sluice/relay/flow"
	"sluice/relay/media"
)

const (
	amf0Data  = rtmpmsg.TypeIDDataMessageAMF0
	amf3Data  = rtmpmsg.TypeIDDataMessageAMF3
	aggregate = rtmpmsg.TypeIDAggregateMessage
)

// The bodies of messages: H.264 and AAC as FLV has them.
func videoHeader(v byte) []byte { return []byte{0x17, 0, 0, 0, 0, 1, v} }
func audioHeader(v byte) []byte { return []byte{0xAF, 0, 0x11, v} }
func sound(b ...byte) []byte    { return append([]byte{0xAF, 1}, b...) }

// picture is a key frame or another one, whose composition time is that many
// milliseconds.
func picture(key bool, composition int32, b ...byte) []byte {
	frame := byte(0x27)
	if key {
		frame = 0x17
	}
	return append([]byte{frame, 1, byte(composition >> 16), byte(composition >> 8), byte(composition)}, b...)
}

// trackHeader is the configuration of one of many tracks (Enhanced RTMP).
func trackHeader(track byte, config ...byte) []byte {
	return append([]byte{0x80 | 1<<4 | 6, 0, 'a', 'v', 'c', '1', track}, config...)
}

func said(name string, args ...any) []byte { return encodeAMF(append([]any{name}, args...)...) }

// balanced tells whether a ledger at rest adds up.
func balanced(t *testing.T, l *endpoint.Ledger) {
	t.Helper()
	sum := l.Sent.Load()
	for _, n := range l.Dropped() {
		sum += n
	}
	if taken := l.Taken.Load(); taken != sum || taken == 0 {
		t.Errorf("ledger: %d taken, %d sent, dropped %v", taken, l.Sent.Load(), l.Dropped())
	}
}

// An intake is an ingest that a test feeds, and what it publishes.
type intake struct {
	*ingest
	t      *testing.T
	cursor *flow.Cursor
	ledger *endpoint.Ledger
	now    time.Time
}

func newIntake(t *testing.T) *intake {
	t.Helper()
	f, l := flow.New(flow.DefaultLimits), &endpoint.Ledger{}
	cursor := f.Open()
	return &intake{ingest: newIngest(f, l), t: t, cursor: cursor, ledger: l, now: time.Now()}
}

// comes has a message come.
func (x *intake) comes(kind rtmpmsg.TypeID, time uint32, data []byte) {
	x.take(message{kind: kind, stream: 1, time: time, data: data}, x.now)
}

// pass lets time go by.
func (x *intake) pass(ms int) { x.now = x.now.Add(time.Duration(ms) * time.Millisecond) }

// published returns what was published since it was asked last.
func (x *intake) published() (all []media.Packet) {
	x.t.Helper()
	x.flush()
	for {
		var b [16]media.Packet
		n, lost := x.cursor.Poll(b[:])
		if lost > 0 {
			x.t.Fatalf("%d packets are lost to the test", lost)
		}
		if all = append(all, b[:n]...); n == 0 {
			return all
		}
	}
}

// one returns the one packet that was published.
func (x *intake) one() media.Packet {
	x.t.Helper()
	all := x.published()
	if len(all) != 1 {
		x.t.Fatalf("%d packets are published", len(all))
	}
	return all[0]
}

func headers(f *media.Format) (all []string) {
	for _, h := range f.Headers {
		all = append(all, fmt.Sprintf("%d %x", h.Track, h.Data))
	}
	return all
}

func TestHeadersAreNoPackets(t *testing.T) {
	x := newIntake(t)
	meta := said("onMetaData", map[string]any{"width": 320})
	x.comes(amf0Data, 0, append(said("@setDataFrame"), meta...))
	x.comes(video, 0, videoHeader(1))
	x.comes(audio, 0, audioHeader(1))
	if n := len(x.published()); n != 0 {
		t.Fatalf("%d packets of headers", n)
	}
	x.comes(video, 40, picture(true, 80, 'k'))
	x.comes(audio, 41, sound('s'))
	x.comes(video, 80, picture(false, -40, 'p'))
	got := x.published()
	want := []struct {
		track    int
		dts, pts int64
		key      bool
		data     []byte
	}{
		{media.Video, 40, 120, true, picture(true, 80, 'k')}, {media.Audio, 41, 41, false, sound('s')}, {media.Video, 80, 40, false, picture(false, -40, 'p')},
	}
	if len(got) != len(want) {
		t.Fatalf("%d packets", len(got))
	}
	for i, w := range want {
		p := got[i]
		if p.Track != w.track || p.DTS != w.dts*ticks || p.PTS != w.pts*ticks || p.RandomAccess != w.key || !bytes.Equal(p.Data, w.data) || p.Arrival != x.now {
			t.Errorf("packet %d: %+v", i, p)
		}
	}
	f := got[0].Format
	if f.Kind != media.FLV || f.Clock == nil || got[1].Format != f || got[2].Format != f {
		t.Errorf("format %+v", f)
	}
	wanted := []string{fmt.Sprintf("18 %x", meta), fmt.Sprintf("9 %x", videoHeader(1)), fmt.Sprintf("8 %x", audioHeader(1))}
	if !slices.Equal(headers(f), wanted) {
		t.Errorf("headers %v, want %v", headers(f), wanted)
	}

	// The same again changes nothing; another one begins a format of the same
	// clock, and what did not change is the same memory.
	x.comes(audio, 81, audioHeader(1))
	x.comes(video, 120, picture(true, 0))
	if p := x.one(); p.Format != f {
		t.Error("the same header begins another format")
	}
	x.comes(video, 121, videoHeader(2))
	x.comes(video, 160, picture(true, 0))
	g := x.one().Format
	if g == f || g.Clock != f.Clock || len(g.Headers) != 3 || !bytes.Equal(g.Headers[1].Data, videoHeader(2)) {
		t.Fatalf("another header: format %+v", g)
	}
	if &g.Headers[2].Data[0] != &f.Headers[2].Data[0] {
		t.Error("a header that did not change is a copy")
	}
	if headers(f)[1] != wanted[1] {
		t.Error("a format has changed")
	}
	if n := x.ledger.Taken.Load(); n != 10 {
		t.Errorf("%d of 10 messages are counted", n)
	}
	balanced(t, x.ledger)
}

func TestRandomAccess(t *testing.T) {
	x := newIntake(t)
	x.comes(audio, 0, audioHeader(1))
	x.comes(audio, 0, sound())
	if !x.one().RandomAccess {
		t.Error("audio alone: a decoder cannot start")
	}
	x.comes(audio, 10, nil)
	if p := x.one(); !p.RandomAccess || len(p.Data) != 0 {
		t.Errorf("silence: %+v", p)
	}
	x.comes(video, 20, videoHeader(1))
	x.comes(audio, 20, sound())
	if x.one().RandomAccess {
		t.Error("a decoder can start with audio where there is video")
	}
	for _, c := range []struct {
		name string
		data []byte
		key  bool
	}{
		{"key frame", picture(true, 0, 1), true},
		{"key frame without a byte", picture(true, 0), false},
		{"another frame", picture(false, 0, 1), false},
		{"end of sequence", []byte{0x17, 2, 0, 0, 0}, false},
		{"HEVC key frame", []byte{0x80 | 1<<4 | 1, 'h', 'v', 'c', '1', 0, 0, 0, 9}, true},
		{"HEVC without a composition time", []byte{0x80 | 2<<4 | 3, 'h', 'v', 'c', '1', 9}, false},
		{"one of many tracks", []byte{0x80 | 1<<4 | 6, 1, 'a', 'v', '0', '1', 3, 9}, true},
		{"what nothing gives a meaning", []byte{0x1F, 9, 9}, false},
	} {
		x.pass(10)
		x.comes(video, 30, c.data)
		if p := x.one(); p.RandomAccess != c.key || !bytes.Equal(p.Data, c.data) {
			t.Errorf("%s: %+v", c.name, p)
		}
	}
	balanced(t, x.ledger)
}

// TestTimes lets the times of a source wrap, go back a little, and jump.
func TestTimes(t *testing.T) {
	const wrap = 1 << 32
	for _, c := range []struct {
		name  string
		times []int64 // of messages 40 ms apart
		want  []int64
		anew  int // message that begins a clock; 0: none
	}{
		{"from zero", []int64{0, 40, 80}, []int64{0, 40, 80}, 0},
		{"from 5.5 hours", []int64{20_000_000, 20_000_040}, []int64{20_000_000, 20_000_040}, 0},
		{"across 24 bits", []int64{maxUint24 - 40, maxUint24, maxUint24 + 40}, []int64{maxUint24 - 40, maxUint24, maxUint24 + 40}, 0},
		{"across 31 bits", []int64{1<<31 - 40, 1 << 31, 1<<31 + 40}, []int64{1<<31 - 40, 1 << 31, 1<<31 + 40}, 0},
		{"across 32 bits", []int64{wrap - 60, wrap - 20, 20, 60}, []int64{wrap - 60, wrap - 20, wrap + 20, wrap + 60}, 0},
		{"across 32 bits and back a little", []int64{wrap - 20, 20, wrap - 5, 60}, []int64{wrap - 20, wrap + 20, wrap - 5, wrap + 60}, 0},
		{"below zero", []int64{10, wrap - 10, 50}, []int64{10, -10, 50}, 0},
		{"back as far as may be", []int64{10_000, 5_000, 10_040}, []int64{10_000, 5_000, 10_040}, 0},
		{"back", []int64{10_000, 10_040, 5_000, 5_040}, []int64{10_000, 10_040, 5_000, 5_040}, 2},
		{"across 31 bits, which are all", []int64{wrap/2 - 40, 0, 40}, []int64{wrap/2 - 40, wrap / 2, wrap/2 + 40}, 0},
		{"across 31 bits, and back a little", []int64{wrap/2 - 40, 0, wrap/2 - 20, 40}, []int64{wrap/2 - 40, wrap / 2, wrap/2 - 20, wrap/2 + 40}, 0},
		{"back to zero", []int64{wrap / 4, 0, 40}, []int64{wrap / 4, 0, 40}, 1},
		{"ahead as far as may be", []int64{0, 10_040, 10_080}, []int64{0, 10_040, 10_080}, 0},
		{"ahead", []int64{0, 10_041, 10_081}, []int64{0, 10_041, 10_081}, 1},
		{"ahead by a quarter of all there is", []int64{0, wrap / 4, wrap/4 + 40}, []int64{0, wrap / 4, wrap/4 + 40}, 1},
	} {
		x := newIntake(t)
		x.comes(video, 0, videoHeader(1))
		var clock *media.Clock
		var offset int64 // by which the flow moves them
		for i, at := range c.times {
			x.comes(video, uint32(at), picture(true, 40, 1))
			p := x.one()
			switch {
			case clock == nil, i == c.anew && i > 0:
				if p.Format.Clock == clock {
					t.Errorf("%s: message %d goes on with the clock", c.name, i)
				}
				clock, offset = p.Format.Clock, p.DTS-c.want[i]*ticks
				if len(p.Format.Headers) != 1 {
					t.Errorf("%s: %d headers with the clock", c.name, len(p.Format.Headers))
				}
			case p.Format.Clock != clock:
				t.Errorf("%s: message %d begins a clock", c.name, i)
			}
			if p.DTS-offset != c.want[i]*ticks || p.PTS-p.DTS != 40*ticks {
				t.Errorf("%s: message %d is at %d ms, want %d", c.name, i, (p.DTS-offset)/ticks, c.want[i])
			}
			x.pass(40)
		}
	}
}

// TestSourceFallsSilent: what was not sent for a while may be as far ahead.
func TestSourceFallsSilent(t *testing.T) {
	x := newIntake(t)
	x.comes(video, 0, picture(true, 0, 1))
	clock := x.one().Format.Clock
	x.pass(60_000)
	x.comes(video, 65_000, picture(true, 0, 1))
	if p := x.one(); p.Format.Clock != clock || p.DTS != 65_000*ticks {
		t.Errorf("at %d, another clock: %v", p.DTS/ticks, p.Format.Clock != clock)
	}
}

// TestTracksApart: sound and picture that are hours apart begin no clock with
// every message, and stay apart.
func TestTracksApart(t *testing.T) {
	x := newIntake(t)
	var clock *media.Clock
	since := 0
	const apart = 3_600_000
	var offset int64
	for i := range int64(100) {
		for _, m := range []struct {
			kind rtmpmsg.TypeID
			time int64
			data []byte
		}{{audio, 40 * i, sound(1)}, {video, apart + 40*i, picture(true, 0, 1)}} {
			x.comes(m.kind, uint32(m.time), m.data)
			p := x.one()
			if since++; p.Format.Clock != clock {
				clock, since, offset = p.Format.Clock, 0, p.DTS-m.time*ticks
			}
			if got := p.DTS - offset; got != m.time*ticks {
				t.Fatalf("message %d of %d is at %d ms, want %d", i, m.kind, got/ticks, m.time)
			}
		}
		x.pass(40)
	}
	if since < 150 {
		t.Errorf("the newest clock began %d messages ago", since)
	}
}

func TestDataMessages(t *testing.T) {
	x := newIntake(t)
	x.comes(video, 20_000, picture(true, 0, 1))
	clock := x.one().Format.Clock
	cue := said("onCuePoint", map[string]any{"name": "x"})
	for _, c := range []struct {
		name string
		kind rtmpmsg.TypeID
		time uint32
		data []byte
		at   int64
	}{
		{"with the media", amf0Data, 20_010, cue, 20_010},
		{"a little before", amf0Data, 19_000, cue, 19_000},
		{"at zero", amf0Data, 0, cue, 20_000},
		{"far ahead", amf0Data, 1 << 31, cue, 20_000},
		{"of AMF3", amf3Data, 20_020, append([]byte{0}, cue...), 20_020},
		{"behind what a publisher says", amf0Data, 20_030, append(said("@setDataFrame"), cue...), 20_030},
		{"nothing", amf0Data, 20_040, nil, 20_040},
	} {
		x.comes(c.kind, c.time, c.data)
		p := x.one()
		want := cue
		if len(c.data) == 0 {
			want = nil
		}
		if p.Track != media.Data || p.DTS != c.at*ticks || p.PTS != p.DTS || p.RandomAccess || !bytes.Equal(p.Data, want) || p.Format.Clock != clock {
			t.Errorf("%s: at %d: %+v", c.name, p.DTS/ticks, p)
		}
	}
	// Metadata of AMF3, and without what a publisher puts before it.
	meta := said("onMetaData", map[string]any{"a": 1})
	x.comes(amf3Data, 20_050, append([]byte{0}, meta...))
	x.comes(video, 20_060, picture(false, 0, 1))
	if f := x.one().Format; len(f.Headers) != 1 || !bytes.Equal(f.Headers[0].Data, meta) || f.Headers[0].Track != media.Data {
		t.Errorf("headers %v", headers(f))
	}
	dropped := x.ledger.Dropped()["wrong_format"]
	x.comes(amf3Data, 20_070, nil)
	x.comes(amf3Data, 20_070, append([]byte{3}, cue...))
	if n := x.ledger.Dropped()["wrong_format"] - dropped; n != 2 || len(x.published()) != 0 {
		t.Errorf("%d of 2 messages that are not AMF0 are dropped", n)
	}
	balanced(t, x.ledger)
}

// TestDataFirst has data come before any media: the media's times count.
func TestDataFirst(t *testing.T) {
	x := newIntake(t)
	x.comes(amf0Data, 0, said("onCuePoint", true))
	x.comes(video, 20_000_000, picture(true, 0, 1))
	x.comes(video, 20_000_040, picture(false, 0, 1))
	got := x.published()
	n := len(got)
	if n < 2 || got[n-1].DTS-got[n-2].DTS != 40*ticks || got[n-1].Format.Clock != got[n-2].Format.Clock {
		t.Errorf("%+v", got)
	}
	balanced(t, x.ledger)
}

func TestBrokenMessages(t *testing.T) {
	x := newIntake(t)
	broken := [][]byte{nil, {0x17}, {0x17, 1, 0}, {0x17, 0, 0, 0, 0}, {0x90, 'h', 'v'}, {0x96}}
	for _, b := range broken {
		x.comes(video, 0, b)
	}
	for _, b := range [][]byte{{0xAF}, {0xAF, 0}, {0x90, 'O'}} {
		x.comes(audio, 0, b)
	}
	if n := x.ledger.Dropped()["wrong_format"]; n != uint64(len(broken)+3) || len(x.published()) != 0 {
		t.Errorf("%d of %d broken messages are dropped", n, len(broken)+3)
	}
	x.comes(audio, 0, sound(1)) // a broken video message is no video
	if !x.one().RandomAccess {
		t.Error("a decoder cannot start with the audio")
	}
	for kind := range rtmpmsg.TypeID(64) { // what is no media does nothing
		switch kind {
		case audio, video, amf0Data, amf3Data, aggregate:
		default:
			x.comes(kind, 0, []byte{1, 2, 3})
		}
	}
	if n := len(x.published()); n != 0 {
		t.Errorf("%d packets of what is no media", n)
	}
	balanced(t, x.ledger)
}

// tag is a message within an aggregate: an FLV tag and a back pointer.
func tag(kind rtmpmsg.TypeID, time uint32, data []byte) []byte {
	n := len(data)
	b := []byte{byte(kind), byte(n >> 16), byte(n >> 8), byte(n), byte(time >> 16), byte(time >> 8), byte(time), byte(time >> 24), 0, 0, 0}
	return binary.BigEndian.AppendUint32(append(b, data...), uint32(11+n))
}

func TestAggregate(t *testing.T) {
	x := newIntake(t)
	const base = 1 << 25 // of the tags; the message counts from another time
	whole := slices.Concat(
		tag(video, base, videoHeader(1)), tag(video, base, picture(true, 0, 1)), tag(audio, base+10, sound(2)),
		tag(amf0Data, base+20, said("onMetaData")), tag(video, base+40, picture(false, 0, 3)),
	)
	x.comes(aggregate, 5000, whole)
	got := x.published()
	if len(got) != 3 || got[0].DTS != 5000*ticks || got[1].DTS != 5010*ticks || got[2].DTS != 5040*ticks || !bytes.Equal(got[1].Data, sound(2)) ||
		len(got[0].Format.Headers) != 1 || len(got[2].Format.Headers) != 2 {
		t.Errorf("%+v", got)
	}
	// Without the last back pointer, with less than a tag behind it, and cut.
	for _, c := range []struct {
		name           string
		b              []byte
		packets, drops int
	}{
		{"nothing", nil, 0, 0},
		{"without a back pointer", tag(audio, 0, sound(1))[:14], 1, 0},
		{"half a back pointer", tag(audio, 0, sound(1))[:16], 1, 0},
		{"less than a tag behind it", append(tag(audio, 0, sound(1)), 8, 0, 0), 1, 0},
		{"cut", append(tag(audio, 0, sound(1)), tag(video, 0, picture(true, 0, 1))[:13]...), 1, 1},
		{"broken", append(tag(video, 0, []byte{0x17}), tag(audio, 0, sound(1))...), 1, 1},
		{"an aggregate in it", append(tag(aggregate, 0, tag(audio, 0, sound(1))), tag(audio, 0, sound(1))...), 1, 1},
		{"a command in it", append(tag(amf0Command, 0, said("close")), tag(audio, 0, sound(1))...), 1, 0},
	} {
		dropped := x.ledger.Dropped()["wrong_format"]
		x.comes(aggregate, 5050, c.b)
		packets := len(x.published())
		if drops := int(x.ledger.Dropped()["wrong_format"] - dropped); packets != c.packets || drops != c.drops {
			t.Errorf("%s: %d packets, %d dropped; want %d, %d", c.name, packets, drops, c.packets, c.drops)
		}
	}
	balanced(t, x.ledger)
}

// TestLongAggregate: many messages in one are not all held at the same time.
func TestLongAggregate(t *testing.T) {
	x := newIntake(t)
	const n = 10_000
	var b []byte
	for i := range n {
		b = append(b, tag(audio, uint32(i/100), nil)...)
	}
	x.comes(aggregate, 0, b)
	if c := cap(x.batch); c > 1000 {
		t.Errorf("there is memory for %d packets", c)
	}
	if got := len(x.published()); got != n || x.ledger.Sent.Load() != n {
		t.Errorf("%d packets, %d counted", got, x.ledger.Sent.Load())
	}
}

// TestHeadersAreBounded: there is an end to what is kept of a source.
func TestHeadersAreBounded(t *testing.T) {
	x := newIntake(t)
	for i := range byte(200) {
		x.comes(video, 0, trackHeader(i, i))
	}
	x.comes(video, 0, picture(true, 0, 1))
	if f := x.one().Format; len(f.Headers) != mostHeaders || f.Headers[0].Data[7] != 0 {
		t.Errorf("%d headers", len(f.Headers))
	}
	if n := x.ledger.Dropped()["wrong_format"]; n != 200-mostHeaders {
		t.Errorf("%d are dropped", n)
	}
	balanced(t, x.ledger)

	x = newIntake(t)
	large := make([]byte, mostHeaderBytes/2)
	x.comes(video, 0, trackHeader(1, large...))
	x.comes(video, 0, trackHeader(2, large...)) // one byte too many
	x.comes(video, 0, trackHeader(2, 2))
	for i := range byte(20) { // in place of another: nothing is added up
		x.comes(video, 0, trackHeader(1, append(bytes.Clone(large), i)...))
	}
	x.comes(video, 0, trackHeader(2, large...)) // in place of another: too large
	x.comes(video, 0, picture(true, 0, 1))
	f := x.one().Format
	if len(f.Headers) != 2 || len(f.Headers[0].Data) != len(large)+8 || f.Headers[0].Data[len(large)+7] != 19 || !bytes.Equal(f.Headers[1].Data, trackHeader(2, 2)) {
		t.Errorf("%d headers: %d and %d bytes", len(f.Headers), len(f.Headers[0].Data), len(f.Headers[1].Data))
	}
	if n := x.ledger.Dropped()["wrong_format"]; n != 2 {
		t.Errorf("%d are dropped", n)
	}
	balanced(t, x.ledger)
}
