package wire

import (
	"bytes"
	"encoding/binary"
	"math"
)

// A property is one of an AMF0 object.
type property struct{ name, value string }

// amf writes values in AMF0: strings, numbers, nil, and objects as properties.
func amf(values ...any) []byte {
	var b []byte
	for _, v := range values {
		switch v := v.(type) {
		case string:
			b = text(append(b, 2), v)
		case float64:
			b = binary.BigEndian.AppendUint64(append(b, 0), math.Float64bits(v))
		case []property:
			b = append(b, 3)
			for _, p := range v {
				b = text(append(text(b, p.name), 2), p.value)
			}
			b = append(b, 0, 0, 9)
		case nil:
			b = append(b, 5)
		}
	}
	return b
}

// text appends a string as AMF0 has it behind its marker.
func text(b []byte, s string) []byte {
	return append(binary.BigEndian.AppendUint16(b, uint16(len(s))), s...)
}

// command returns the name of a command, and what follows it.
func command(b []byte) (name string, rest []byte) {
	if len(b) < 3 || b[0] != 2 {
		return "", nil
	}
	n := int(binary.BigEndian.Uint16(b[1:]))
	if len(b) < 3+n {
		return "", nil
	}
	return string(b[3 : 3+n]), b[3+n:]
}

// find returns the string that is a property of any object in a command.
func find(b []byte, name string) string {
	_, after, ok := bytes.Cut(b, append(text(nil, name), 2))
	if !ok || len(after) < 2 {
		return ""
	}
	n := int(binary.BigEndian.Uint16(after))
	return string(after[2:][:min(n, len(after)-2)])
}

// lastNumber returns the number that a command ends with.
func lastNumber(b []byte) (float64, bool) {
	if len(b) < 9 || b[len(b)-9] != 0 {
		return 0, false
	}
	return math.Float64frombits(binary.BigEndian.Uint64(b[len(b)-8:])), true
}
