package console

// A key is what the filter makes of bytes: a printable character, or one of
// these.
type key rune

const (
	keyEnter key = -1 - iota
	keyTab
	keyBackspace
	keyDelete
	keyLeft
	keyRight
	keyUp
	keyDown
	keyHome
	keyEnd
	keyWordLeft
	keyWordRight
	keyKillLine // Ctrl-U
	keyKillWord // Ctrl-W
	keyKillRest // Ctrl-K
	keyRedraw   // Ctrl-L
	keyInterrupt
	keyEOF // Ctrl-D
	keyPasteBegin
	keyPasteEnd
	keyNoise  // something came that no keyboard sends
	keyEscape // Esc by itself: known only once another key follows
)

// controls are the keys of C0 characters. Those that are not here are dropped,
// XON and XOFF among them: they are the port's.
var controls = map[byte]key{
	0x01: keyHome, 0x02: keyLeft, 0x03: keyInterrupt, 0x04: keyEOF, 0x05: keyEnd, 0x06: keyRight,
	0x08: keyBackspace, 0x09: keyTab, 0x0B: keyKillRest, 0x0C: keyRedraw, 0x0E: keyDown, 0x10: keyUp,
	0x15: keyKillLine, 0x17: keyKillWord, 0x7F: keyBackspace,
}

// sequences are the keys of control sequences, without their introducer (CSI,
// or SS3 where there are no parameters): VT100, xterm, rxvt, the Linux console.
var sequences = map[string]key{
	"A": keyUp, "B": keyDown, "C": keyRight, "D": keyLeft, "H": keyHome, "F": keyEnd,
	"1~": keyHome, "7~": keyHome, "4~": keyEnd, "8~": keyEnd, "3~": keyDelete,
	"1;5C": keyWordRight, "1;5D": keyWordLeft, "1;3C": keyWordRight, "1;3D": keyWordLeft,
	"200~": keyPasteBegin, "201~": keyPasteEnd,
}

// metas are the keys of Esc and a character: Alt.
var metas = map[byte]key{'b': keyWordLeft, 'f': keyWordRight, 0x7F: keyKillWord, 0x08: keyKillWord}
