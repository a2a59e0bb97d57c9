package provisioning

import (
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// A clockDocument is how the clock of the box is.
type clockDocument struct {
	Time         time.Time `json:"time"`
	Synchronized bool      `json:"synchronized"`
	// Server is the time server in use: empty, as systemd-timesyncd tells it
	// over D-Bus alone, which the daemon does not speak.
	Server   string   `json:"server"`
	OffsetMS *float64 `json:"offset_ms"` // what the kernel still has to correct
	Source   string   `json:"source"`    // timesyncd or none
}

// kernelClock is adjtimex(2) as it is read, without changing anything, and
// where systemd keeps what is of this start of the system.
type kernelClock struct {
	adjtimex func(*unix.Timex) (state int, err error)
	run      string
}

func newKernelClock() kernelClock { return kernelClock{unix.Adjtimex, "/run/systemd"} }

// The states and bits of linux/timex.h.
const (
	timeError   = 5      // TIME_ERROR: not synchronized
	staUnsync   = 0x0040 // STA_UNSYNC
	staNano     = 0x2000 // STA_NANO: the offset is in ns, and not in us
	offsetKnown = 0x0001 // STA_PLL: somebody disciplines the clock by offsets
)

func (k kernelClock) document(at time.Time) clockDocument {
	d := clockDocument{Time: at, Source: "none"}
	if _, err := os.Stat(filepath.Join(k.run, "timesync")); err == nil {
		d.Source = "timesyncd"
	}
	var t unix.Timex
	state, err := k.adjtimex(&t)
	if err != nil {
		return d
	}
	d.Synchronized = state != timeError && t.Status&staUnsync == 0
	if d.Synchronized && t.Status&offsetKnown != 0 {
		unit := time.Microsecond
		if t.Status&staNano != 0 {
			unit = time.Nanosecond
		}
		ms := rounded(milliseconds(time.Duration(t.Offset)*unit), 1000)
		d.OffsetMS = &ms
	}
	return d
}
