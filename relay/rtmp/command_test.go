package rtmp

import (
	"bytes"
	"errors"
	"reflect"
	"testing"

	rtmpmsg "github.com/yutopp/go-rtmp/message"
)

const (
	amf0Command = rtmpmsg.TypeIDCommandMessageAMF0
	amf3Command = rtmpmsg.TypeIDCommandMessageAMF3
)

func TestParseCommand(t *testing.T) {
	publish := encodeAMF("publish", 5, nil, "key", "live")
	for _, c := range []struct {
		name string
		m    message
		want command
		err  error
	}{
		{"AMF0", message{kind: amf0Command, data: publish}, command{"publish", 5, []any{nil, "key", "live"}}, nil},
		{"behind a byte", message{kind: amf3Command, data: append([]byte{0}, publish...)}, command{"publish", 5, []any{nil, "key", "live"}}, nil},
		{"no arguments", message{kind: amf0Command, data: encodeAMF("close", 5)}, command{"close", 5, []any{}}, nil},
		{"a name alone", message{kind: amf0Command, data: encodeAMF("close")}, command{"close", 0, nil}, nil},
		{"a number that is none", message{kind: amf0Command, data: encodeAMF("close", "x", 1)}, command{"close", 0, []any{1.0}}, nil},
		{"cut short behind its name", message{kind: amf0Command, data: publish[:len(publish)-2]}, command{"publish", 5, []any{nil, "key"}}, nil},
		{"nothing", message{kind: amf0Command}, command{}, errCommand},
		{"nothing, behind no byte", message{kind: amf3Command}, command{}, errCommand},
		{"nothing, behind a byte", message{kind: amf3Command, data: []byte{0}}, command{}, errCommand},
		{"no name", message{kind: amf0Command, data: encodeAMF(5, 5)}, command{}, errCommand},
		{"not AMF0", message{kind: amf0Command, data: []byte{0x11, 6}}, command{}, errAMF},
		{"too much", message{kind: amf0Command, data: append(encodeAMF("play", 5), bytes.Repeat([]byte{5}, 2*mostAMFValues)...)}, command{}, errAMFLimits},
	} {
		got, err := parseCommand(c.m)
		if !reflect.DeepEqual(got, c.want) || !errors.Is(err, c.err) || (err == nil) != (c.err == nil) {
			t.Errorf("%s: %#v, %v; want %#v, %v", c.name, got, err, c.want, c.err)
		}
	}
}

// TestCommandArguments asks for what is not there, and is not what it should
// be: the peer decides that.
func TestCommandArguments(t *testing.T) {
	c := command{"x", 1, []any{nil, "text", 4.0, map[string]any{"level": "error", "code": "No", "description": 5.0}}}
	if c.text(1) != "text" || c.text(2) != "" || c.text(4) != "" {
		t.Errorf("texts: %q %q %q", c.text(1), c.text(2), c.text(4))
	}
	if n, ok := c.number(2); n != 4 || !ok {
		t.Errorf("number: %v %v", n, ok)
	}
	for _, i := range []int{1, 4} {
		if n, ok := c.number(i); ok {
			t.Errorf("argument %d is number %v", i, n)
		}
	}
	if c.object(0) != nil || c.object(2) != nil || c.object(4) != nil || c.object(3) == nil {
		t.Error("an object is none, or the other way round")
	}
	if level, code, description := c.info(); level != "error" || code != "No" || description != "" {
		t.Errorf("info: %q %q %q", level, code, description)
	}
	for _, args := range [][]any{nil, {}, {nil}, {"text"}, {[]any{"level"}}} {
		if level, code, description := (command{args: args}).info(); level+code+description != "" {
			t.Errorf("info of %v: %q %q %q", args, level, code, description)
		}
	}
}

func TestAnnouncedCodecs(t *testing.T) {
	for _, c := range []struct {
		o    map[string]any
		want []string
	}{
		{nil, nil},
		{map[string]any{}, nil},
		{map[string]any{"fourCcList": "hvc1"}, nil},
		{map[string]any{"fourCcList": []any{"hvc1", 5.0, nil, "*"}}, []string{"hvc1", "*"}},
		{map[string]any{"videoFourCcInfoMap": map[string]any{"hvc1": 1.0, "av01": 2.0, "vp09": "x"}, "audioFourCcInfoMap": map[string]any{"Opus": 6.0}}, []string{"hvc1", "Opus"}},
		{map[string]any{"videoFourCcInfoMap": []any{"hvc1"}}, nil},
	} {
		if got := announced(c.o); !reflect.DeepEqual(got, c.want) {
			t.Errorf("%v: %v", c.o, got)
		}
	}
}

// TestCallIsRead writes commands and reads them.
func TestCallIsRead(t *testing.T) {
	m := onStatus(7, status{"error", "NetStream.Publish.BadName", "no"})
	got, err := parseCommand(m)
	level, code, description := got.info()
	if err != nil || m.stream != 7 || got.name != "onStatus" || level != "error" || code != "NetStream.Publish.BadName" || description != "no" {
		t.Errorf("%+v, %v", got, err)
	}
}
