package console

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// nasty are sequences that have broken a terminal or a console somewhere, and
// what leads deep into this one.
var nasty = []string{
	"\xff", "\x00", "\x00\x00\x00", "\x1b", "\x1b\x1b\x1b", "\x1b[", "\x1b[1;", "\x1b[999999999C", "\x1b[A", "\x1b[B", "\x1b[C", "\x1b[D", "\x1b[3~",
	"\x1b[200~", "\x1b[201~", "\x1bO", "\x1bOH", "\x1b]0;x\x07", "\x1b]0;x", "\x1bP", "\x1b\\", "\x1bb", "\x1bf", "\x1b[1;5D", "\x1b[24;80R", "\x1b[?1;2c",
	"\xc3", "\xe2\x82", "\xf0\x9f\x98", "é", "무대", "😀", "\u0301", "\u009b", "\ufffd", "\ue000", "\ue001", "\ue003", "\xed\xa0\x80", "\xc0\xaf", "\x80", "\x9b",
	"\x01", "\x02", "\x03", "\x04", "\x05", "\x06", "\x07", "\x08", "\x0b", "\x0c", "\x0e", "\x10", "\x11", "\x13", "\x14", "\x15", "\x17", "\x1a", "\x7f",
	"\r", "\n", "\r\n", "\r\x00", "\t", "?", " ", `"`, `\`, "/", "#", "!", "q", "y", "-1", "99999999999999999999", "0",
	"\ranna\rbattery staple\r", "anna\r", "\rfactory-reset\r", "show", "show ", "log 900\r", "version\r", "config\r", "srt\r", "outputs ", "output stage/wall\r", "stage/", "hub\r",
	"monitor flows\r", "monitor log\r", "terminal dumb\r", "terminal vt100\r", "terminal script on\r", "terminal script off\r", "terminal width 40\r", "terminal height 10\r",
	"request ", "reboot\r", "identify 5\r", "password\r", "support-bundle\r", "output kick stage/wall T", "explain output stage/hub\r", "test ping h via wan1\r",
	"configure\r", "exit\r", "setup\r", "help\r", "logout\r", "confirm\r", "cancel\r", strings.Repeat("x", 300), strings.Repeat("\x1b[D", 50), strings.Repeat("무", 90),
	"\ranna\rbattery staple\rconfigure\r", "set ", "flows stage outputs ", "hub ", "srt ", "latency_ms 120\r", "passphrase\r", "set device hostname x\r", "delete flows stage\r",
	"set uplinks wan9 match interface eth9\r", "edit flows stage\r", "top\r", "up\r", "compare\r", "check\r", "commit\r", "commit confirmed 5\r", "rollback 1\r", "discard\r", "show | ",
}

// stream makes a random one of nasty pieces and bytes.
func stream(seed uint64) []byte {
	r := rand.New(rand.NewPCG(seed, 1))
	var b []byte
	b = append(b, []string{"", "\ranna\rbattery staple\r", "\ranna\rbattery staple\rconfigure\r"}[r.IntN(3)]...)
	for range r.IntN(40) {
		if r.IntN(8) == 0 {
			for range r.IntN(20) {
				b = append(b, byte(r.Uint32()))
			}
			continue
		}
		if r.IntN(8) == 0 {
			b = append(b, looks[r.IntN(len(looks))]+"\r"...)
			continue
		}
		b = append(b, nasty[r.IntN(len(nasty))]...)
	}
	return b
}

// A wholeBox is a stage with a candidate that can be edited.
type wholeBox struct {
	*fakeBox
	edited *memoryBox
}

func (b wholeBox) Document(ctx context.Context, name string) (json.RawMessage, error) {
	switch name {
	case "schema", "candidate", "desired", "saved", "commits":
		return b.edited.Document(ctx, name)
	}
	return b.fakeBox.Document(ctx, name)
}

func (b wholeBox) Request(ctx context.Context, name string, body []byte) (int, json.RawMessage, error) {
	if strings.HasPrefix(name, "candidate-") || strings.HasPrefix(name, "commit-") {
		return b.edited.Request(ctx, name, body)
	}
	return b.fakeBox.Request(ctx, name, body)
}

func (b wholeBox) Apply(ctx context.Context, document []byte) (int, json.RawMessage, error) {
	return b.fakeBox.Apply(ctx, document)
}

func (b wholeBox) SetSession(session string) { b.fakeBox.SetSession(session) }

// endure gives a stream to a console in random pieces at random times. It
// ends, leaves no goroutine behind, and the next one on the line lets people
// in. Options besides Login are the seed's.
func endure(t *testing.T, stage *fakeBox, data []byte, seed uint64) {
	synctest.Test(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(seed, 2))
		stage.change(func() { stage.asked, stage.session, stage.named = nil, "", "" })
		var f Client = stage
		if seed%8 == 0 { // which takes longer
			f = wholeBox{stage, newMemoryBox(t, vanState)}
		}
		near, far := net.Pipe()
		ended := make(chan error, 1)
		o := Options{Client: f, Login: true, Plain: r.IntN(4) == 0}
		go func() {
			ended <- Run(t.Context(), far, o)
			far.Close()
		}()
		shown := make(chan int)
		go func() {
			n, buffer := 0, make([]byte, 4096)
			for {
				k, err := near.Read(buffer)
				if n += k; err != nil {
					shown <- n
					return
				}
			}
		}()
		for rest := data; len(rest) > 0; {
			n := min(1+r.IntN(1+r.IntN(32)), len(rest))
			if _, err := near.Write(rest[:n]); err != nil {
				break // logged out
			}
			rest = rest[n:]
			if r.IntN(8) == 0 {
				time.Sleep(time.Duration(r.IntN(2000)) * time.Millisecond)
			}
		}
		synctest.Wait()
		if r.IntN(2) == 0 {
			time.Sleep(defaultIdle + time.Second) // nobody is there any more
			synctest.Wait()
		}
		near.Close()
		<-ended // that no goroutine is left the bubble checks
		if n := <-shown; n > 1<<20+1000*len(data) {
			t.Errorf("%d bytes are answered with %d", len(data), n)
		}

		stage.change(func() { stage.session, stage.named = "", "" })
		s := sit(t, Options{Client: f, Login: true})
		s.login()
		s.send("logout\r")
		if err := s.ends(); err != nil {
			t.Errorf("the next session: %v", err)
		}
	})
}

func FuzzConsole(f *testing.F) {
	for i, n := range nasty {
		f.Add([]byte("\ranna\rbattery staple\r"+n+"show version\r"), uint64(i))
	}
	for seed := range uint64(20) {
		f.Add(stream(seed), seed)
	}
	box := stageBox(f)
	f.Fuzz(func(t *testing.T, data []byte, seed uint64) {
		if len(data) > 4096 {
			t.Skip("longer ones take too long, and are the flood's")
		}
		endure(t, box, data, seed)
	})
}

// The same with 10,000 streams, the same in each run.
func TestRandomStreams(t *testing.T) {
	streams := uint64(10_000 / raced)
	box := stageBox(t)
	for seed := range streams {
		endure(t, box, stream(seed), seed)
		if t.Failed() {
			t.Fatalf("seed %d: %q", seed, stream(seed))
		}
	}
}

// What comes out of the filter is safe, whatever goes in and however it is
// split.
func FuzzFilter(f *testing.F) {
	for _, n := range nasty {
		f.Add([]byte(n), 3)
	}
	f.Fuzz(func(t *testing.T, data []byte, size int) {
		at := time.Now()
		var whole, split filter
		want := whole.feed(nil, data, at)
		var got []key
		for piece := range slices.Chunk(data, max(size, 1)) {
			got = split.feed(got, piece, at)
		}
		if !slices.Equal(got, want) {
			t.Errorf("in pieces: %v, whole: %v", got, want)
		}
		var text strings.Builder
		for _, k := range want {
			if k >= 0 {
				text.WriteRune(rune(k))
			}
		}
		if clean(text.String()) != text.String() || strings.ContainsFunc(text.String(), func(r rune) bool { return r >= 0xE000 && r < 0xF900 }) {
			t.Errorf("unsafe: %q", text.String())
		}
		if len(want) > 2*len(data)+1 || cap(whole.sequence) > 2*maxSequence+8 {
			t.Errorf("%d bytes make %d keys, and a sequence of %d", len(data), len(want), cap(whole.sequence))
		}
	})
}

// The grammar takes any line.
func FuzzGrammar(f *testing.F) {
	for _, line := range append(slices.Clone(looks), `set "a`, `"\`, "show  output x", "무 대 무") {
		f.Add(line, 3)
	}
	root := tree()
	f.Fuzz(func(t *testing.T, line string, pos int) {
		if len(line) > maxLine || clean(line) != line {
			t.Skip("no editor returns such a line")
		}
		_, _, _ = root.parse(t.Context(), line)
		for _, k := range []key{keyTab, '?'} {
			runes := []rune(line)
			at := len(string(runes[:min(max(pos, 0), len(runes))]))
			got, to, _ := root.complete(t.Context(), line, at, k)
			if to < 0 || to > len(got) || !strings.HasSuffix(got, strings.TrimPrefix(line[at:], " ")) {
				t.Errorf("%q at %d: %q at %d", line, at, got, to)
			}
		}
		words := split(line)
		if len(words) == 0 || words[len(words)-1].open {
			return
		}
		var quoted []string
		for _, w := range words {
			quoted = append(quoted, quote(w.text))
		}
		again := split(strings.Join(quoted, " "))
		if fmt.Sprint(texts(words)) != fmt.Sprint(texts(again)) {
			t.Errorf("%q: %q and %q", line, texts(words), texts(again))
		}
	})
}

func texts(words []word) (all []string) {
	for _, w := range words {
		all = append(all, w.text)
	}
	return all
}
