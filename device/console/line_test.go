package console

import (
	"context"
	"errors"
	"io"
	"net"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// A terminal that never reads is given up, whatever is typed into it, and so
// is one that stops to in the middle.
func TestTerminalThatNeverReads(t *testing.T) {
	for name, reads := range map[string]int64{"never": 0, "stops": 1500} {
		synctest.Test(t, func(t *testing.T) {
			near, far := net.Pipe()
			defer near.Close()
			ended := make(chan error, 1)
			begin := time.Now()
			go func() { ended <- Run(t.Context(), far, Options{Client: stageBox(t), Name: "root"}) }()
			go func() {
				for {
					if _, err := near.Write([]byte("show config\r ")); err != nil {
						return
					}
				}
			}()
			_, _ = io.CopyN(io.Discard, near, reads)
			if err := <-ended; !errors.Is(err, ErrStalled) {
				t.Errorf("%s: %v", name, err)
			}
			if took := time.Since(begin); took < defaultStall || took > 3*defaultStall {
				t.Errorf("%s: given up after %v", name, took)
			}
			far.Close()
		})
	}
}

// A writer that no deadline ends does not hold Run up either.
type deaf struct {
	io.Reader
	heard chan struct{}
}

func (d deaf) Write([]byte) (int, error) {
	<-d.heard
	return 0, io.ErrClosedPipe
}

func TestWriteThatBlocksForEver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, w := io.Pipe()
		d := deaf{r, make(chan struct{})}
		if err := Run(t.Context(), d, Options{Client: stageBox(t), Name: "root"}); !errors.Is(err, ErrStalled) {
			t.Error(err)
		}
		close(d.heard) // whoever gave the line ends it
		w.Close()
	})
}

func TestHangUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := stageBox(t)
		f.slow = "test"
		for _, typed := range []string{"", "show", "show log\r", "request reboot\r", "monitor flows\r", "configure\r"} {
			s := sit(t, Options{Client: f, Name: "root"})
			s.expect("van-3> ")
			s.send(typed)
			synctest.Wait()
			s.line.Close()
			if err := s.ends(); !errors.Is(err, ErrHungUp) {
				t.Errorf("%q: %v", typed, err)
			}
		}
	})
}

// Whatever goes on, the end of its context ends it, without an error.
func TestEndOfContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, typed := range []string{"", "show", "show log\r", "request reboot\r", "monitor flows\r", "test ping host\r"} {
			f := stageBox(t)
			f.slow = "test"
			s := sit(t, Options{Client: f, Name: "root"})
			s.expect("van-3> ")
			s.send(typed)
			synctest.Wait()
			s.cancel()
			if err := s.ends(); err != nil {
				t.Errorf("%q: %v", typed, err)
			}
		}
		s := sit(t, Options{Client: stageBox(t), Login: true})
		s.cancel()
		if err := s.ends(); err != nil {
			t.Error(err)
		}
	})
}

// It does so while a terminal does not read, too.
func TestEndOfContextBeforeFullTerminal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		near, far := net.Pipe()
		defer near.Close()
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- Run(ctx, far, Options{Client: stageBox(t), Name: "root"}) }()
		for range 300 {
			if _, err := near.Write([]byte("show version\r")); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
		}
		time.Sleep(time.Second)
		begin := time.Now()
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		if took := time.Since(begin); took > 3*flushTime {
			t.Errorf("it took %v", took)
		}
		far.Close()
	})
}

// The line can be used again once Run has returned: nothing of the first one
// reads it any more.
func TestOneAfterAnother(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		near, far := net.Pipe()
		defer near.Close()
		go func() { _, _ = io.Copy(io.Discard, near) }()
		for range 3 {
			ended := make(chan error, 1)
			begin := time.Now()
			go func() { ended <- Run(t.Context(), far, Options{Client: stageBox(t), Name: "root"}) }()
			if _, err := near.Write([]byte("show clock\rlogout\r")); err != nil {
				t.Fatal(err)
			}
			if err := <-ended; err != nil || time.Since(begin) > time.Second {
				t.Fatalf("%v, after %v: what was typed went elsewhere", err, time.Since(begin))
			}
		}
		far.Close()
	})
}

