package rtmp

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	rtmpmsg "github.com/yutopp/go-rtmp/message"
)

// basic is the basic header of a chunk, as short as it can be.
func basic(format byte, on uint32) []byte {
	switch {
	case on < 64:
		return []byte{format<<6 | byte(on)}
	case on < 320:
		return []byte{format << 6, byte(on - 64)}
	}
	return wide(format, on)
}

// wide is a basic header of three bytes.
func wide(format byte, on uint32) []byte {
	return []byte{format<<6 | 1, byte(on - 64), byte((on - 64) >> 8)}
}

// Headers of types 0 to 2. Times of more than 24 bits follow them.
func type0(on, time uint32, length int, kind rtmpmsg.TypeID, stream uint32) []byte {
	b := append(basic(0, on), fields(time, length, kind)...)
	return append(binary.LittleEndian.AppendUint32(b, stream), long(time)...)
}

func type1(on, delta uint32, length int, kind rtmpmsg.TypeID) []byte {
	return append(append(basic(1, on), fields(delta, length, kind)...), long(delta)...)
}

func type2(on, delta uint32) []byte {
	return append(append(basic(2, on), fields(delta, 0, 0)[:3]...), long(delta)...)
}

func fields(time uint32, length int, kind rtmpmsg.TypeID) []byte {
	t := min(time, maxUint24)
	return []byte{byte(t >> 16), byte(t >> 8), byte(t), byte(length >> 16), byte(length >> 8), byte(length), byte(kind)}
}

func long(time uint32) []byte {
	if time < maxUint24 {
		return nil
	}
	return binary.BigEndian.AppendUint32(nil, time)
}

// word is a message of four bytes about the chunk stream.
func word(kind rtmpmsg.TypeID, v uint32) []byte {
	return binary.BigEndian.AppendUint32(type0(onControl, 0, 4, kind, 0), v)
}

func chunkSize(n uint32) []byte { return word(rtmpmsg.TypeIDSetChunkSize, n) }

const (
	audio = rtmpmsg.TypeIDAudioMessage
	video = rtmpmsg.TypeIDVideoMessage
)

// readAll returns the messages of a connection that has ended, and what ended
// it: nil where that was between two messages.
func readAll(src io.Reader, change func(*reader)) (all []message, err error) {
	r := newReader(bufio.NewReaderSize(src, 16))
	if change != nil {
		change(r)
	}
	for {
		m, err := r.next()
		if errors.Is(err, io.EOF) {
			return all, nil
		} else if err != nil {
			return all, err
		}
		all = append(all, m)
	}
}

func show(all []message) string {
	var b strings.Builder
	for _, m := range all {
		data := string(m.data)
		if len(data) > 20 {
			data = fmt.Sprintf("%s...(%d)", data[:20], len(data))
		}
		fmt.Fprintf(&b, "%d/%d at %d: %q\n", m.kind, m.stream, m.time, data)
	}
	return b.String()
}

