package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"
)

// A fault is what config/rejected says of one thing wrong.
type fault struct {
	Pointer string `json:"pointer"`
	Code    string `json:"code"`
	Message string `json:"message"`
}

// Documents with a fault get their exact answer, and change nothing.
func TestBadDocumentsAreAnsweredAndChangeNothing(t *testing.T) {
	t.Parallel()
	b := startBroker(t)
	x := startBox(t, b)
	l := b.listen(t)
	good := document{version: 5, input: udpPort(t), outputs: []string{srtListener("a", udpPort(t), "")}}
	publish(t, b, l, good)
	x.AwaitStates(t, 10*time.Second, map[string]string{"enc": "waiting", "a": "waiting"})
	before := x.Ctl(t, "get", "reported")

	edit := func(version int, f func(*document)) []byte {
		d := good
		d.version, d.token = version, fmt.Sprintf("bad-%d", version)
		f(&d)
		return d.json()
	}
	port := udpPort(t)
	for _, c := range []struct {
		what   string
		body   []byte
		code   int
		faults []fault // without their sentences; nil where the code says it all
	}{
		{"not JSON", []byte("not json"), 400, nil},
		{"cut short", good.json()[:200], 400, nil},
		{"a list", []byte("[]"), 400, nil},
		{"invalid UTF-8", bytes.Replace(edit(6, func(*document) {}), []byte("Main"), []byte("M\xff\xfen"), 1), 415, nil},
		{"deep nesting", []byte(strings.Repeat("[", 100_000)), 400, nil},
		{"too large", append(edit(6, func(*document) {}), bytes.Repeat([]byte(" "), 300<<10)...), 413, nil},
		{"an older version", edit(4, func(*document) {}), 409, nil},
		{"the same version, another digest", edit(5, func(d *document) { d.outputs = nil }), 409, nil},
		{"another base version", bytes.Replace(edit(6, func(*document) {}), []byte(`"version": 6`), []byte(`"version": 6, "base_version": 3`), 1), 409, nil},
		{"another schema", bytes.Replace(edit(6, func(*document) {}), []byte("sluice.config/v1"), []byte("sluice.config/v9"), 1), 0, nil},
		{
			"a key length that does not exist",
			edit(6, func(d *document) {
				d.outputs = []string{srtListener("a", port, `, "passphrase": "long enough a phrase", "key_length": 20`)}
			}),
			400,
			[]fault{{Pointer: "/state/flows/0/outputs/0/srt/key_length", Code: "InvalidParameter.Output"}},
		},
		{
			"two outputs with one id and one port",
			edit(6, func(d *document) { d.outputs = []string{srtListener("a", port, ""), srtListener("a", port, "")} }),
			400,
			[]fault{
				{Pointer: "/state/flows/0/outputs/1/id"},
				{Pointer: "/state/flows/0/outputs/1/name", Code: "InvalidParameter.Name"},
				{Pointer: "/state/flows/0/outputs/1/srt/port"},
			},
		},
		{
			"an unknown field",
			edit(6, func(d *document) { d.outputs = []string{srtListener("a", port, `, "latency": 120`)} }),
			400,
			[]fault{{Pointer: "/state/flows/0/outputs/0/srt/latency"}},
		},
	} {
		t.Run(c.what, func(t *testing.T) {
			mark := l.mark()
			b.publish(t, "config/desired", c.body, false)
			m := l.next(t, mark, 10*time.Second, "config/rejected", nil)
			var answer struct {
				Code           int     `json:"code"`
				Message        string  `json:"message"`
				CurrentVersion uint64  `json:"current_version"`
				Errors         []fault `json:"errors"`
			}
			m.decode(t, &answer)
			if c.code != 0 && answer.Code != c.code {
				t.Errorf("the code is %d, not %d: %s", answer.Code, c.code, m.payload)
			}
			if answer.Message == "" || answer.CurrentVersion != uint64(good.version) {
				t.Errorf("no message, or not the version in force: %s", m.payload)
			}
			if c.faults != nil && !sameFaults(answer.Errors, c.faults) {
				t.Errorf("the faults are %+v, not %+v", answer.Errors, c.faults)
			}
		})
	}
	if after := x.Ctl(t, "get", "reported"); !sameReport(t, before, after) {
		t.Errorf("what is in force has changed from\n%s\nto\n%s", before, after)
	}
	x.AwaitStates(t, time.Second, map[string]string{"enc": "waiting", "a": "waiting"})
}

// sameFaults compares pointers in order, codes where one is wanted, and asks
// for a sentence.
func sameFaults(got, want []fault) bool {
	if len(got) != len(want) {
		return false
	}
	for i, w := range want {
		g := got[i]
		if g.Pointer != w.Pointer || w.Code != "" && g.Code != w.Code || g.Code == "" || g.Message == "" {
			return false
		}
	}
	return true
}

// sameReport compares two reported documents but for their time and the
// version last asked for.
func sameReport(t *testing.T, a, b []byte) bool {
	t.Helper()
	var x, y map[string]any
	for _, d := range []struct {
		text []byte
		into *map[string]any
	}{{a, &x}, {b, &y}} {
		if err := json.Unmarshal(d.text, d.into); err != nil {
			t.Fatal(err)
		}
		delete(*d.into, "timestamp")
		delete(*d.into, "desired_version")
	}
	return reflect.DeepEqual(x, y)
}
