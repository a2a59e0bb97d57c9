package main

import (
	"io"
	"log/slog"
	"strings"
	"sync"
)

// newLog returns the daemon's log, and its level, which may be changed.
func newLog(w io.Writer, s *settings) (*slog.Logger, *slog.LevelVar) {
	level := &slog.LevelVar{}
	level.Set(s.logLevel)
	o := &slog.HandlerOptions{Level: level}
	if s.logJSON {
		return slog.New(slog.NewJSONHandler(w, o)), level
	}
	return slog.New(slog.NewTextHandler(w, o)), level
}

// reload reads the log level again. Everything else is read at the start only.
func reload(args []string, log *slog.Logger, level *slog.LevelVar) {
	s, err := readSettings(args)
	if err != nil {
		log.Error("the configuration file is not read again", "error", err)
		return
	}
	level.Set(s.logLevel)
	log.Info("reloaded", "log_level", s.logLevel)
}

// ringLines is how many lines of the log can be asked for.
const ringLines = 1000

// A ring keeps the last lines that were logged. Each Write is one line, as
// slog's handlers make them.
type ring struct {
	mu    sync.Mutex
	lines []string // in a circle once it is full
	next  int      // where the next line goes
}

func newRing() *ring { return &ring{lines: make([]string, 0, ringLines)} }

func (r *ring) Write(line []byte) (int, error) {
	s := strings.TrimSuffix(string(line), "\n")
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.lines) < ringLines {
		r.lines = append(r.lines, s)
		return len(line), nil
	}
	r.lines[r.next] = s
	r.next = (r.next + 1) % ringLines
	return len(line), nil
}

// tail returns the last n lines, the oldest first.
func (r *ring) tail(n int) []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := append(append([]string{}, r.lines[r.next:]...), r.lines[:r.next]...)
	return all[max(0, len(all)-n):]
}