func TestReader(t *testing.T) {
	long128, long300 := strings.Repeat("x", 128), strings.Repeat("0123456789", 30)
	for _, c := range []struct {
		name  string
		bytes [][]byte
		want  []message
		err   error
	}{
		{"all header types", [][]byte{
			type0(5, 1000, 3, audio, 7), []byte("one"),
			type1(5, 20, 5, video), []byte("three"),
			type2(5, 30), []byte("fifth"),
			basic(3, 5), []byte("again"),
		}, []message{{audio, 7, 1000, []byte("one")}, {video, 7, 1020, []byte("three")}, {video, 7, 1050, []byte("fifth")}, {video, 7, 1080, []byte("again")}}, nil},
		{"type 3 begins a message after type 0", [][]byte{
			type0(5, 1000, 1, audio, 7), []byte("a"), basic(3, 5), []byte("b"),
		}, []message{{audio, 7, 1000, []byte("a")}, {audio, 7, 1000, []byte("b")}}, nil},
		{"basic headers of all lengths", [][]byte{
			type0(63, 1, 1, audio, 1), []byte("a"),
			type0(64, 2, 1, audio, 1), []byte("b"),
			type0(65, 3, 1, audio, 1), []byte("c"),
			type0(319, 3, 0, audio, 1), type0(320, 4, 1, audio, 1), []byte("d"),
			type0(65599, 5, 1, audio, 1), []byte("e"),
			basic(3, 63), []byte("f"), basic(3, 65), []byte("g"), basic(3, 65599), []byte("h"),
			wide(3, 64), []byte("i"), // one stream, however it is written
		}, []message{
			{audio, 1, 1, []byte("a")},
			{audio, 1, 2, []byte("b")},
			{audio, 1, 3, []byte("c")},
			{audio, 1, 3, nil},
			{audio, 1, 4, []byte("d")},
			{audio, 1, 5, []byte("e")},
			{audio, 1, 1, []byte("f")},
			{audio, 1, 3, []byte("g")},
			{audio, 1, 5, []byte("h")},
			{audio, 1, 2, []byte("i")},
		}, nil},
		{"a message of several chunks", [][]byte{
			type0(5, 1000, 300, video, 1), []byte(long300[:128]), basic(3, 5), []byte(long300[128:256]), basic(3, 5), []byte(long300[256:]),
			basic(3, 5), []byte(long300[:128]), basic(3, 5), []byte(long300[128:256]), basic(3, 5), []byte(long300[256:]),
		}, []message{{video, 1, 1000, []byte(long300)}, {video, 1, 1000, []byte(long300)}}, nil},
		{"chunk streams that alternate", [][]byte{
			type0(5, 10, 129, video, 1), []byte(long128),
			type0(6, 20, 129, audio, 1), []byte(long128),
			type0(7, 30, 1, audio, 1), []byte("c"),
			basic(3, 5), []byte("v"), basic(3, 6), []byte("a"),
		}, []message{{audio, 1, 30, []byte("c")}, {video, 1, 10, []byte(long128 + "v")}, {audio, 1, 20, []byte(long128 + "a")}}, nil},
		{
			"a time of 24 bits",
			[][]byte{type0(5, maxUint24-1, 1, video, 1), []byte("a"), basic(3, 5), []byte("b")},
			[]message{{video, 1, maxUint24 - 1, []byte("a")}, {video, 1, maxUint24 - 1, []byte("b")}},
			nil,
		},
		{"longer times, repeated", [][]byte{
			type0(5, 1<<24, 129, video, 1), []byte(long128), basic(3, 5), long(1 << 24), []byte("a"),
			type1(5, maxUint24, 129, video), []byte(long128), basic(3, 5), long(maxUint24), []byte("b"),
			type2(5, 1<<25), []byte(long128), basic(3, 5), long(1 << 25), []byte("c"),
			basic(3, 5), long(1 << 25), []byte(long128), basic(3, 5), long(1 << 25), []byte("d"),
		}, []message{
			{video, 1, 1 << 24, []byte(long128 + "a")},
			{video, 1, 1<<24 + maxUint24, []byte(long128 + "b")},
			{video, 1, 1<<24 + maxUint24 + 1<<25, []byte(long128 + "c")},
			{video, 1, 1<<24 + maxUint24 + 1<<26, []byte(long128 + "d")},
		}, nil},
		{"longer times, not repeated", [][]byte{
			type0(5, 1<<24, 132, video, 1), []byte(long128), basic(3, 5), []byte("aaaa"),
			type1(5, maxUint24, 132, video), []byte(long128), basic(3, 5), []byte("bbbb"),
			type2(5, 1<<25), []byte(long128), basic(3, 5), []byte("cccc"),
			basic(3, 5), []byte(long128), basic(3, 5), []byte("dddd"),
		}, []message{
			{video, 1, 1 << 24, []byte(long128 + "aaaa")},
			{video, 1, 1<<24 + maxUint24, []byte(long128 + "bbbb")},
			{video, 1, 1<<24 + maxUint24 + 1<<25, []byte(long128 + "cccc")},
			{video, 1, 1<<24 + maxUint24 + 1<<26, []byte(long128 + "dddd")},
		}, nil},
		{"longer times come and go", [][]byte{
			type0(5, 1<<24, 1, video, 1), []byte("a"), type2(5, 40), []byte("b"), basic(3, 5), []byte("c"),
		}, []message{{video, 1, 1 << 24, []byte("a")}, {video, 1, 1<<24 + 40, []byte("b")}, {video, 1, 1<<24 + 80, []byte("c")}}, nil},
		{
			"a time that wraps",
			[][]byte{type0(5, 1<<32-10, 1, video, 1), []byte("a"), type2(5, 20), []byte("b")},
			[]message{{video, 1, 1<<32 - 10, []byte("a")}, {video, 1, 10, []byte("b")}},
			nil,
		},
		{"chunks of one byte", [][]byte{
			chunkSize(1), type0(5, 9, 3, video, 1), []byte("a"), basic(3, 5), []byte("b"), basic(3, 5), []byte("c"),
		}, []message{{video, 1, 9, []byte("abc")}}, nil},
		{"the longest chunks", [][]byte{
			chunkSize(1<<31 - 1), type0(5, 9, 300, video, 1), []byte(long300),
		}, []message{{video, 1, 9, []byte(long300)}}, nil},
		{"another chunk size within a message", [][]byte{
			type0(5, 9, 300, video, 1), []byte(long300[:128]), chunkSize(1000), basic(3, 5), []byte(long300[128:]),
		}, []message{{video, 1, 9, []byte(long300)}}, nil},
		{"chunks of no byte", [][]byte{chunkSize(0)}, nil, errChunk},
		{"a chunk size with its first bit set", [][]byte{chunkSize(1<<31 | 4096)}, nil, errChunk},
		{"a chunk size of two bytes", [][]byte{type0(2, 0, 2, rtmpmsg.TypeIDSetChunkSize, 0), {16, 0}}, nil, errChunk},
		{"an abort of three bytes", [][]byte{type0(2, 0, 3, rtmpmsg.TypeIDAbortMessage, 0), {0, 0, 5}}, nil, errChunk},
		{"abort", [][]byte{
			type0(5, 9, 300, video, 1), []byte(long300[:128]), word(rtmpmsg.TypeIDAbortMessage, 5), type1(5, 1, 1, audio), []byte("a"),
		}, []message{{audio, 1, 10, []byte("a")}}, nil},
		{"abort, and the next begins with type 3", [][]byte{
			type0(5, 9, 129, video, 1), []byte(long128), word(rtmpmsg.TypeIDAbortMessage, 5), basic(3, 5), []byte(long128), basic(3, 5), []byte("b"),
		}, []message{{video, 1, 9, []byte(long128 + "b")}}, nil},
		{"abort of what was never begun", [][]byte{
			word(rtmpmsg.TypeIDAbortMessage, 9), type0(5, 9, 1, video, 1), []byte("a"), word(rtmpmsg.TypeIDAbortMessage, 5), basic(3, 5), []byte("b"),
		}, []message{{video, 1, 9, []byte("a")}, {video, 1, 9, []byte("b")}}, nil},
		{"a message begins anew in its middle", [][]byte{
			type0(5, 9, 300, video, 1), []byte(long300[:128]), type0(5, 19, 1, audio, 1), []byte("a"),
			type1(5, 1, 129, audio), []byte(long128), type2(5, 1), []byte(long128), basic(3, 5), []byte("b"),
		}, []message{{audio, 1, 19, []byte("a")}, {audio, 1, 21, []byte(long128 + "b")}}, nil},
		{"messages without a byte", [][]byte{
			type0(5, 9, 0, audio, 1), basic(3, 5), type2(5, 2), basic(3, 5),
		}, []message{{audio, 1, 9, nil}, {audio, 1, 9, nil}, {audio, 1, 11, nil}, {audio, 1, 13, nil}}, nil},
		{"type 3 first", [][]byte{basic(3, 5), []byte("a")}, nil, errChunk},
		{"type 2 first", [][]byte{type2(5, 1), []byte("a")}, nil, errChunk},
		{"type 1 first", [][]byte{type1(5, 1, 1, audio), []byte("a")}, nil, errChunk},
		{"an end in a basic header", [][]byte{{0}}, nil, io.ErrUnexpectedEOF},
		{"an end in a wide basic header", [][]byte{{1, 0}}, nil, io.ErrUnexpectedEOF},
		{"an end in a header", [][]byte{type0(5, 9, 1, video, 1)[:8]}, nil, io.ErrUnexpectedEOF},
		{"an end in a longer time", [][]byte{type0(5, 1<<24, 1, video, 1)[:13]}, nil, io.ErrUnexpectedEOF},
		{"an end in a chunk", [][]byte{type0(5, 9, 100, video, 1), []byte("a")}, nil, io.ErrUnexpectedEOF},
		{"an end before a chunk", [][]byte{type0(5, 9, 100, video, 1)}, nil, io.ErrUnexpectedEOF},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := slices.Concat(c.bytes...)
			for name, src := range map[string]io.Reader{
				"at once": bytes.NewReader(b), "byte by byte": iotest.OneByteReader(bytes.NewReader(b)), "in halves": iotest.HalfReader(bytes.NewReader(b)),
			} {
				got, err := readAll(src, nil)
				if show(got) != show(c.want) || !errors.Is(err, c.err) || (err == nil) != (c.err == nil) {
					t.Errorf("%s: %v\n%swant %v\n%s", name, err, show(got), c.err, show(c.want))
				}
			}
		})
	}
}

