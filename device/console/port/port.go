// Package port is the serial port of the console: one process alone has it, it
// is opened again after a hang-up, and no terminal that stops reading can hold
// a session up for ever.
//
// Two descriptors are open on the line:
//
//	go.bug.st/serial   speed, 8N1, raw, TIOCEXCL, emptying the output
//	ours               the lock (flock), reading and writing
//
// Ours is not blocking and waits in the runtime's poller, so that reads and
// writes have deadlines and end with Close. The package's own Read is left
// alone: it is select(2), which panics from descriptor 1024 on, it tells a
// hang-up and its own Close by the same error, and its Write blocks for as long
// as nobody reads at the other end. Modem lines are left as opening sets them
// (DTR and RTS on): a pseudo terminal has none and answers ENOTTY.
//
// The line is raw, without flow control: an XOFF, which noise can send too,
// does not stop it. A break and a byte with a framing error arrive as a zero
// byte (termios(3): neither IGNBRK, BRKINT, IGNPAR nor PARMRK), which whoever
// reads lines must not take for text.
package port

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"go.bug.st/serial"
	"golang.org/x/sys/unix"
)

// Why a port ends, or cannot be had.
var (
	// ErrHungUp: the other end of the line, or the adapter itself, is gone.
	ErrHungUp = errors.New("the line was hung up")
	// ErrClosed: we closed it ourselves, or the session is over.
	ErrClosed = errors.New("the port is closed")
	// ErrStuck: the terminal has taken nothing for Config.Patience.
	ErrStuck = errors.New("the terminal does not read")
	// ErrInUse: another process has the port.
	ErrInUse = errors.New("in use")
	// ErrNoPort: there is a file, but it is no serial port.
	ErrNoPort = errors.New("not a serial port")
)

// errAbsent is the error of a port that may come yet: an adapter that is not
// plugged in, a gadget without a host.
var errAbsent = errors.New("not there")

// errShaken is the error of a port that somebody hung up while it was opened:
// a getty whose line is taken over.
var errShaken = errors.New("hung up while it was opened")

// A Config says which port, and how it is used. Path and Speed must be given.
type Config struct {
	Path  string
	Speed int // in bits a second; 8 data bits, no parity, 1 stop bit

	LockDir  string        // where lock files are; empty: DefaultLockDir
	Patience time.Duration // how long a terminal may take nothing; 0: 10 s
	Log      *slog.Logger  // nil: nothing is logged

	pace pace                                            // zero: see Serve
	dial func(string, *serial.Mode) (serial.Port, error) // nil: serial.Open
}

const defaultPatience = 10 * time.Second

// chunk is how much is written at once, in bytes. Patience is measured from
// one to the next: at 300 bits a second it takes 9 s.
const chunk = 256

// A Port is an open serial port. Reading and writing may go on at once, but one
// Read and one Write at a time.
type Port struct {
	path     string
	patience time.Duration
	line     serial.Port
	own      *os.File
	lock     *lock
	closed   atomic.Bool
}

// Open opens the port, and waits for it where it is not there yet. A port that
// another process has is an ErrInUse which names that process.
func Open(ctx context.Context, c Config) (*Port, error) {
	c = c.withDefaults()
	told, began := false, time.Now()
	for {
		p, err := open(c)
		shaken := errors.Is(err, errShaken)
		if !errors.Is(err, errAbsent) && !(shaken && time.Since(began) < c.pace.settle) {
			return p, err
		}
		if shaken {
			if err := sleep(ctx, c.pace.first); err != nil {
				return nil, err
			}
			continue
		}
		if !told {
			told = true
			c.Log.Info("waiting for the serial port", "tty", c.Path, "reason", err)
		}
		if err := sleep(ctx, c.pace.look); err != nil {
			return nil, err
		}
	}
}

