package console

import (
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

// clock writes a time of day as the box has it.
func clock(t time.Time) string { return t.UTC().Format("15:04:05") }
