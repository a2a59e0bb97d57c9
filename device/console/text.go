package console

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// clean makes text of others safe for a terminal: it may not move the cursor,
// nor begin a line.
func clean(s string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) || r == utf8.RuneError {
			return '.'
		}
		return r
	}, s)
}

// maxRefused is how much is shown of a word that is refused, in columns.
const maxRefused = 40

// brief is clean for a word in a sentence that says what is wrong with it.
func brief(s string) string { return cut(clean(s), maxRefused) }

// cleanLines is clean for what may have several lines.
func cleanLines(s string) string {
	return strings.Map(func(r rune) rune {
		if r != '\n' && (!unicode.IsPrint(r) || r == utf8.RuneError) {
			return '.'
		}
		return r
	}, s)
}

// wide are the characters that take two columns (Unicode Standard Annex 11,
// the common ones).
var wide = &unicode.RangeTable{
	R16: []unicode.Range16{
		{0x1100, 0x115F, 1},
		{0x2E80, 0x303E, 1},
		{0x3041, 0xA4CF, 1},
		{0xAC00, 0xD7A3, 1},
		{0xF900, 0xFAFF, 1},
		{0xFE30, 0xFE6F, 1},
		{0xFF00, 0xFF60, 1},
		{0xFFE0, 0xFFE6, 1},
	},
	R32: []unicode.Range32{{0x1F300, 0x1FAFF, 1}, {0x20000, 0x3FFFD, 1}},
}

// columns is how many a text takes on the screen.
func columns(s string) int {
	n := 0
	for _, r := range s {
		switch {
		case r < 0x300:
			n++
		case unicode.In(r, unicode.Mn, unicode.Me):
		case unicode.Is(wide, r):
			n += 2
		default:
			n++
		}
	}
	return n
}

func pad(s string, width int) string { return s + strings.Repeat(" ", max(width-columns(s), 0)) }

// cut shortens a line to width columns.
func cut(line string, width int) string {
	if columns(line) <= width {
		return line
	}
	kept, n := "", 0
	for _, r := range line {
		if n += columns(string(r)); n > width-2 {
			break
		}
		kept += string(r)
	}
	return strings.TrimRight(kept, " ") + ".."
}

// wrap breaks a sentence into lines of at most width columns, between words
// where it can.
func wrap(sentence string, width int) (lines []string) {
	width = max(width, 10)
	line := ""
	for word := range strings.FieldsSeq(sentence) {
		for columns(word) > width {
			if line != "" {
				lines = append(lines, line)
				line = ""
			}
			head := fitting(word, width)
			lines = append(lines, head)
			word = word[len(head):]
		}
		switch {
		case line == "":
			line = word
		case columns(line)+1+columns(word) <= width:
			line += " " + word
		default:
			lines = append(lines, line)
			line = word
		}
	}
	if line != "" {
		lines = append(lines, line)
	}
	return lines
}

// fitting is the longest beginning of a word that takes so many columns.
func fitting(word string, width int) string {
	n := 0
	for i, r := range word {
		if n += columns(string(r)); n > width {
			return word[:i]
		}
	}
	return word
}

func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

// ago says how long something has been so.
func ago(now, since time.Time) string {
	if since.IsZero() {
		return "-"
	}
	return lasting(now.Sub(since))
}

func lasting(d time.Duration) string {
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

// scaled writes a figure with three digits or so, and its unit.
func scaled(n uint64, unit string) string {
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

func bitrate(bps uint64) string { return scaled(bps, "b/s") }

// short writes a figure with a decimal where that says something.
func short(f float64) string {
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

// percent is how many of so many there are: a thousandth of losses is told
// from none.
func percent(n, of uint64) string {
	if n == 0 || of == 0 {
		return "0%"
	}
	p := 100 * float64(n) / float64(of)
	if p < 0.995 {
		return fmt.Sprintf("%.2f%%", p)
	}
	return short(p) + "%"
}

func count(n uint64, what string) string { return fmt.Sprintf("%d %s", n, what) }

// clock writes a time of day as the box has it.
func clock(t time.Time) string { return t.UTC().Format("15:04:05") }
