package console

import (
	"errors"
	"regexp"
	"strings"
	"unicode/utf8"
)

// maxLine is the longest line that is taken, in characters.
const maxLine = 1000

// The errors of a line that is not to be carried out.
var (
	errInterrupt = errors.New("interrupted")
	errLogout    = errors.New("logged out")
	errNoise     = errors.New("the line was hit by noise, and nothing of it was done: type it again")
	errTooLong   = errors.New("the line has more than 1,000 characters, and nothing of it was done")
)

// A reading is how one line is read.
type reading struct {
	prompt   string
	hidden   bool      // nothing is echoed
	remember bool      // in the history, which can be called up
	complete completer // nil: Tab and ? mean nothing
}

// A completer answers Tab and ?. It returns what becomes of the line, and what
// there is to tell: lines that each end with \n, or none.
type completer func(line string, pos int, k key) (newLine string, newPos int, told string)

// keys gives an editor the next key. notify prints lines that do not belong to
// the one that is edited, which is there again after them.
type keys func(notify func(text string)) (key, error)

// An editor reads lines. The error is errInterrupt for Ctrl-C, errLogout for
// Ctrl-D on an empty line, errNoise or errTooLong for a line that is refused,
// or that of keys.
type editor interface {
	readLine(next keys, r reading) (string, error)
}

// A screen is what text is printed on: \n begins a new line.
type screen interface{ print(text string) }

// A plain editor moves no cursor: it is for terminals that cannot, for
// programs, and for what is not echoed. It deletes with backspace, space,
// backspace.
type plain struct {
	out  screen
	past *history
}

func (p *plain) readLine(next keys, r reading) (string, error) {
	l := &plainLine{out: p.out, reading: r}
	at := -1 // in the history
	p.out.print(r.prompt)
	for {
		k, err := next(l.notify)
		if err != nil {
			return "", err
		}
		switch k {
		case keyEnter:
			p.out.print("\n")
			if l.refused != nil {
				return "", l.refused
			}
			if r.remember {
				p.past.Add(string(l.text))
			}
			return string(l.text), nil
		case keyInterrupt:
			p.out.print("^C\n")
			return "", errInterrupt
		case keyEOF:
			if len(l.text) == 0 && l.refused == nil {
				p.out.print("\n")
				return "", errLogout
			}
		case keyUp, keyDown:
			if step := map[key]int{keyUp: 1, keyDown: -1}[k]; r.remember && at+step >= -1 && at+step < p.past.Len() {
				at += step
				l.replace(p.past.line(at))
			}
		default:
			l.key(k)
		}
	}
}

// A plainLine is a line that is being typed. The cursor stays at its end.
type plainLine struct {
	reading
	out     screen
	text    []rune
	refused error
	pasting bool
}

func (l *plainLine) key(k key) {
	switch k {
	case keyNoise:
		l.refuse(errNoise)
	case keyPasteBegin, keyPasteEnd:
		l.pasting = k == keyPasteBegin
	case keyBackspace:
		l.erase(min(1, len(l.text)))
	case keyKillLine:
		l.erase(len(l.text))
		l.refused = nil
	case keyKillWord:
		kept := strings.TrimRight(string(l.text), " ")
		kept = kept[:strings.LastIndexByte(kept, ' ')+1]
		l.erase(len(l.text) - utf8.RuneCountInString(kept))
	case keyRedraw:
		l.notify("")
	case keyTab, '?':
		switch {
		case l.complete != nil && !l.pasting:
			l.help(k)
		case k == keyTab && l.hidden: // part of no password
		case k == keyTab:
			l.add(' ')
		default:
			l.add('?')
		}
	default:
		if k > 0 {
			l.add(rune(k))
		}
	}
}

func (l *plainLine) help(k key) {
	text, _, told := l.complete(string(l.text), len(string(l.text)), k)
	if told == "" {
		l.replace(text)
		return
	}
	l.text = []rune(text)
	l.notify(told)
}

func (l *plainLine) add(r rune) {
	if len(l.text) == maxLine {
		l.refuse(errTooLong)
		return
	}
	l.text = append(l.text, r)
	l.show(string(r))
}

func (l *plainLine) refuse(err error) {
	if l.refused == nil {
		l.refused = err
	}
}

func (l *plainLine) show(text string) {
	if !l.hidden {
		l.out.print(text)
	}
}

func (l *plainLine) erase(n int) {
	l.text = l.text[:len(l.text)-n]
	l.show(strings.Repeat("\b \b", n))
}

func (l *plainLine) replace(text string) {
	if more, ok := strings.CutPrefix(text, string(l.text)); ok {
		l.show(more)
	} else {
		l.erase(len(l.text))
		l.show(text)
	}
	l.text = []rune(text)
}

func (l *plainLine) notify(text string) {
	l.out.print("\n" + text + l.prompt)
	l.show(string(l.text))
}

// maxHistory bounds the lines that can be called up again.
const maxHistory = 50

// A history is the lines of commands, the newest first: a term.History.
type history struct{ lines []string }

// userInURL is a URL with a user in it, and mostly a password.
var userInURL = regexp.MustCompile(`://\S*@`)

// Add remembers a line, unless it is empty, the same again, or has a secret in
// it that somebody should not have typed.
func (h *history) Add(line string) {
	if strings.TrimSpace(line) == "" || userInURL.MatchString(line) || len(h.lines) > 0 && h.lines[0] == line {
		return
	}
	h.lines = append([]string{line}, h.lines[:min(len(h.lines), maxHistory-1)]...)
}

// Len is how many there are.
func (h *history) Len() int { return len(h.lines) }

// At returns one, 0 for the newest.
func (h *history) At(i int) string { return h.lines[i] }

// line is At, with nothing before the newest.
func (h *history) line(i int) string {
	if i < 0 {
		return ""
	}
	return h.lines[i]
}
