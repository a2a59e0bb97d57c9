// Package figure writes figures as people at a terminal read them: the console and
// sluicectl tell the same in the same words.
package figure

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Ago says how long something has been so.
func Ago(now, since time.Time) string {
	if since.IsZero() {
		return "-"
	}
	return Lasting(now.Sub(since))
}

// Lasting says how long something took, or has been so.
func Lasting(d time.Duration) string {
	d = max(d, 0)
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%ds", int(d.Seconds()))
	case d < time.Hour:
		return fmt.Sprintf("%dm%02ds", int(d.Minutes()), int(d.Seconds())%60)
	case d < 24*time.Hour:
		return fmt.Sprintf("%dh%02dm", int(d.Hours()), int(d.Minutes())%60)
	}
	return fmt.Sprintf("%dd%02dh", int(d.Hours())/24, int(d.Hours())%24)
}

// Scaled writes a figure with three digits or so, and its unit.
func Scaled(n uint64, unit string) string {
	f := float64(n)
	for _, prefix := range []string{"", "k", "M", "G"} {
		if f < 999.5 || prefix == "G" {
			if prefix == "" || f >= 99.95 {
				return fmt.Sprintf("%.0f %s%s", f, prefix, unit)
			}
			return fmt.Sprintf("%.1f %s%s", f, prefix, unit)
		}
		f /= 1000
	}
	return "" // not reached: G ends the loop
}

// Bitrate writes one in bits per second.
func Bitrate(bps uint64) string { return Scaled(bps, "b/s") }

// Short writes a figure with a decimal where that says something.
func Short(f float64) string {
	if math.Abs(f) < 10 {
		f = math.Round(f*10) / 10
	} else {
		f = math.Round(f)
	}
	if f == 0 {
		return "0" // and not -0
	}
	return strconv.FormatFloat(f, 'f', -1, 64)
}

// Percent is how many of so many there are: a thousandth of losses is told
// from none.
func Percent(n, of uint64) string {
	if n == 0 || of == 0 {
		return "0"
	}
	p := 100 * float64(n) / float64(of)
	if p < 0.995 {
		return fmt.Sprintf("%.2f", p)
	}
	return Short(p)
}

// Count says how many there are of something.
func Count(n uint64, what string) string { return fmt.Sprintf("%d %s", n, what) }

// Dropped says how many packets were dropped, and why.
func Dropped(by map[string]uint64) string {
	var n uint64
	var reasons []string
	for _, reason := range slices.Sorted(maps.Keys(by)) {
		if by[reason] > 0 {
			n += by[reason]
			reasons = append(reasons, Count(by[reason], reason))
		}
	}
	if n == 0 {
		return "0 dropped"
	}
	return Count(n, "dropped") + " (" + strings.Join(reasons, ", ") + ")"
}

// PID writes a PID both ways in which people know it.
func PID(n uint16) string { return fmt.Sprintf("%d (0x%X)", n, n) }

// Decimals writes a figure with so many decimals at most.
func Decimals(f float64, n int) string {
	text := strconv.FormatFloat(f, 'f', n, 64)
	return strings.TrimRight(strings.TrimRight(text, "0"), ".")
}