// begun is the first chunk of a message.
func begun(on uint32, length, size int) []byte {
	return append(type0(on, 0, length, video, 1), make([]byte, min(length, size))...)
}

func TestReaderLimits(t *testing.T) {
	many := func(n int) (b []byte) {
		for i := range n {
			b = append(b, begun(uint32(3+i), 129, 128)...)
		}
		return b
	}
	whole := func(n int) []byte { return append(chunkSize(1<<20), begun(5, n, n)...) }
	var inTurn []byte // begun, and begun anew: nothing is held of the first
	for range 100 {
		inTurn = append(inTurn, begun(5, stranger.message, 128)...)
	}
	for _, c := range []struct {
		name  string
		bytes []byte
		err   error
	}{
		{"the longest message", whole(stranger.message), nil},
		{"a longer one", whole(stranger.message + 1), errTooLong},
		{"16 MB", type0(5, 0, maxUint24, video, 1), errTooLong},
		{"as many chunk streams as there may be", many(mostChunkStreams), nil},
		{"one more", many(mostChunkStreams + 1), errChunkStreams},
		{"as much in the middle of messages as may be", slices.Concat(begun(5, stranger.message, 128), begun(6, stranger.message, 128)), nil},
		{"one byte more", slices.Concat(begun(5, stranger.message, 128), begun(6, stranger.message, 128), begun(7, 129, 128)), errHeld},
		{"one message begun again and again", inTurn, nil},
	} {
		if _, err := readAll(bytes.NewReader(c.bytes), nil); !errors.Is(err, c.err) || (err == nil) != (c.err == nil) {
			t.Errorf("%s: %v, want %v", c.name, err, c.err)
		}
	}
	// A length alone takes no memory.
	r := newReader(bufio.NewReader(bytes.NewReader(begun(5, source.message, 128))))
	r.limits = source
	if _, err := r.next(); !errors.Is(err, io.EOF) || r.held > firstGrowth {
		t.Errorf("%d bytes are held for 128 that came (%v)", r.held, err)
	}
}

