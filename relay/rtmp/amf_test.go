package rtmp

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/yutopp/go-amf0"
)

// Values of AMF0, as they travel.
func amfNumber(n float64) []byte {
	return binary.BigEndian.AppendUint64([]byte{0}, math.Float64bits(n))
}

func amfText(s string) []byte { return append([]byte{2}, amfName(s)...) }

func amfName(s string) []byte { return append([]byte{byte(len(s) >> 8), byte(len(s))}, s...) }

var amfEnd = []byte{0, 0, 9}

func TestAMFValues(t *testing.T) {
	for _, c := range []struct {
		name  string
		bytes [][]byte
		want  []any
		err   error
	}{
		{"nothing", nil, nil, nil},
		{"number", [][]byte{amfNumber(-2.5)}, []any{-2.5}, nil},
		{"boolean", [][]byte{{1, 0}, {1, 1}, {1, 7}}, []any{false, true, true}, nil},
		{"text", [][]byte{amfText("live"), amfText("")}, []any{"live", ""}, nil},
		{"long text", [][]byte{{12, 0, 0, 0, 4}, []byte("live")}, []any{"live"}, nil},
		{"XML", [][]byte{{15, 0, 0, 0, 4}, []byte("<a/>")}, []any{"<a/>"}, nil},
		{"null, undefined, unsupported, reference", [][]byte{{5}, {6}, {13}, {7, 0, 1}}, []any{nil, nil, nil, nil}, nil},
		{"date", [][]byte{{11}, amfNumber(1000)[1:], {0, 60}, amfNumber(1)}, []any{1000.0, 1.0}, nil},
		{"object", [][]byte{{3}, amfName("a"), amfNumber(1), amfName("b"), {3}, amfEnd, amfEnd, {5}}, []any{map[string]any{"a": 1.0, "b": map[string]any{}}, nil}, nil},
		{"object with an empty name", [][]byte{{3}, amfName(""), amfNumber(1), amfEnd}, []any{map[string]any{"": 1.0}}, nil},
		{"typed object", [][]byte{{16}, amfName("Type"), amfName("a"), amfNumber(1), amfEnd}, []any{map[string]any{"a": 1.0}}, nil},
		{"array by name, whatever number it says", [][]byte{{8, 0xFF, 0xFF, 0xFF, 0xFF}, amfName("a"), amfNumber(1), amfEnd}, []any{map[string]any{"a": 1.0}}, nil},
		{"array by name without an end", [][]byte{{8, 0, 0, 0, 1}, amfName("a"), amfNumber(1), {0, 0}}, []any{map[string]any{"a": 1.0}}, nil},
		{"array", [][]byte{{10, 0, 0, 0, 2}, amfNumber(1), amfText("b"), {5}}, []any{[]any{1.0, "b"}, nil}, nil},
		{"a number cut short", [][]byte{{5}, amfNumber(1)[:8]}, []any{nil}, errAMF},
		{"a boolean cut short", [][]byte{{1}}, nil, errAMF},
		{"a text cut short", [][]byte{amfText("live")[:6]}, nil, errAMF},
		{"a length cut short", [][]byte{{2, 0}}, nil, errAMF},
		{"a long text of 4 GB", [][]byte{{12, 0xFF, 0xFF, 0xFF, 0xFF}, []byte("live")}, nil, errAMF},
		{"an object cut short", [][]byte{{5}, {3}, amfName("a"), amfNumber(1)}, []any{nil}, errAMF},
		{"a typed object cut short", [][]byte{{16, 0, 9}}, nil, errAMF},
		{"an array by name cut short", [][]byte{{8, 0, 0}}, nil, errAMF},
		{"an array cut short", [][]byte{{10, 0, 0, 0, 2}, amfNumber(1)}, nil, errAMF},
		{"an array's length cut short", [][]byte{{10, 0, 0}}, nil, errAMF},
		{"a date cut short", [][]byte{{11}, amfNumber(1000)[1:], {0}}, nil, errAMF},
		{"a reference cut short", [][]byte{{7, 0}}, nil, errAMF},
		{"AMF3", [][]byte{amfText("a"), {17, 1}}, []any{"a"}, errAMF},
		{"markers that nothing has", [][]byte{{0xFF}}, nil, errAMF},
		{"an end without an object", [][]byte{{9}}, nil, errAMF},
	} {
		got, err := decodeAMF(slices.Concat(c.bytes...))
		if !reflect.DeepEqual(got, c.want) || !errors.Is(err, c.err) || (err == nil) != (c.err == nil) {
			t.Errorf("%s: %#v, %v; want %#v, %v", c.name, got, err, c.want, c.err)
		}
	}
}