func (c Config) withDefaults() Config {
	if c.LockDir == "" {
		c.LockDir = DefaultLockDir
	}
	if c.Patience == 0 {
		c.Patience = defaultPatience
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.dial == nil {
		c.dial = serial.Open
	}
	if c.pace == (pace{}) {
		c.pace = defaultPace
	}
	return c
}

// open opens the port once. The lock comes before anything is done to the line
// that somebody else may be using.
func open(c Config) (*Port, error) {
	// Not blocking: without it, opening waits for the carrier of a modem.
	fd, err := unix.Open(c.Path, unix.O_RDWR|unix.O_NOCTTY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, refused(c.Path, err)
	}
	own := os.NewFile(uintptr(fd), c.Path)
	_, err = unix.IoctlGetTermios(fd, unix.TCGETS)
	if err == nil {
		err = own.SetDeadline(time.Time{}) // the poller knows it
	}
	if err != nil {
		own.Close()
		return nil, refused(c.Path, err)
	}
	l, err := take(own, c.LockDir)
	if err != nil {
		own.Close()
		return nil, err
	}
	line, err := c.dial(c.Path, &serial.Mode{BaudRate: c.Speed})
	if err != nil {
		// Its errors hide their cause, but for its text: whether it is still a
		// terminal tells.
		if _, gone := unix.IoctlGetTermios(fd, unix.TCGETS); gone != nil {
			err = gone
		} else if strings.HasSuffix(err.Error(), unix.EIO.Error()) {
			err = fmt.Errorf("%w: %w", errShaken, err)
		}
		l.release()
		own.Close()
		return nil, refused(c.Path, err)
	}
	return &Port{path: c.Path, patience: c.Patience, line: line, own: own, lock: l}, nil
}

// refused says what the errors of open(2) and of the first request mean.
func refused(path string, err error) error {
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, unix.ENXIO), errors.Is(err, unix.ENODEV), errors.Is(err, unix.EIO):
		// EIO: a name for which there is no chip (ttyS3 of many boards), or a
		// pseudo terminal that has just lost its other end.
		return fmt.Errorf("%s: %w: %w", path, errAbsent, err)
	case errors.Is(err, unix.EBUSY): // TIOCEXCL: only root opens it in spite of that
		return inUse(path, holder(path))
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("%s may not be opened: only root and members of its group may, which is usually dialout: %w", path, err)
	case errors.Is(err, unix.ENOTTY), errors.Is(err, unix.EISDIR):
		return fmt.Errorf("%s: %w", path, ErrNoPort)
	}
	return fmt.Errorf("%s: %w", path, err)
}

// Read waits for bytes. The error is ErrHungUp or ErrClosed.
func (p *Port) Read(b []byte) (int, error) {
	n, err := p.own.Read(b)
	return n, p.ended(err)
}

// Write waits until the line has taken everything. The error is ErrHungUp,
// ErrClosed or ErrStuck.
func (p *Port) Write(b []byte) (int, error) {
	return p.write(b, func() bool { return p.closed.Load() })
}

// write is Write that over can end early: the deadline that ended it must not
// be moved on.
func (p *Port) write(b []byte, over func() bool) (written int, err error) {
	for len(b) > 0 {
		_ = p.own.SetWriteDeadline(time.Now().Add(p.patience))
		if over() {
			return written, ErrClosed
		}
		n, err := p.own.Write(b[:min(chunk, len(b))])
		written += n
		b = b[n:]
		if err != nil {
			return written, p.ended(err)
		}
	}
	return written, nil
}

// ended says what an error of the line means.
func (p *Port) ended(err error) error {
	switch {
	case err == nil:
		return nil
	case p.closed.Load(), errors.Is(err, os.ErrClosed):
		return ErrClosed
	case errors.Is(err, os.ErrDeadlineExceeded):
		return ErrStuck
	case errors.Is(err, io.EOF), errors.Is(err, unix.EIO):
		return ErrHungUp
	}
	return fmt.Errorf("%w: %w", ErrHungUp, err) // ENODEV, ENXIO: an adapter that is gone
}

// discard throws away what was written and has not left the line.
func (p *Port) discard() { _ = p.line.ResetOutputBuffer() }

// Close gives the port back. A Read or Write that waits ends with ErrClosed.
func (p *Port) Close() error {
	if p.closed.Swap(true) {
		return nil
	}
	p.lock.release()
	err := p.own.Close()
	return errors.Join(err, p.line.Close())
}
