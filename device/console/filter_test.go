package console

import (
	"slices"
	"strings"
	"testing"
	"time"
)

func ks(text string, more ...key) []key {
	var all []key
	for _, r := range text {
		all = append(all, key(r))
	}
	return append(all, more...)
}

func join(parts ...[]key) []key { return slices.Concat(parts...) }

func TestFilter(t *testing.T) {
	for name, c := range map[string]struct {
		bytes string
		want  []key
	}{
		"text":                 {"show", ks("show")},
		"utf-8":                {"é무", ks("é무")},
		"CR":                   {"a\rb\r", ks("a", keyEnter, 'b', keyEnter)},
		"LF":                   {"a\nb\n\n", ks("a", keyEnter, 'b', keyEnter, keyEnter)},
		"CR LF":                {"a\r\nb\r\n\r\n", ks("a", keyEnter, 'b', keyEnter, keyEnter)},
		"CR NUL":               {"a\r\x00b\r\x00", ks("a", keyEnter, 'b', keyEnter)},
		"CR NUL LF":            {"a\r\x00\nb", ks("a", keyEnter, 'b')},
		"LF CR":                {"a\n\r", ks("a", keyEnter, keyEnter)},
		"0xFF":                 {"\xff", []key{keyNoise}},
		"0xFF in a line":       {"sh\xffow", ks("sh", keyNoise, 'o', 'w')},
		"NUL before a line":    {"\x00\x00show", ks("show")},
		"NUL in a line":        {"sh\x00\x00ow\r", ks("sh", keyNoise, 'o', 'w', keyEnter)},
		"NUL after a line":     {"show\x00\r\x00x", ks("show", keyEnter, 'x')},
		"latin 1":              {"caf\xe9 x", ks("caf", keyNoise, ' ', 'x')},
		"unfinished utf-8":     {"\xe2\x82\r", []key{keyNoise, keyEnter}},
		"overlong":             {"\xc0\xaf", []key{keyNoise, keyNoise}},
		"surrogate":            {"\xed\xa0\x80", []key{keyNoise, keyNoise}},
		"replacement":          {"\ufffd", []key{keyNoise}},
		"C1 in utf-8":          {"\u009bA", ks("", keyNoise, 'A')},
		"C1 raw":               {"\x9bA", ks("", keyNoise, 'A')},
		"private use":          {"\ue000\ue001", []key{keyNoise, keyNoise}},
		"controls":             {"\x01\x02\x05\x06\x08\x0b\x0c\x0e\x10\x15\x17\x7f", []key{keyHome, keyLeft, keyEnd, keyRight, keyBackspace, keyKillRest, keyRedraw, keyDown, keyUp, keyKillLine, keyKillWord, keyBackspace}},
		"dropped controls":     {"a\x07\x11\x13\x12\x14\x1a\x1c\x1fb", ks("ab")},
		"interrupt and end":    {"\x03\x04", []key{keyInterrupt, keyEOF}},
		"arrows":               {"\x1b[A\x1bOB\x1b[C\x1bOD", []key{keyUp, keyDown, keyRight, keyLeft}},
		"home, end, delete":    {"\x1b[H\x1b[1~\x1bOF\x1b[4~\x1b[3~", []key{keyHome, keyHome, keyEnd, keyEnd, keyDelete}},
		"words":                {"\x1b[1;5C\x1bb\x1bf\x1b\x7f", []key{keyWordRight, keyWordLeft, keyWordRight, keyKillWord}},
		"function keys":        {"\x1bOP\x1b[15~\x1b[24;2~x", ks("x")},
		"an answer":            {"\x1b[?62;c\x1b[24;80R\x1b]11;rgb:0/0/0\x07\x1bP1$r\x1b\\x", ks("x")},
		"paste":                {"\x1b[200~a\x1b[201~", ks("", keyPasteBegin, 'a', keyPasteEnd)},
		"Esc Enter":            {"\x1b\r", []key{keyEscape, keyEnter}},
		"Esc flood":            {strings.Repeat("\x1b", 10_000) + "\r", []key{keyEscape, keyEnter}},
		"Alt and a letter":     {"\x1bxy", ks("y")},
		"unfinished CSI":       {"\x1b[12\rx", join([]key{keyNoise, keyEnter}, ks("x"))},
		"CSI within CSI":       {"\x1b[1\x1b[A", []key{keyNoise, keyUp}},
		"endless CSI":          {"\x1b[" + strings.Repeat("1", maxSequence+3) + "x", join([]key{keyNoise}, ks("11x"))},
		"CSI and 0xFF":         {"\x1b[1\xff", []key{keyNoise, keyNoise}},
		"SS3 and Enter":        {"\x1bO\r", []key{keyNoise, keyEnter}},
		"endless string":       {"\x1b]" + strings.Repeat("a", maxString+3), join([]key{keyNoise}, ks("aa"))},
		"string and Enter":     {"\x1bPabc\rx", join([]key{keyNoise, keyEnter}, ks("x"))},
		"string and interrupt": {"\x1b_abc\x03", []key{keyNoise, keyInterrupt}},
		"ESC within a string":  {"\x1b]a\x1bb\x1b\\c", ks("c")},
	} {
		t.Run(name, func(t *testing.T) {
			at := time.Now()
			// A line comes in pieces of any size.
			for size := 1; size <= max(len(c.bytes), 1); size = size*2 + 1 {
				var f filter
				var got []key
				for piece := range slices.Chunk([]byte(c.bytes), size) {
					got = f.feed(got, piece, at)
				}
				if !slices.Equal(got, c.want) {
					t.Errorf("in pieces of %d: %q makes %v, want %v", size, c.bytes, got, c.want)
				}
			}
		})
	}
}

// What comes long after the beginning of a sequence does not belong to it.
func TestFilterGivesSequencesUp(t *testing.T) {
	for begin, want := range map[string]key{"\x1b": keyEscape, "\x1b[": keyNoise, "\x1b[1;": keyNoise, "\x1bO": keyNoise, "\x1b]0;": keyNoise} {
		for _, late := range []bool{false, true} {
			var f filter
			at := time.Now()
			keys := f.feed(nil, []byte(begin), at)
			if len(keys) > 0 {
				t.Errorf("%q alone makes %v", begin, keys)
			}
			if !late {
				if keys = f.feed(nil, []byte("A"), at.Add(sequenceTime/2)); slices.Contains(keys, 'A') {
					t.Errorf("%q and A at once make %v", begin, keys)
				}
				continue
			}
			if keys = f.feed(nil, []byte("A"), at.Add(2*sequenceTime)); !slices.Equal(keys, []key{want, 'A'}) {
				t.Errorf("%q and A later make %v", begin, keys)
			}
		}
	}
}
