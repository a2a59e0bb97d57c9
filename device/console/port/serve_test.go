package port

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// serve runs Serve until the test ends, and checks that it ends.
func serve(t *testing.T, c Config, session func(context.Context, io.ReadWriter) error) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- Serve(ctx, c, session) }()
	stopped := false
	stop = func() {
		cancel()
		if stopped {
			return
		}
		stopped = true
		if err := end(t, "Serve returns", done); err != nil {
			t.Errorf("Serve: %v", err)
		}
	}
	t.Cleanup(stop)
	return stop
}

// line reads until a newline.
func line(t *testing.T, r io.Reader) string {
	t.Helper()
	var got []byte
	for b := make([]byte, 1); ; {
		if _, err := r.Read(b); err != nil {
			t.Fatalf("%q and then %v", got, err)
		}
		if b[0] == '\n' {
			return string(got)
		}
		got = append(got, b[0])
	}
}

// echo is a session of one line: it says which one it is, and what it read.
// Whoever writes before it has begun may write to a line that is not yet raw.
func echo(n *int, begun chan<- int) func(context.Context, io.ReadWriter) error {
	return func(_ context.Context, rw io.ReadWriter) error {
		*n++
		begun <- *n
		var got []byte
		for b := make([]byte, 1); ; {
			if _, err := rw.Read(b); err != nil {
				return err
			}
			if b[0] == '\n' {
				break
			}
			got = append(got, b[0])
		}
		_, err := rw.Write(append(append([]byte{byte('0' + *n)}, got...), '\n'))
		return err
	}
}

func TestOneSessionAfterAnother(t *testing.T) {
	w := newWire(t)
	n := 0
	begun := make(chan int, 8)
	serve(t, config(t, w.name), echo(&n, begun))
	end(t, "the first session begins", begun)
	for _, want := range []string{"1a", "2b", "3c"} {
		_, err := w.WriteString(want[1:] + "\n")
		check(t, err)
		if got := line(t, w); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

// A Read or a Write that a session leaves behind is over with it: nothing of
// the next one's gets lost.
func TestSessionLeavesNothingBehind(t *testing.T) {
	w := newWire(t)
	left := make(chan error, 2)
	n := 0
	sessions := make(chan int, 8)
	again := echo(&n, sessions)
	serve(t, config(t, w.name), func(ctx context.Context, rw io.ReadWriter) error {
		if n == 0 {
			n++
			begun := make(chan struct{})
			go func() {
				close(begun)
				_, err := rw.Read(make([]byte, 100))
				left <- err
			}()
			<-begun
			return nil
		}
		return again(ctx, rw)
	})
	if err := end(t, "the Read that was left", left); !errors.Is(err, ErrClosed) {
		t.Errorf("it ends with %v", err)
	}
	_, err := w.WriteString("whole\n")
	check(t, err)
	if got := line(t, w); got != "2whole" {
		t.Errorf("got %q", got)
	}
}

// After a hang-up the port is opened again, by its name, wherever that leads.
func TestReopenedAfterHangUp(t *testing.T) {
	link := filepath.Join(t.TempDir(), "tty")
	n := 0
	hungUp := make(chan error, 8)
	begun := make(chan int, 8)
	again := echo(&n, begun)
	started := false
	for _, want := range []string{"1", "3", "5"} {
		w := newWire(t)
		check(t, os.Symlink(w.name, link))
		if !started {
			started = true
			serve(t, config(t, link), func(ctx context.Context, rw io.ReadWriter) error {
				err := again(ctx, rw)
				if err != nil {
					hungUp <- err
				}
				return err
			})
		}
		end(t, "a session begins", begun)
		_, err := w.WriteString("x\n")
		check(t, err)
		if got := line(t, w); got != want+"x" {
			t.Errorf("got %q, want %q", got, want+"x")
		}
		end(t, "the next begins", begun)
		check(t, os.Remove(link))
		check(t, w.Close())
		if err := end(t, "the session is told of the hang-up", hungUp); !errors.Is(err, ErrHungUp) {
			t.Errorf("it ends with %v", err)
		}
	}
}

// Sessions that end at once, and openings that do, come more and more slowly.
func TestPaced(t *testing.T) {
	for name, cut := range map[string]error{"sessions": nil, "openings": ErrHungUp} {
		t.Run(name, func(t *testing.T) {
			w := newWire(t)
			c := config(t, w.name)
			begins := make(chan time.Time, 100)
			stop := serve(t, c, func(_ context.Context, rw io.ReadWriter) error {
				begins <- time.Now()
				if cut != nil {
					_ = rw.(*turn).ended(cut)
				}
				return cut
			})
			at := end(t, "the first begins", begins)
			for _, pause := range []time.Duration{1, 2, 4, 8, 8} {
				next := end(t, "the next begins", begins)
				if got := next.Sub(at); got < pause*time.Millisecond {
					t.Errorf("the next begins after %v, want %v ms", got, pause)
				}
				at = next
			}
			stop()
		})
	}
}

// The end of the service ends a session that waits for the line.
func TestServeEnds(t *testing.T) {
	for name, wait := range map[string]func(io.ReadWriter) error{
		"in Read": func(rw io.ReadWriter) error {
			_, err := rw.Read(make([]byte, 1))
			return err
		},
		"in Write": func(rw io.ReadWriter) error {
			_, err := rw.Write(make([]byte, 1<<20))
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWire(t)
			begun, ended := make(chan struct{}), make(chan error, 1)
			stop := serve(t, config(t, w.name), func(_ context.Context, rw io.ReadWriter) error {
				close(begun)
				err := wait(rw)
				ended <- err
				return err
			})
			end(t, "the session begins", begun)
			stop()
			if err := end(t, "the session ends", ended); !errors.Is(err, ErrClosed) {
				t.Errorf("it ends with %v", err)
			}
		})
	}
}

// After a terminal that never read there is a next session, without what the
// last one had to say.
func TestNextSessionAfterStuck(t *testing.T) {
	w := newWire(t)
	c := config(t, w.name)
	c.Patience = 50 * time.Millisecond
	n := 0
	stuck := make(chan error, 1)
	again := echo(&n, make(chan int, 8))
	serve(t, c, func(ctx context.Context, rw io.ReadWriter) error {
		if n == 0 {
			n++
			_, err := rw.Write(bytes.Repeat([]byte("old\n"), 1<<18))
			stuck <- err
			return err
		}
		return again(ctx, rw)
	})
	if err := end(t, "the session gives up", stuck); !errors.Is(err, ErrStuck) {
		t.Fatalf("it ends with %v", err)
	}
	_, err := w.WriteString("hello\n")
	check(t, err)
	for i := 0; ; i++ {
		switch got := line(t, w); {
		case strings.HasSuffix(got, "2hello"): // a line may have been cut
			return
		case i > 4<<10:
			t.Fatalf("still %q", got)
		}
	}
}

func TestServeSaysWhyItCannot(t *testing.T) {
	w := newWire(t)
	c := config(t, w.name)
	openPort(t, c)
	err := Serve(t.Context(), c, func(context.Context, io.ReadWriter) error { return nil })
	if !errors.Is(err, ErrInUse) {
		t.Errorf("a port in use: %v", err)
	}
	c.Path = "/dev/null"
	if err := Serve(t.Context(), c, nil); !errors.Is(err, ErrNoPort) {
		t.Errorf("/dev/null: %v", err)
	}
}
