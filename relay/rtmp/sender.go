package rtmp

import (
	"context"
	"errors"
	"io"
	"net"
	"slices"
	"time"

	rtmpmsg "github.com/yutopp/go-rtmp/message"

	"sluice/relay/endpoint"
	"sluice/relay/flow"
	"sluice/relay/flv"
	"sluice/relay/media"
)

// How far a peer may be too slow: it loses what the flow no longer holds, and
// goes on at the newest key frame; the third time within a minute it is not
// worth its while.
const (
	mostOverruns = 3
	overrunsIn   = time.Minute
)

const (
	mostPackets = 64        // sent together
	mostBytes   = 256 << 10 // so that even a slow peer takes them in time
)

// A sender sends a flow to one peer, from the newest key frame on.
type sender struct {
	conn    *conn
	session *session
	cursor  *flow.Cursor
	ledger  *endpoint.Ledger
	stream  uint32  // message stream
	shared  *shared // messages that are cut for others as well; nil: they are not
	// publishing lets times begin at zero, and metadata be what a publisher sends.
	publishing bool
	// takes tells whether the peer takes a codec of Enhanced RTMP; nil: any.
	takes func(codec string) bool

	format   *media.Format // that the peer knows
	base     int64         // DTS that is sent as zero
	out      net.Buffers
	arena    []byte // what was cut for this peer alone; of one write
	overruns []time.Time
}

// run sends until ctx is done, the session ends, or the peer fails.
func (s *sender) run(ctx context.Context) error {
	s.cursor.Rewind()
	batch := make([]media.Packet, mostPackets)
	for {
		n, lost, err := s.cursor.Next(ctx, batch)
		if lost > 0 {
			s.ledger.Taken.Add(lost)
			s.ledger.Drop(endpoint.DropOverrun, lost)
			if err == nil && s.tooSlow(time.Now()) {
				s.ledger.Taken.Add(uint64(n))
				s.ledger.Drop(endpoint.DropOverrun, uint64(n))
				return errPeerSlow
			}
		}
		if err == nil {
			err = s.send(batch[:n], s.cursor.Position()-uint64(n))
		}
		switch {
		case errors.Is(err, io.EOF): // the flow is over
			return nil
		case err != nil:
			return err
		}
		clear(batch[:n])
	}
}

// tooSlow books that packets were lost.
func (s *sender) tooSlow(now time.Time) bool {
	for len(s.overruns) > 0 && now.Sub(s.overruns[0]) > overrunsIn {
		s.overruns = s.overruns[1:]
	}
	s.overruns = append(s.overruns, now)
	return len(s.overruns) >= mostOverruns
}

// send sends packets, the first of which has a position, as few writes as their
// size allows.
func (s *sender) send(packets []media.Packet, position uint64) error {
	s.ledger.Taken.Add(uint64(len(packets)))
	for len(packets) > 0 {
		n, size := 0, 0
		var bytes, sent uint64
		s.out, s.arena = s.out[:0], s.arena[:0]
		for n < len(packets) && (n == 0 || size < mostBytes) {
			p := &packets[n]
			n++
			if p.Format.Kind != media.FLV {
				s.ledger.Drop(endpoint.DropFormat, 1)
				continue
			}
			if err := s.check(p); err != nil {
				s.ledger.Drop(endpoint.DropFormat, sent+uint64(len(packets)-n)+1)
				return err
			}
			s.follow(p)
			b := s.chunks(position+uint64(n-1), p)
			s.out = append(s.out, b)
			size += len(b)
			bytes += uint64(len(p.Data))
			sent++
		}
		if err := s.conn.send(s.out); err != nil {
			why := endpoint.DropWrite
			if s.session.over(nil) != nil {
				why = endpoint.DropClosed
			}
			s.ledger.Drop(why, sent+uint64(len(packets)-n))
			return err
		}
		clear(s.out)
		s.ledger.Sent.Add(sent)
		s.ledger.Bytes.Add(bytes)
		s.session.gave(bytes, time.Now())
		packets, position = packets[n:], position+uint64(n)
	}
	return nil
}

// check tells whether the peer takes a packet's codec.
func (s *sender) check(p *media.Packet) error {
	if s.takes == nil {
		return nil
	}
	parse := flv.ParseAudio
	switch p.Track {
	case media.Video:
		parse = flv.ParseVideo
	case media.Data:
		return nil
	}
	if tag, _ := parse(p.Data); tag.Enhanced && tag.Codec != "" && !s.takes(tag.Codec) {
		return endpoint.Fail(endpoint.Unworkable, nil, "codec",
			"the stream's codec is %s, which %s does not list among those of Enhanced RTMP that it takes: send another, or set enhanced to force", tag.Codec, s.conn.peer)
	}
	return nil
}

// follow sends the headers that the peer does not have yet.
func (s *sender) follow(p *media.Packet) {
	if p.Format == s.format {
		return
	}
	if s.format == nil && s.publishing {
		s.base = p.DTS
	}
	for _, h := range p.Format.Headers {
		if !s.knows(h) {
			s.out = append(s.out, s.cut(s.header(h, p)))
		}
	}
	s.format = p.Format
}

// knows tells whether the peer has a header. Those of one source that did not
// change are the same memory.
func (s *sender) knows(h media.Header) bool {
	if s.format == nil || len(h.Data) == 0 {
		return false
	}
	for _, old := range s.format.Headers {
		if old.Track == h.Track && len(old.Data) == len(h.Data) && &old.Data[0] == &h.Data[0] {
			return true
		}
	}
	return false
}

// header makes the message of a header that goes before a packet.
func (s *sender) header(h media.Header, before *media.Packet) message {
	m := message{kind: rtmpmsg.TypeID(h.Track), stream: s.stream, time: s.time(before), data: h.Data}
	if s.publishing && h.Track == media.Data {
		m.data = append(slices.Clip(setData), h.Data...)
	}
	return m
}

// chunks returns the message of a packet, cut.
func (s *sender) chunks(position uint64, p *media.Packet) []byte {
	m := message{kind: rtmpmsg.TypeID(p.Track), stream: s.stream, time: s.time(p), data: p.Data}
	if s.shared != nil {
		return s.shared.cut(position, m)
	}
	return s.cut(m)
}

// cut cuts a message for this peer alone. It is good until the next write.
func (s *sender) cut(m message) []byte {
	begin := len(s.arena)
	s.arena = appendMessage(s.arena, s.conn.size, m)
	return s.arena[begin:]
}

// time returns a packet's time as messages carry it, in milliseconds: it wraps.
// Audio that is a little before the key frame that began is put beside it.
func (s *sender) time(p *media.Packet) uint32 { return uint32(max(p.DTS-s.base, 0) / ticks) }