// nested is so many objects, one in the other.
func nested(depth int) []byte {
	b := []byte{5}
	for range depth {
		b = slices.Concat([]byte{3}, amfName("a"), b, amfEnd)
	}
	return b
}

// arrays is so many arrays, one in the other, without an end.
func arrays(depth int) []byte { return bytes.Repeat([]byte{10, 0xFF, 0xFF, 0xFF, 0xFF}, depth) }

// TestAMFLimits: what would take much memory or stack is refused, at a small
// cost.
func TestAMFLimits(t *testing.T) {
	names := func(n int) (b []byte) {
		b = []byte{3}
		for i := range n {
			b = append(append(b, amfName(fmt.Sprint(i))...), 5)
		}
		return append(b, amfEnd...)
	}
	for _, c := range []struct {
		name string
		b    []byte
		err  error
	}{
		{"as deep as may be", nested(mostAMFDepth), nil},
		{"deeper", nested(mostAMFDepth + 1), errAMFLimits},
		{"much deeper", arrays(3000), errAMFLimits},
		{"as many as may be", bytes.Repeat([]byte{5}, mostAMFValues), nil},
		{"more", bytes.Repeat([]byte{5}, mostAMFValues+1), errAMFLimits},
		{"as many in an object as may be", names(mostAMFValues - 1), nil},
		{"more in an object", names(mostAMFValues), errAMFLimits},
		{"2^32 in an array", append([]byte{10, 0xFF, 0xFF, 0xFF, 0xFF}, bytes.Repeat([]byte{5}, 16000)...), errAMFLimits},
		{"2^32 in an array, and none there", []byte{10, 0xFF, 0xFF, 0xFF, 0xFF}, errAMF},
	} {
		var err error
		cost := testing.AllocsPerRun(1, func() { _, err = decodeAMF(c.b) })
		if !errors.Is(err, c.err) || (err == nil) != (c.err == nil) {
			t.Errorf("%s: %v, want %v", c.name, err, c.err)
		}
		if cost > 4*mostAMFValues {
			t.Errorf("%s: %v allocations", c.name, cost)
		}
	}
}

// TestAMFRoundTrip reads what go-amf0 writes, and what is written here is read
// by it.
func TestAMFRoundTrip(t *testing.T) {
	for _, v := range []any{
		0.0, -1.5, math.MaxFloat64, true, false, "", "onStatus", strings.Repeat("x", 65535), "päö", nil,
		map[string]any{},
		map[string]any{"a": 1.0, "b": "c", "d": map[string]any{"e": nil}},
		[]any{1.0, "a", nil, map[string]any{"b": true}},
	} {
		b := encodeAMF(v)
		got, err := decodeAMF(b)
		if err != nil || len(got) != 1 || !reflect.DeepEqual(got[0], v) {
			t.Errorf("%#v comes back as %#v, %v", v, got, err)
		}
		var theirs any
		if err := amf0.NewDecoder(bytes.NewReader(b)).Decode(&theirs); err != nil {
			t.Errorf("%#v: go-amf0: %v", v, err)
		}
	}
	// Structs, as commands are answered with.
	got, err := decodeAMF(encodeAMF("_result", 3.0, nil, connected{Level: "status", Code: "ok", FourCCList: []string{"hvc1", "av01"}, CapsEx: 6}))
	want := []any{"_result", 3.0, nil, map[string]any{
		"level": "status", "code": "ok", "description": "", "objectEncoding": 0.0, "fourCcList": []any{"hvc1", "av01"}, "capsEx": 6.0,
	}}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%#v, %v", got, err)
	}
}
