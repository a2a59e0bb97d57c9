package rtmp

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"math"
	"net"
	"reflect"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
	"time"

	rtmpmsg "github.com/yutopp/go-rtmp/message"

	"sluice/relay/endpoint"
	"sluice/relay/flow"
	"sluice/relay/media"
	"sluice/relay/relaytest"
)

// FuzzReader takes any bytes for a chunk stream: nothing is held beyond the
// limits, and it does not matter how the bytes come.
func FuzzReader(f *testing.F) {
	f.Add(bytes.Join([][]byte{type0(5, 1000, 3, audio, 7), []byte("one"), type1(5, 20, 5, video), []byte("three"), type2(5, 30), []byte("fifth"), basic(3, 5), []byte("again")}, nil))
	f.Add(bytes.Join([][]byte{chunkSize(2), type0(64, 1<<24, 3, audio, 7), []byte("on"), basic(3, 64), long(1 << 24), []byte("e"), word(rtmpmsg.TypeIDAbortMessage, 64)}, nil))
	f.Add(append(begun(5, 300, 128), begun(320, 16000, 128)...))
	f.Add(append(chunkSize(1<<31-1), begun(5, 16<<10, 16<<10)...))
	f.Add(bytes.Repeat(type0(5, 0, 0, audio, 1), 20))
	f.Fuzz(func(t *testing.T, b []byte) {
		read := func(src io.Reader) (all []message, err error) {
			r := newReader(bufio.NewReaderSize(src, 16))
			for {
				var m message
				if m, err = r.next(); err != nil {
					break
				}
				all = append(all, m)
				held := 0
				for _, s := range r.streams {
					held += cap(s.data)
				}
				if held != r.held || held > stranger.held || len(m.data) > stranger.message || len(r.streams) > mostChunkStreams || r.size < 1 {
					t.Fatalf("%d bytes are held, said to be %d, in %d streams; a message of %d", held, r.held, len(r.streams), len(m.data))
				}
			}
			if r.count > uint64(len(b)) {
				t.Errorf("%d of %d bytes are counted", r.count, len(b))
			}
			return all, err
		}
		all, err := read(bytes.NewReader(b))
		again, other := read(iotest.OneByteReader(bytes.NewReader(b)))
		if show(all) != show(again) || err.Error() != other.Error() {
			t.Errorf("at once %v\n%s, byte by byte %v\n%s", err, show(all), other, show(again))
		}
		if !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) && complaint(err) == complaint(io.EOF) {
			t.Errorf("there is no name for %v", err)
		}
	})
}

// FuzzChunks cuts any message, and puts it together again.
func FuzzChunks(f *testing.F) {
	f.Add(byte(9), uint32(1), uint32(1000), uint16(128), []byte("message"))
	f.Add(byte(8), uint32(1), uint32(1<<24), uint16(1), bytes.Repeat([]byte{0xC4}, 20))
	f.Add(byte(20), uint32(1<<32-1), uint32(1<<32-1), uint16(4096), []byte(nil))
	f.Fuzz(func(t *testing.T, kind byte, stream, time uint32, size uint16, data []byte) {
		m := message{kind: rtmpmsg.TypeID(kind), stream: stream, time: time, data: data}
		if m.kind == rtmpmsg.TypeIDSetChunkSize || m.kind == rtmpmsg.TypeIDAbortMessage {
			return
		}
		b := appendMessage(appendMessage(nil, int(size)+1, m), int(size)+1, m)
		if want := 2 * chunked(len(data), int(size)+1, time); len(b) != want {
			t.Errorf("%d bytes, said to be %d", len(b), want)
		}
		all, err := readAll(bytes.NewReader(b), func(r *reader) { r.size, r.limits = int(size)+1, source })
		if err != nil || len(all) != 2 {
			t.Fatalf("%d messages, %v", len(all), err)
		}
		for _, got := range all {
			if got.kind != m.kind || got.stream != stream || got.time != time || !bytes.Equal(got.data, data) {
				t.Errorf("%+v comes back as %+v", m, got)
			}
		}
	})
}

// countValues counts what was decoded, and tells whether go-amf0 can write it.
func countValues(v any, depth int) (n, deepest int, plain bool) {
	n, deepest, plain = 1, depth, true
	add := func(v any) {
		m, d, p := countValues(v, depth+1)
		n, deepest, plain = n+m, max(deepest, d), plain && p
	}
	switch v := v.(type) {
	case string:
		plain = len(v) < 1<<16
	case float64:
		plain = !math.IsNaN(v)
	case []any:
		for _, v := range v {
			add(v)
		}
	case map[string]any:
		for name, v := range v {
			add(v)
			plain = plain && name != ""
		}
	}
	return n, deepest, plain
}

