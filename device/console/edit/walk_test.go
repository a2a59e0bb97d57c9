package edit

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
)

// raw is a JSON Schema read without the code under test.
type raw = map[string]any

func readRaw(t *testing.T) (top, defs raw) {
	t.Helper()
	b, err := os.ReadFile(schemaFile)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, &top); err != nil {
		t.Fatal(err)
	}
	return top, top["$defs"].(raw)
}

// A walker types every field of the schema, in every mode of its object.
type walker struct {
	t    *testing.T
	defs raw
	seen map[string]bool // definition and field
	tree *Tree
}

// Every field of the schema can be set, shown, completed, compared and
// deleted, and takes no value that the schema does not allow.
func TestEveryField(t *testing.T) {
	_, defs := readRaw(t)
	w := walker{t: t, defs: defs, seen: map[string]bool{}, tree: parse(t, `{}`)}
	w.object(nil, "config.Settings", nil)
	if len(w.seen) < 80 {
		t.Errorf("only %d fields were seen", len(w.seen))
	}
	for name, def := range defs {
		if name == "config.Commit" { // not of the state
			continue
		}
		for field, p := range def.(raw)["properties"].(raw) {
			if p.(raw)["readOnly"] != true && !w.seen[name+" "+field] {
				t.Errorf("%s of %s was not seen", field, name)
			}
		}
	}
}

func (w *walker) set(words ...string) {
	w.t.Helper()
	if _, err := w.tree.Set(words...); err != nil {
		w.t.Fatalf("set %q: %v", words, err)
	}
}

// object walks the fields of an object in each of its modes. instead are the
// schemas that the mode of the object around it gives to its fields.
func (w *walker) object(path []string, def string, keys []string) {
	n := w.defs[def].(raw)
	props := n["properties"].(raw)
	branches, _ := n["allOf"].([]any)
	if len(branches) == 0 {
		w.fields(path, def, props, nil, keys)
		return
	}
	for _, b := range branches {
		is := b.(raw)["if"].(raw)["properties"].(raw)
		then := b.(raw)["then"].(raw)["properties"].(raw)
		for selector, values := range is {
			for _, v := range values.(raw)["enum"].([]any) {
				w.value(append(slices.Clone(path), selector), props[selector].(raw))
				w.seen[def+" "+selector] = true
				w.set(append(slices.Clone(path), selector, fmt.Sprint(v))...)
				w.fields(path, def, props, then, append(slices.Clone(keys), selector))
			}
		}
	}
}

func (w *walker) fields(path []string, def string, props, then raw, done []string) {
	for _, name := range slices.Sorted(maps.Keys(props)) {
		p := props[name].(raw)
		here := append(slices.Clone(path), name)
		if other, ok := then[name].(raw); ok {
			if other["not"] != nil {
				if _, err := w.tree.Set(append(here, "1")...); err == nil || !strings.Contains(err.Error(), name+" belongs to ") {
					w.t.Errorf("%v is of another mode: %v", here, err)
				}
				if slices.Contains(texted(w.tree.Complete(ToSet, path, name)), name) {
					w.t.Errorf("%v is of another mode, and offered", here)
				}
				continue
			}
			p = other
		}
		if slices.Contains(done, name) {
			w.seen[def+" "+name] = true
			continue
		}
		if p["readOnly"] == true {
			continue
		}
		w.seen[def+" "+name] = true
		w.value(here, p)
	}
}

func texted(words []Word) (out []string) {
	for _, w := range words {
		out = append(out, w.Text)
	}
	return out
}

// value sets what is at a path, looks at it, and takes it out again.
func (w *walker) value(path []string, p raw) {
	w.t.Helper()
	up, name := path[:len(path)-1], path[len(path)-1]
	if offered := texted(w.tree.Complete(ToSet, up, name[:1])); !slices.Contains(offered, name) {
		w.t.Errorf("%v is not offered: %q", path, offered)
	}
	at := path
	switch {
	case p["$ref"] != nil:
		w.object(path, strings.TrimPrefix(p["$ref"].(string), "#/$defs/"), nil)
		if _, err := w.tree.Set(path...); err != nil { // an empty one, if there is nothing to set
			w.t.Errorf("set %q: %v", path, err)
		}
	case p["items"] != nil && p["items"].(raw)["$ref"] != nil:
		def := strings.TrimPrefix(p["items"].(raw)["$ref"].(string), "#/$defs/")
		item, k := "1", "" // called by its position, or by its key
		for _, r := range []string{"name", "id"} {
			if _, has := w.defs[def].(raw)["properties"].(raw)[r]; has && slices.Contains(w.defs[def].(raw)["required"].([]any), any(r)) {
				item, k = "thing", r
			}
		}
		at = append(slices.Clone(path), item)
		w.set(at...)
		w.object(at, def, []string{k})
	case p["additionalProperties"] != nil && p["additionalProperties"] != false:
		at = append(slices.Clone(path), "thing")
		w.scalar(at, p["additionalProperties"].(raw))
	case isRawSecret(p):
		change, err := w.tree.Set(path...)
		if err != nil || !change.Secret {
			w.t.Errorf("set %q: %+v, %v: it should be asked for", path, change, err)
		}
		if words := w.tree.Complete(ToSet, path, ""); len(words) > 0 {
			w.t.Errorf("%q: a secret is offered: %v", path, words)
		}
		if _, err := w.tree.Set(append(slices.Clone(path), "correct horse")...); err == nil || strings.Contains(err.Error(), "horse") {
			w.t.Errorf("%q: a secret in a line: %v", path, err)
		}
		if err := w.tree.SetSecret(path, "correct horse"); err != nil {
			w.t.Errorf("%q: %v", path, err)
		}
		if lines, err := w.tree.Show(path...); err != nil || len(lines) != 1 || lines[0] != name+" (set)" {
			w.t.Errorf("%q is shown as %q, %v", path, lines, err)
		}
	default:
		w.scalar(path, p)
	}
	w.gone(at, path)
}

