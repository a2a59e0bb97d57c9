package console

import (
	"time"
	"unicode"
	"unicode/utf8"
)

// A filter makes keys of the bytes of a line, however they are split. All that
// comes out is safe for an editor: whole characters that can be shown, and
// whole keys. What no keyboard sends becomes keyNoise, so that the line it
// came in can be refused.
//
// Sources: ECMA-48 (control sequences), RFC 854 (CR LF and CR NUL), xterm's
// ctlseqs (bracketed paste, modified keys).
type filter struct {
	state    filterState
	sequence []byte // parameters and intermediates of a CSI, at most maxSequence
	text     int    // bytes of a control string so far
	utf      [utf8.UTFMax]byte
	partial  int  // bytes in utf
	afterCR  bool // the LF or NUL of this line end may follow
	begun    bool // something was typed since the last line end
	nul      bool // NULs came since: noise if more is typed
	pasting  bool
	last     time.Time // when the last byte came
}

type filterState uint8

const (
	stateGround filterState = iota
	stateEscape
	stateCSI
	stateSS3
	stateString       // OSC, DCS, SOS, PM, APC: what terminals answer, not keys
	stateStringEscape // an ESC within one
)

const (
	maxSequence = 24  // bytes; longer ones are noise
	maxString   = 256 // bytes
	// sequenceTime is how long the bytes of one sequence may be apart. They
	// come at once from a key; what follows later is typed.
	sequenceTime = 500 * time.Millisecond
)

const (
	escape = 0x1B
	bell   = 0x07
)

// feed appends the keys of bytes that came at a time.
func (f *filter) feed(keys []key, bytes []byte, at time.Time) []key {
	if f.state != stateGround && at.Sub(f.last) > sequenceTime {
		keys = f.abandon(keys)
	}
	if len(bytes) > 0 {
		f.last = at
	}
	for _, b := range bytes {
		keys = f.byte(keys, b)
	}
	return keys
}

// abandon ends a sequence that is not whole. An ESC alone is a key.
func (f *filter) abandon(keys []key) []key {
	if f.state == stateEscape {
		keys = append(keys, keyEscape)
	} else {
		keys = append(keys, keyNoise)
	}
	f.state = stateGround
	return keys
}

func (f *filter) byte(keys []key, b byte) []key {
	switch f.state {
	case stateEscape:
		return f.escaped(keys, b)
	case stateCSI:
		return f.csi(keys, b)
	case stateSS3:
		f.state = stateGround
		if k, ok := sequences[string([]byte{b})]; ok {
			return append(keys, k)
		}
		if b < 0x20 || b >= 0x7F {
			return f.byte(append(keys, keyNoise), b)
		}
		return keys // a function key
	case stateString, stateStringEscape:
		return f.string(keys, b)
	}
	return f.ground(keys, b)
}

func (f *filter) escaped(keys []key, b byte) []key {
	switch b {
	case escape: // a flood of them is one
		return keys
	case '[':
		f.state, f.sequence = stateCSI, f.sequence[:0]
		return keys
	case 'O':
		f.state = stateSS3
		return keys
	case ']', 'P', 'X', '^', '_':
		f.state, f.text = stateString, 0
		return keys
	}
	f.state = stateGround
	if k, ok := metas[b]; ok {
		return append(keys, k)
	}
	if b < 0x20 || b >= 0x7F {
		return f.ground(append(keys, keyEscape), b)
	}
	return keys // Alt and a character that means nothing here
}

func (f *filter) csi(keys []key, b byte) []key {
	switch {
	case b >= 0x20 && b < 0x40:
		if f.sequence = append(f.sequence, b); len(f.sequence) > maxSequence {
			return f.abandon(keys)
		}
		return keys
	case b >= 0x40 && b < 0x7F:
		f.state = stateGround
		k, ok := sequences[string(f.sequence)+string(rune(b))]
		switch {
		case k == keyPasteBegin:
			f.pasting = true
		case k == keyPasteEnd:
			f.pasting = false
		}
		if ok {
			keys = append(keys, k)
		}
		return keys
	}
	return f.byte(f.abandon(keys), b) // it never ended
}

// string skips a control string: to BEL or ST, to a line end where it has none,
// or for so many bytes.
func (f *filter) string(keys []key, b byte) []key {
	switch {
	case b == bell, f.state == stateStringEscape && b == '\\':
		f.state = stateGround
		return keys
	case b == escape:
		f.state = stateStringEscape
		return keys
	case b == '\r', b == '\n', b == 0x03, b >= 0x80:
		return f.byte(f.abandon(keys), b)
	}
	f.state = stateString
	if f.text++; f.text > maxString {
		return f.abandon(keys)
	}
	return keys
}

func (f *filter) ground(keys []key, b byte) []key {
	if f.partial > 0 {
		return f.continued(keys, b)
	}
	wasCR := f.afterCR
	f.afterCR = false
	switch {
	case b == '\r':
		f.afterCR = true
		return f.enter(keys)
	case b == '\n':
		if wasCR {
			return keys
		}
		return f.enter(keys)
	case b == 0:
		f.afterCR = wasCR // CR NUL LF is one line end too
		f.nul = f.nul || f.begun
		return keys
	case b == escape:
		f.state = stateEscape
		return keys
	case b < 0x20 || b == 0x7F:
		if k, ok := controls[b]; ok {
			keys = f.typed(keys, k)
			if k == keyInterrupt {
				f.begun, f.nul = false, false
			}
		}
		return keys
	case b < utf8.RuneSelf:
		return f.typed(keys, key(b))
	case b >= 0xC2 && b <= 0xF4:
		f.utf[0], f.partial = b, 1
		return keys
	}
	return append(keys, keyNoise) // 0xFF of a line that floats, a wrong speed
}

// continued takes the next byte of a character of several.
func (f *filter) continued(keys []key, b byte) []key {
	f.utf[f.partial] = b
	f.partial++
	whole := f.utf[:f.partial]
	if !utf8.FullRune(whole) {
		return keys
	}
	f.partial = 0
	r, n := utf8.DecodeRune(whole)
	switch {
	case r == utf8.RuneError && n <= 1:
		keys = append(keys, keyNoise)
		if b&0xC0 != 0x80 { // it begins something else
			return f.ground(keys, b)
		}
		return keys
	case r == utf8.RuneError, !unicode.IsPrint(r): // C1 controls, private use
		return append(keys, keyNoise)
	}
	return f.typed(keys, key(r))
}

func (f *filter) typed(keys []key, k key) []key {
	if f.nul {
		keys = append(keys, keyNoise)
	}
	f.begun, f.nul = true, false
	return append(keys, k)
}

func (f *filter) enter(keys []key) []key {
	f.begun, f.nul = false, false
	return append(keys, keyEnter)
}