func FuzzAMF(f *testing.F) {
	f.Add(encodeAMF("connect", 1, map[string]any{"app": "in", "list": []any{1.0, nil, true}}))
	f.Add(arrays(20))
	f.Add(nested(9))
	f.Add([]byte{8, 255, 255, 255, 255, 0, 1, 'a', 5, 0, 0, 9})
	f.Add([]byte{12, 255, 255, 255, 255, 'x'})
	f.Fuzz(func(t *testing.T, b []byte) {
		before := bytes.Clone(b)
		values, err := decodeAMF(b)
		if !bytes.Equal(b, before) {
			t.Error("what was read has changed")
		}
		if err != nil && !errors.Is(err, errAMF) && !errors.Is(err, errAMFLimits) {
			t.Errorf("it ends with %v", err)
		}
		total := 0
		for _, v := range values {
			n, deepest, plain := countValues(v, 0)
			if total += n; total > mostAMFValues || deepest > mostAMFDepth {
				t.Fatalf("%d values, %d deep", total, deepest)
			}
			if !plain {
				continue
			}
			again, err := decodeAMF(encodeAMF(v))
			if a, ok := v.([]any); ok && len(a) == 0 {
				v = []any(nil)
			}
			if err != nil || len(again) != 1 || !reflect.DeepEqual(again[0], v) {
				t.Errorf("%#v comes back as %#v, %v", v, again, err)
			}
		}
	})
}

func FuzzCommand(f *testing.F) {
	f.Add(false, said("connect", 1, map[string]any{"app": "in", "fourCcList": []any{"hvc1"}}))
	f.Add(true, append([]byte{0}, said("onStatus", 0, nil, map[string]any{"level": "error", "code": "x"})...))
	f.Add(false, said("close"))
	f.Add(false, said("x", 1, []any{}))
	f.Fuzz(func(t *testing.T, amf3 bool, b []byte) {
		m := message{kind: amf0Command, data: b}
		if amf3 {
			m.kind = amf3Command
		}
		c, err := parseCommand(m)
		if err != nil {
			if !errors.Is(err, errCommand) {
				t.Errorf("it ends with %v", err)
			}
			return
		}
		for i := -1; i <= len(c.args); i++ {
			c.text(max(i, 0))
			c.number(max(i, 0))
			announced(c.object(i))
		}
		level, code, description := c.info()
		cl := &client{key: endpoint.NewSecret("hunter2?token=swordfish")}
		for _, words := range []string{level, code, description} {
			if got := clean(cl.hide(words)); strings.ContainsAny(got, "\r\n\x00\x1b") || len(got) > 210 || strings.Contains(got, "swordfish") {
				t.Errorf("%q is shown as %q", words, got)
			}
		}
		_, _ = credentials{"ali", endpoint.NewSecret("open-sesame")}.answer(description)
	})
}

// FuzzIngest has a source send any messages, at any times.
func FuzzIngest(f *testing.F) {
	one := func(kind rtmpmsg.TypeID, time, pass byte, data []byte) []byte {
		return append([]byte{byte(kind), time, pass, byte(len(data))}, data...)
	}
	f.Add(bytes.Join([][]byte{
		one(video, 1, 1, videoHeader(1)), one(audio, 1, 1, audioHeader(1)), one(video, 2, 40, picture(true, 40, 1)), one(audio, 2, 1, sound(1)),
		one(amf0Data, 0, 0, said("onMetaData")), one(amf3Data, 0, 0, append([]byte{0}, said("@setDataFrame", "x")...)),
	}, nil))
	f.Add(one(aggregate, 1, 1, append(tag(video, 5, picture(true, 0, 1)), tag(audio, 9, sound(1))...)))
	f.Add(bytes.Join([][]byte{one(video, 0xF0, 1, picture(true, 0, 1)), one(video, 0x10, 1, picture(false, 0, 1)), one(video, 0x80, 0xFF, picture(true, 0, 1))}, nil))
	f.Add(one(video, 0, 0, hevc))
	f.Add(one(video, 0, 0, trackHeader(1, 2, 3)))
	f.Fuzz(func(t *testing.T, b []byte) {
		to, ledger := flow.New(flow.DefaultLimits), &endpoint.Ledger{}
		cursor := to.Open()
		g := newIngest(to, ledger)
		now := time.Now()
		var counted, sent uint64
		for len(b) >= 4 {
			kind, at, pass, n := rtmpmsg.TypeID(b[0]), uint32(b[1])<<24|uint32(b[1]), time.Duration(b[2])*100*time.Millisecond, int(b[3])
			data := b[4:min(len(b), 4+n)]
			b = b[4+len(data):]
			now = now.Add(pass)
			g.take(message{kind: kind, stream: 1, time: at, data: data}, now)
			if pass > time.Second {
				counted += g.flush()
			}
			size := 0
			for _, h := range g.headers {
				size += len(h.Data)
			}
			if size != g.size || size > mostHeaderBytes || len(g.headers) > mostHeaders {
				t.Fatalf("%d headers of %d bytes, said to be %d", len(g.headers), size, g.size)
			}
		}
		counted += g.flush()
		var last media.Packet
		for {
			var p [16]media.Packet
			n, lost := cursor.Poll(p[:])
			if n == 0 && lost == 0 {
				break
			}
			sent += uint64(n) + lost
			for _, p := range p[:n] {
				counted -= uint64(len(p.Data))
				if p.Format == nil || p.Format.Clock == nil || p.Format.Kind != media.FLV || p.DTS%ticks != 0 || p.PTS%ticks != 0 || len(p.Format.Headers) > mostHeaders {
					t.Fatalf("%+v", p)
				}
				if p.Arrival.Before(last.Arrival) {
					t.Error("it came before the one before")
				}
				last = p
			}
			if lost > 0 {
				counted = 0
				break
			}
		}
		sum := ledger.Sent.Load()
		for _, n := range ledger.Dropped() {
			sum += n
		}
		if taken := ledger.Taken.Load(); taken != sum {
			t.Errorf("%d taken, %d sent and %v dropped", taken, ledger.Sent.Load(), ledger.Dropped())
		}
		if counted != 0 {
			t.Errorf("%d bytes more are counted than published", counted)
		}
	})
}

