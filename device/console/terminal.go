package console

import (
	"io"
	"strings"
	"unicode/utf8"

	"golang.org/x/term"
)

// A vt is the editor for terminals that understand VT100 sequences: a Terminal
// of x/term that is given one whole key at a time.
//
// What the Terminal does not know, or would end at, it gets as characters of
// private use. It hands them to complete, which can see the line.
type vt struct {
	terminal *term.Terminal
	past     *history

	next    keys
	reading reading
	queued  []byte // keys that follow from the last one
	pasting bool
	full    bool // the rest of the line is dropped
	outcome error
}

// The characters of private use.
const (
	privateEOF rune = 0xE000 + iota
	privateKillLine
	privateTab
	privateHelp
)

// encodings are the keys as a Terminal takes them.
var encodings = map[key]string{
	keyEnter: "\r", keyBackspace: "\x7f", keyDelete: "\x1b[3~", keyLeft: "\x1b[D", keyRight: "\x1b[C",
	keyUp: "\x1b[A", keyDown: "\x1b[B", keyHome: "\x01", keyEnd: "\x05",
	keyWordLeft: "\x1b[1;3D", keyWordRight: "\x1b[1;3C", keyKillWord: "\x17", keyKillRest: "\x0b", keyRedraw: "\x0c",
	keyEOF: string(privateEOF), keyKillLine: string(privateKillLine), keyTab: string(privateTab), '?': string(privateHelp),
}

// newVT makes one that writes to out.
func newVT(out io.Writer, past *history, width, height int) *vt {
	v := &vt{past: past}
	v.terminal = term.NewTerminal(struct {
		io.Reader
		io.Writer
	}{keyReader{v}, out}, "")
	v.terminal.History = pastOf{v}
	v.terminal.AutoCompleteCallback = v.complete
	_ = v.terminal.SetSize(width, height) // nothing is drawn yet, so it cannot fail
	return v
}

func (v *vt) readLine(next keys, r reading) (string, error) {
	v.next, v.reading, v.queued, v.pasting, v.full, v.outcome = next, r, nil, false, false, nil
	v.terminal.SetPrompt(r.prompt)
	line, err := v.terminal.ReadLine()
	switch {
	case err != nil:
		return "", err
	case v.outcome != nil:
		return "", v.outcome
	}
	return line, nil
}

// A keyReader is what the Terminal reads: one key each time.
type keyReader struct{ *vt }

// Read is called without the Terminal's lock, so that it may be written to.
func (v keyReader) Read(p []byte) (int, error) {
	for len(v.queued) == 0 {
		k, err := v.next(v.notify)
		if err != nil {
			return 0, err
		}
		v.key(k)
	}
	n := copy(p, v.queued)
	v.queued = v.queued[n:]
	return n, nil
}

func (v *vt) notify(text string) { _, _ = v.terminal.Write([]byte(text)) }

// key queues what the Terminal is to see of a key.
func (v *vt) key(k key) {
	switch k {
	case keyNoise:
		v.refuse(errNoise)
		return
	case keyPasteBegin, keyPasteEnd:
		v.pasting = k == keyPasteBegin
		return
	case keyInterrupt:
		v.outcome = errInterrupt
		v.queued = append(v.queued, "\x05^C\r"...)
		return
	case keyEnter, keyKillLine:
	case keyTab:
		if v.pasting || v.reading.complete == nil {
			k = ' '
		}
	}
	if v.full && k != keyEnter && k != keyKillLine {
		return
	}
	if text, ok := encodings[k]; ok && !(k == '?' && (v.pasting || v.reading.complete == nil)) {
		v.queued = append(v.queued, text...)
	} else if k > 0 {
		v.queued = utf8.AppendRune(v.queued, rune(k))
	}
}

func (v *vt) refuse(err error) {
	if v.outcome == nil {
		v.outcome = err
	}
}

// complete is called by the Terminal for each character before it is added,
// without its lock.
func (v *vt) complete(line string, pos int, r rune) (string, int, bool) {
	switch r {
	case privateEOF:
		if line != "" || v.outcome != nil {
			v.queued = append(v.queued, "\x1b[3~"...)
			return line, pos, true
		}
		v.outcome = errLogout
		v.queued = append(v.queued, '\r')
		return line, pos, true
	case privateKillLine:
		if pos == len(line) {
			v.outcome, v.full = nil, false
		}
		v.queued = append(v.queued, 0x15)
		return line, pos, true
	case privateTab, privateHelp:
		k := keyTab
		if r == privateHelp {
			k = '?'
		}
		newLine, newPos, told := v.reading.complete(line, pos, k)
		if told != "" {
			v.notify(v.reading.prompt + line + "\n" + told)
		}
		return newLine, newPos, true
	}
	if utf8.RuneCountInString(line) < maxLine {
		return "", 0, false
	}
	v.refuse(errTooLong)
	v.full = true
	return line, pos, true
}

// pastOf is the history as one line of the vt sees it.
type pastOf struct{ *vt }

// Add remembers a line that is carried out.
func (p pastOf) Add(line string) {
	if p.reading.remember && p.outcome == nil {
		p.past.Add(line)
	}
}

// Len is how many there are to be called up.
func (p pastOf) Len() int {
	if !p.reading.remember {
		return 0
	}
	return p.past.Len()
}

// At returns one, 0 for the newest.
func (p pastOf) At(i int) string { return p.past.At(i) }

// caret marks a place under a line that was typed after a prompt. It is empty
// where the line is too long for a caret to say where.
func caret(width, promptLen, at int) string {
	if promptLen+at >= width {
		return ""
	}
	return strings.Repeat(" ", promptLen+at) + "^\n"
}
