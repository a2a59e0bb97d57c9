package flow

import (
	"testing"
	"time"

	"sluice/relay/media"
)

// messages makes FLV packets of one format, a second apart.
type messages struct {
	format *media.Format
	now    time.Time
}

func newMessages() *messages {
	return &messages{&media.Format{Kind: media.FLV, Clock: &media.Clock{}}, time.Now()}
}

func (m *messages) make(dts int64, key bool) []media.Packet {
	m.now = m.now.Add(time.Second)
	return []media.Packet{{Format: m.format, Track: media.Video, DTS: dts, PTS: dts + 9, Arrival: m.now, RandomAccess: key, Data: []byte{byte(dts)}}}
}

func TestEntryIsKept(t *testing.T) {
	f := New(Limits{Retain: 2 * time.Second, MaxBytes: 1 << 20, Entry: true})
	m := newMessages()
	for i := range int64(30) {
		f.Publish(m.make(i, i == 5 || i == 17))
	}
	c := open(t, f)
	c.Rewind()
	dst := make([]media.Packet, 64)
	n, lost := c.Poll(dst)
	if n != 13 || lost != 0 || dst[0].Data[0] != 17 {
		t.Errorf("%d packets from %d, %d lost: want 13 from 17", n, dst[0].Data[0], lost)
	}
	// Without it, what is old goes.
	f.SetLimits(Limits{Retain: 2 * time.Second, MaxBytes: 1 << 20})
	f.Publish(m.make(30, false))
	if c.Rewind(); c.pos != 30 || !c.searching {
		t.Errorf("rewound to %d", c.pos)
	}
}

func TestRewindWaitsForAnEntry(t *testing.T) {
	f := New(Limits{Retain: time.Second, MaxBytes: 1 << 20})
	m := newMessages()
	for i := range int64(5) {
		f.Publish(m.make(i, i == 0))
	}
	c := open(t, f)
	c.Rewind() // the entry has left the ring
	f.Publish(m.make(5, false))
	f.Publish(m.make(6, true))
	dst := make([]media.Packet, 8)
	if n, lost := c.Poll(dst); n != 1 || dst[0].Data[0] != 6 || lost != 0 {
		t.Errorf("%d packets from %d, %d lost: want the entry alone, and what was passed over not lost", n, dst[0].Data[0], lost)
	}
}

func TestHeadersThatChangeAreNoSession(t *testing.T) {
	f := New(Limits{Retain: time.Minute, MaxBytes: 1 << 20})
	m := newMessages()
	f.Publish(m.make(0, true))
	m.format = &media.Format{Kind: media.FLV, Clock: m.format.Clock, Headers: []media.Header{{Track: media.Audio}}}
	f.Publish(m.make(1, false))
	c := open(t, f)
	c.Rewind()
	dst := make([]media.Packet, 8)
	if n, _ := c.Poll(dst); n != 2 {
		t.Errorf("%d packets: a reader is to begin at the key frame, before the headers changed", n)
	}
}

func TestTimesGoOn(t *testing.T) {
	f := New(Limits{Retain: time.Hour, MaxBytes: 1 << 20})
	m := newMessages()
	f.Publish(m.make(1000*ticks, true))
	f.Publish(m.make(2000*ticks, false))
	m.format = &media.Format{Kind: media.FLV, Clock: &media.Clock{}}
	m.now = m.now.Add(6 * time.Second)
	f.Publish(m.make(50*ticks, true)) // seven seconds later, by the wall clock
	f.Publish(m.make(90*ticks, false))
	want := []int64{1000, 2000, 9000, 9040}
	for i, w := range want {
		p, _ := f.At(uint64(i))
		if p.DTS != w*ticks || p.PTS != w*ticks+9 {
			t.Errorf("packet %d: DTS %d ms, PTS %d behind it: want %d ms, 9", i, p.DTS/ticks, p.PTS-p.DTS, w)
		}
	}
}