// FuzzVisit is a client that sends any bytes after its handshake, or instead:
// it ends alone, whatever it was let do, and what it did is booked.
func FuzzVisit(f *testing.F) {
	for _, a := range attacks {
		if b, ok := bytes.CutPrefix(a.b, shaken()); ok {
			f.Add(true, b)
		} else {
			f.Add(false, a.b)
		}
	}
	session := func(verb, key string, more ...[]byte) []byte {
		b, _ := bytes.CutPrefix(asking(commanding(said("createStream", 2, nil)), commanding(said(verb, 3, nil, key))), shaken())
		return append(b, bytes.Join(more, nil)...)
	}
	f.Add(true, session("publish", "key", type0(5, 1000, 9, video, 1), picture(true, 0, 1, 2, 3, 4), type1(5, 40, 3, audio), sound(1), commanding(said("deleteStream", 4, nil, 1))))
	f.Add(true, session("publish", "key", chunkSize(4096), type0(5, 1<<24, 7, video, 1), videoHeader(1), begun(6, 100_000, 4096)))
	f.Add(true, session("play", "stage", control(&rtmpmsg.UserCtrl{Event: &rtmpmsg.UserCtrlEventPingRequest{}}), control(&rtmpmsg.WinAckSize{Size: 1})))
	f.Add(true, session("play", "stage", commanding(said("closeStream", 0))))

	// One server for all of them, as in life.
	l := &log{}
	logger := slog.New(slog.NewTextHandler(l, nil))
	transport := NewTransport(Options{Log: logger})
	s := newServer(transport, place{}, 0)
	stream := flow.New(flow.DefaultLimits)
	env := func() endpoint.Env {
		return endpoint.Env{Uplink: relaytest.NewUplink("lo"), Ledger: &endpoint.Ledger{}, Log: slog.New(slog.NewTextHandler(io.Discard, nil))}
	}
	in := NewInput(transport, InputConfig{App: "in", StreamKey: endpoint.NewSecret("key")}, anyone, env()).(*listenInput)
	out := NewOutput(transport, OutputConfig{App: "in", StreamKey: "stage"}, anyone, env()).(*listenOutput)
	in.to = stream
	f.Cleanup(out.fan.start(stream))
	s.register(in)
	s.offer(out)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { _ = ln.Close() })
	f.Fuzz(func(t *testing.T, shake bool, b []byte) {
		other, err := net.Dial("tcp", ln.Addr().String())
		if err != nil {
			t.Skip(err) // of ports there is an end
		}
		defer other.Close()
		nc, err := ln.Accept()
		if err != nil {
			t.Fatal(err)
		}
		c := newConn(newLink(nc.(*net.TCPConn)))
		s.admit(c)
		var both sync.WaitGroup
		both.Go(func() { s.handle(context.Background(), c) })
		both.Go(func() {
			_ = other.SetDeadline(time.Now().Add(patience))
			if shake {
				attack(other, shaken())
			}
			attack(other, b)
			_ = other.(*net.TCPConn).CloseWrite()
			_, _ = io.Copy(io.Discard, other)
		})
		both.Wait()
		if strings.Contains(l.String(), "panicked") {
			t.Error(l.String())
		}
		if len(s.strangers) != 0 || len(in.gate.View().Sessions) != 0 || len(out.gate.View().Sessions) != 0 {
			t.Error("something is left of it")
		}
		for _, ledger := range []*endpoint.Ledger{in.env.Ledger, out.env.Ledger} {
			sum := ledger.Sent.Load()
			for _, n := range ledger.Dropped() {
				sum += n
			}
			if taken := ledger.Taken.Load(); taken != sum {
				t.Errorf("%d taken, %d sent and %v dropped", taken, ledger.Sent.Load(), ledger.Dropped())
			}
		}
	})
}