// TestReaderHolds follows what is held: it goes back to nothing.
func TestReaderHolds(t *testing.T) {
	b := slices.Concat(
		begun(5, 1000, 128), begun(6, 1000, 128), word(rtmpmsg.TypeIDAbortMessage, 5),
		begun(6, 100, 100), word(rtmpmsg.TypeIDAbortMessage, 6), begun(7, 129, 128), basic(3, 7), []byte("a"),
	)
	r := newReader(bufio.NewReader(bytes.NewReader(b)))
	for range 2 {
		if _, err := r.next(); err != nil {
			t.Fatal(err)
		}
	}
	if r.held != 0 || r.count != uint64(len(b)) {
		t.Errorf("%d bytes are held; %d of %d counted", r.held, r.count, len(b))
	}
}

// TestChunksRoundTrip sends messages of sizes and times where something changes.
func TestChunksRoundTrip(t *testing.T) {
	kinds := []rtmpmsg.TypeID{audio, video, rtmpmsg.TypeIDDataMessageAMF0, rtmpmsg.TypeIDCommandMessageAMF0, rtmpmsg.TypeIDUserCtrl}
	for _, size := range []int{1, 127, defaultChunkSize, 4096, 40960} {
		var all []message
		var b []byte
		for i, time := range []uint32{0, 1, maxUint24 - 1, maxUint24, 1 << 24, 1<<31 - 1, 1 << 31, 1<<32 - 2, 1<<32 - 1} {
			for _, n := range []int{0, 1, 4, size - 1, size, size + 1, 2 * size, 2*size + 1, 10000} {
				data := bytes.Repeat([]byte{byte(n), byte(i), 0xC5}, n/3+1)[:n]
				m := message{kinds[len(all)%len(kinds)], uint32(len(all)), time, data}
				all = append(all, m)
				before := len(b)
				b = appendMessage(b, size, m)
				if got, want := len(b)-before, chunked(n, size, time); got != want {
					t.Errorf("%d bytes at %d in chunks of %d: %d bytes, said to be %d", n, time, size, got, want)
				}
			}
		}
		got, err := readAll(bytes.NewReader(b), func(r *reader) { r.size, r.limits = size, source })
		if err != nil || len(got) != len(all) {
			t.Fatalf("chunks of %d: %d messages of %d, %v", size, len(got), len(all), err)
		}
		for i := range all {
			if want := all[i]; got[i].kind != want.kind || got[i].stream != want.stream || got[i].time != want.time || !bytes.Equal(got[i].data, want.data) {
				t.Errorf("chunks of %d, message %d:\n%swant\n%s", size, i, show(got[i:i+1]), show(all[i:i+1]))
			}
		}
	}
}