func isRawSecret(p raw) bool {
	one, _ := p["oneOf"].([]any)
	return len(one) == 3
}

// gone deletes what is at a path and looks for it.
func (w *walker) gone(at, path []string) {
	w.t.Helper()
	full := w.tree.Clone()
	if got := texted(w.tree.Complete(ToFind, path[:len(path)-1], path[len(path)-1])); !slices.Contains(got, path[len(path)-1]) {
		w.t.Errorf("%q is there, and not offered: %q", path, got)
	}
	if _, err := w.tree.Delete(at...); err != nil {
		w.t.Fatalf("delete %q: %v", at, err)
	}
	if _, err := w.tree.Find(at); err == nil {
		w.t.Errorf("%q is deleted, and still there", at)
	}
	lines := Compare(w.tree, full)
	if len(lines) == 0 || !strings.HasPrefix(lines[0], "+ "+strings.Join(at, " ")) {
		w.t.Errorf("%q is deleted, and compared as %q", at, lines)
	}
	if lines = Compare(full, w.tree); len(lines) == 0 || !strings.HasPrefix(lines[0], "- "+strings.Join(at, " ")) {
		w.t.Errorf("%q is deleted, and compared as %q", at, lines)
	}
}

// scalar sets a word, or a list of one, and tries what is not allowed.
func (w *walker) scalar(path []string, p raw) {
	w.t.Helper()
	if one, ok := p["oneOf"].([]any); ok { // a list, or a string of them
		p = one[0].(raw)
	}
	list := p["items"] != nil
	if list {
		p = p["items"].(raw)
	}
	good, bad := samples(p)
	name := path[len(path)-1]
	for _, word := range bad {
		before, _ := w.tree.Document()
		_, err := w.tree.Set(append(slices.Clone(path), word)...)
		if err == nil || !strings.HasPrefix(err.Error(), name+" ") || !strings.Contains(err.Error(), "use ") {
			w.t.Errorf("set %q %q: %v", path, word, err)
		}
		if after, _ := w.tree.Document(); string(after) != string(before) {
			w.t.Errorf("set %q %q is refused, and changes the document", path, word)
		}
	}
	help := w.tree.Complete(ToSet, path, "")
	if len(help) == 0 || help[len(help)-1].Text == "" {
		w.t.Errorf("%q: nothing says what it takes", path)
	}
	if slices.Equal(path, brokerURL) { // more is known of it than the schema says
		good = []string{"mqtts://fleet.example.com"}
	}
	for _, word := range good {
		w.set(append(slices.Clone(path), word)...)
		if lines, err := w.tree.Show(path...); err != nil || len(lines) != 1 || lines[0] != name+" "+word {
			w.t.Errorf("%q %s is shown as %q, %v", path, word, lines, err)
		}
		if got := w.tree.Values(path...); !slices.Equal(got, []string{word}) {
			w.t.Errorf("%q is %q, want %s", path, got, word)
		}
		if got := texted(w.tree.Complete(ToSet, path, word)); !list && !slices.Contains(got, word) {
			w.t.Errorf("%q: its own value %s is not offered: %q", path, word, got)
		}
		doc, err := w.tree.Document()
		if err != nil {
			w.t.Fatal(err)
		}
		back, err := w.tree.schema.Parse(doc)
		if err != nil || len(Compare(back, w.tree)) > 0 {
			w.t.Errorf("%q: the document is read back otherwise: %v %q", path, err, Compare(back, w.tree))
		}
	}
}

// samples returns words that a scalar takes, the last not its default, and
// words that it does not take.
func samples(p raw) (good, bad []string) {
	number := func(name string) int64 {
		f, _ := p[name].(float64)
		return int64(f)
	}
	if enum, ok := p["enum"].([]any); ok {
		for _, v := range enum {
			if v != p["default"] {
				good = append(good, fmt.Sprint(v))
			}
		}
		return good, []string{"nonsense"}
	}
	switch p["type"] {
	case "boolean":
		good = []string{"true", "false"}
		if p["default"] == false {
			good = []string{"false", "true"}
		}
		return good, []string{"2"}
	case "integer":
		lo, hi := number("minimum"), number("maximum")
		good = []string{fmt.Sprint(lo), fmt.Sprint(hi)}
		if p["default"] == float64(hi) {
			slices.Reverse(good)
		}
		return good, []string{fmt.Sprint(lo - 1), fmt.Sprint(hi + 1), "1e3", "0x10", "99999999999999999999"}
	}
	switch format, _ := p["format"].(string); format {
	case "ip-address":
		return []string{"2001:db8::1", "192.0.2.1"}, []string{"192.0.2.1/24", "192.0.2.256"}
	case "ip-prefix":
		return []string{"2001:db8::1/64", "192.0.2.1/24"}, []string{"192.0.2.1", "192.0.2.1/33"}
	case "ip-network":
		return []string{"192.0.2.1", "192.0.2.1/24"}, []string{"all"}
	}
	good = []string{"abc"}
	if pattern, _ := p["pattern"].(string); strings.Contains(pattern, "{5}") {
		good, bad = []string{"02:00:5e:00:00:02", "02-00-5E-00-00-02"}, []string{"02005e000002"}
	} else if pattern != "" {
		bad = append(bad, "a\x01b")
	}
	if most := number("maxLength"); most > 0 && p["pattern"] == nil {
		good = append(good, strings.Repeat("a", int(most)))
		bad = append(bad, strings.Repeat("a", int(most)+1))
	}
	return good, bad
}
