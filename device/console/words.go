package console

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"
)

// A word is one of a line.
type word struct {
	text   string // without quotes
	at     int    // where it begins in the line, in bytes
	quoted bool
	open   bool // its quote does not end
}

// split makes words of a line: apart by spaces, "in quotes" where one has
// spaces or ? in it, with \" and \\ in them.
func split(line string) []word {
	var words []word
	for i := 0; i < len(line); {
		if line[i] == ' ' {
			i++
			continue
		}
		w := word{at: i}
		var text strings.Builder
		for i < len(line) && (w.open || line[i] != ' ') {
			switch c := line[i]; {
			case c == '"':
				w.open, w.quoted = !w.open, true
			case c == '\\' && w.open && i+1 < len(line) && (line[i+1] == '"' || line[i+1] == '\\'):
				i++
				text.WriteByte(line[i])
			default:
				text.WriteByte(c)
			}
			i++
		}
		w.text = text.String()
		words = append(words, w)
	}
	return words
}

// quote writes a word so that split gives it back.
func quote(text string) string {
	if text != "" && !strings.ContainsAny(text, ` "\?`) {
		return text
	}
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(text) + `"`
}

// A wrongWord is the fault of one word of a line, or of its end.
type wrongWord struct {
	at      int // in the line, in characters
	message string
}

func (w *wrongWord) Error() string { return w.message }

// wrong makes a fault at a place of the line, given in bytes.
func wrong(line string, at int, format string, args ...any) error {
	return &wrongWord{utf8.RuneCountInString(line[:at]), fmt.Sprintf(format, args...)}
}

// errEmpty is the error of a line without words.
var errEmpty = errors.New("nothing was typed")
