package rtmp

import (
	"errors"
	"fmt"

	rtmpmsg "github.com/yutopp/go-rtmp/message"
)

// A command is a call of a procedure at the other end, or its answer (section
// 7.2). The first argument is the command object, mostly nil.
type command struct {
	name string
	id   float64 // transaction: answers carry that of the call
	args []any
}

// isCommand tells whether a message is one.
func (m message) isCommand() bool {
	return m.kind == rtmpmsg.TypeIDCommandMessageAMF0 || m.kind == rtmpmsg.TypeIDCommandMessageAMF3
}

var errCommand = errors.New("a command cannot be read")

// parseCommand reads a command message of AMF0, or of AMF3 as programs send
// it: AMF0 behind a byte.
func parseCommand(m message) (c command, err error) {
	b := m.data
	if m.kind == rtmpmsg.TypeIDCommandMessageAMF3 && len(b) > 0 {
		b = b[1:]
	}
	values, err := decodeAMF(b)
	if len(values) < 1 {
		return c, fmt.Errorf("%w: %w", errCommand, errors.Join(err, errAMF))
	}
	if errors.Is(err, errAMFLimits) {
		return c, fmt.Errorf("%w: %w", errCommand, err)
	}
	name, ok := values[0].(string)
	if !ok {
		return c, fmt.Errorf("%w: it has no name", errCommand)
	}
	c.name = name
	if len(values) > 1 {
		c.id, _ = values[1].(float64)
		c.args = values[2:]
	}
	return c, nil
}

// text returns an argument that is a string, or "".
func (c command) text(i int) string {
	if i < len(c.args) {
		s, _ := c.args[i].(string)
		return s
	}
	return ""
}

// number returns an argument that is a number.
func (c command) number(i int) (n float64, ok bool) {
	if i < len(c.args) {
		n, ok = c.args[i].(float64)
	}
	return n, ok
}

// object returns an argument that is an object; nil where it is none.
func (c command) object(i int) map[string]any {
	if i >= 0 && i < len(c.args) {
		o, _ := c.args[i].(map[string]any)
		return o
	}
	return nil
}

// info returns the object that says how a call went: the last argument.
func (c command) info() (level, code, description string) {
	o := c.object(len(c.args) - 1)
	level, _ = o["level"].(string)
	code, _ = o["code"].(string)
	description, _ = o["description"].(string)
	return level, code, description
}

// call makes the message of a command.
func call(stream uint32, name string, id float64, args ...any) message {
	values := append([]any{name, id}, args...)
	return message{kind: rtmpmsg.TypeIDCommandMessageAMF0, stream: stream, data: encodeAMF(values...)}
}

// A status is what an onStatus command says (section 7.2.2).
type status struct {
	Level       string `amf0:"level"` // status, or error
	Code        string `amf0:"code"`
	Description string `amf0:"description"`
}

// onStatus makes the message that tells how publishing or playing goes.
func onStatus(stream uint32, s status) message { return call(stream, "onStatus", 0, nil, s) }

// fourCCs are the codecs that are passed on (Enhanced RTMP): whatever there is,
// since nothing is decoded here.
var fourCCs = []string{"avc1", "hvc1", "av01", "vp08", "vp09", "mp4a", "Opus", "ac-3", "ec-3", "fLaC", ".mp3"}

// capsMultitrack says that messages of several tracks are passed on, and
// capsModEx that modifiers are (Enhanced RTMP, capsEx).
const (
	capsMultitrack = 2
	capsModEx      = 4
)

// What a peer can do with a codec (Enhanced RTMP, FourCcInfoMask).
const (
	canDecode  = 1
	canForward = 4
)

// announced returns the codecs that a peer lists: nil where it lists none.
func announced(o map[string]any) (codecs []string) {
	for _, name := range []string{"videoFourCcInfoMap", "audioFourCcInfoMap"} {
		m, _ := o[name].(map[string]any)
		for codec, v := range m {
			if can, _ := v.(float64); int(can)&(canDecode|canForward) != 0 {
				codecs = append(codecs, codec)
			}
		}
	}
	list, _ := o["fourCcList"].([]any)
	for _, v := range list {
		if s, ok := v.(string); ok {
			codecs = append(codecs, s)
		}
	}
	return codecs
}
