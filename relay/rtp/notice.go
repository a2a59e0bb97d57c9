package rtp

import (
	"log/slog"
	"time"
)

// noticeEvery is how often the same kind of fault is logged.
const noticeEvery = 30 * time.Second

// A notice logs a repeated fault once per interval, with how often it occurred
// since. The zero value is ready.
type notice struct {
	last  time.Time
	count int
}

func (n *notice) log(l *slog.Logger, now time.Time, message string, args ...any) {
	n.count++
	if !n.last.IsZero() && now.Sub(n.last) < noticeEvery {
		return
	}
	l.Warn(message, append(args, "times", n.count)...)
	n.last, n.count = now, 0
}