// Where nobody takes what is typed, nothing more is read.
func TestTypedAhead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		in := newInput()
		typed := strings.NewReader(strings.Repeat("x", 4*maxKeys))
		done := make(chan struct{})
		go func() { defer close(done); in.run(typed, func(error) {}) }()
		synctest.Wait()
		if len(in.keys) != maxKeys || typed.Len() < 3*maxKeys-1024 {
			t.Errorf("%d keys wait, and %d bytes are unread", len(in.keys), typed.Len())
		}
		for range maxKeys {
			if k, err := in.next(t.Context(), time.Second); k != 'x' || err != nil {
				t.Fatal(k, err)
			}
		}
		synctest.Wait()
		if len(in.keys) != maxKeys {
			t.Errorf("then %d keys wait", len(in.keys))
		}
		in.close()
		<-done
	})
}

// A flood of anything takes no memory, and afterwards the console is as it was.
func TestFlood(t *testing.T) {
	f := stageBox(t)
	for name, c := range map[string]struct {
		piece string
		bytes int
	}{
		"0xFF":        {"\xff", 4 << 20},
		"NUL":         {"\x00", 4 << 20},
		"Esc":         {"\x1b", 4 << 20},
		"CSI":         {"\x1b[", 4 << 20},
		"CSI 1":       {"\x1b[1;", 4 << 20},
		"OSC":         {"\x1b]x", 4 << 20},
		"letters":     {"x", 1 << 20},
		"é":           {"é", 1 << 20},
		"cursor":      {"x\x1b[D", 256 << 10},
		"tab":         {"\t", 64 << 10},
		"help":        {"?", 16 << 10},
		"Enter":       {"\r", 64 << 10},
		"interrupt":   {"\x03", 64 << 10},
		"commands":    {"show clock\r", 64 << 10},
		"paste":       {"\x1b[200~ x", 256 << 10},
		"redraw":      {"x\x0c", 16 << 10},
		"history":     {"\x1b[A\x1b[B", 256 << 10},
		"wrong words": {"x y z\r", 64 << 10},
	} {
		near, far := net.Pipe()
		ended := make(chan error, 1)
		go func() { ended <- Run(context.Background(), far, Options{Client: f, Name: "root"}) }()
		asked := make(chan struct{})
		go func() {
			defer close(asked)
			var tail []byte
			buffer := make([]byte, 4096)
			for {
				n, err := near.Read(buffer)
				tail = append(tail, buffer[:n]...)
				if strings.Contains(string(tail), "SL4-2026-0042\r\nVersion") || err != nil {
					_, _ = io.Copy(io.Discard, near)
					return
				}
				tail = tail[max(len(tail)-4096, 0):]
			}
		}()
		runtime.GC()
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		chunk := []byte(strings.Repeat(c.piece, 4096/len(c.piece)))
		for sent := 0; sent < c.bytes/raced; sent += len(chunk) {
			if _, err := near.Write(chunk); err != nil {
				t.Fatalf("%s: after %d bytes: %v", name, sent, err)
			}
		}
		runtime.ReadMemStats(&after)
		if grown := int64(after.HeapAlloc) - int64(before.HeapAlloc); grown > 32<<20 {
			t.Errorf("%s: the heap grew by %d MiB", name, grown>>20)
		}
		if _, err := near.Write([]byte("\x1b[201~\x03\x03\rq\x15terminal dumb\rshow version\rlogout\r")); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		select {
		case err := <-ended:
			if err != nil {
				t.Errorf("%s: %v", name, err)
			}
		case <-time.After(20 * time.Second):
			t.Fatalf("%s: it does not come back", name)
		}
		far.Close()
		<-asked
		near.Close()
	}
}
