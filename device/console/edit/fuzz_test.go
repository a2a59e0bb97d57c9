package edit

import (
	"os"
	"strings"
	"testing"
)

// canary is a secret that nothing may show.
const canary = "kanarienvogel-9"

// FuzzEdit types lines into documents. What is refused changes nothing; what
// is taken can be read back, found and deleted; secrets are not shown.
func FuzzEdit(f *testing.F) {
	s := load(f)
	for _, line := range []string{
		"uplinks wan0 addresses 192.0.2.9/24", "flows stage outputs hub srt mode listener", "flows stage outputs hub srt passphrase",
		"regions eu wan0", "flows a inputs b protocol RTP", "flows stage outputs cdn rtmp destinations 2 url x", "device", "",
		"flows stage id stage", "flows stage outputs hub allow 10.0.0.0/8;::/0",
	} {
		f.Add(stage, line)
	}
	f.Add(`{"state": {"flows": {"id": 1}, "uplinks": [1, {"name": ["x"]}, null], "regions": [], "device": "x"}}`, "uplinks 1 name x")
	f.Add(`{"state": {"uplinks": [{"name": "a"}, {"name": "a"}, {"name": "2"}]}, "secrets": {"console-1": 1}}`, "uplinks a default yes")
	f.Fuzz(func(t *testing.T, document, line string) {
		tree, err := s.Parse([]byte(document))
		if err != nil {
			return
		}
		words := strings.Split(line, " ")
		for _, p := range []Purpose{ToSet, ToFind, ToEnter} {
			tree.Complete(p, words[:len(words)-1], words[len(words)-1])
			tree.Kind(p, words)
			if fault := tree.Check(p, words); fault != nil && p == ToSet {
				if _, err := tree.Clone().Set(words...); err == nil {
					t.Fatalf("%q is refused (%v), and can be set", words, fault)
				}
			}
		}
		tree.Pointer(line)
		before, beforeErr := tree.Document()
		change, err := tree.Set(words...)
		if err == nil && change.Secret {
			if err = tree.SetSecret(change.Path, canary); err == nil {
				if text := screen(tree); strings.Contains(text, canary) {
					t.Fatalf("the secret is shown: %s", text)
				}
			}
		}
		after, afterErr := tree.Document()
		if err != nil {
			if beforeErr == nil && (afterErr != nil || string(before) != string(after)) {
				t.Fatalf("set %q is refused (%v), and changes %s to %s", words, err, before, after)
			}
			return
		}
		if afterErr != nil {
			t.Fatalf("set %q: %v", words, afterErr)
		}
		back, err := s.Parse(after)
		if err != nil {
			t.Fatalf("set %q: it cannot be read back: %v", words, err)
		}
		if lines := Compare(back, tree); len(lines) > 0 {
			t.Fatalf("set %q: it is read back as %q", words, lines)
		}
		full, err := tree.Find(change.Path)
		if err != nil {
			t.Fatalf("set %q: %q is not there: %v", words, change.Path, err)
		}
		tree.Line(full)
		if _, err := tree.Delete(full...); err != nil && !strings.Contains(err.Error(), "called by") {
			t.Fatalf("set %q: %q cannot be deleted: %v", words, full, err)
		}
	})
}

// screen is everything that is shown of a tree.
func screen(t *Tree) string {
	empty, _ := t.schema.Parse([]byte(`{}`))
	lines, _ := t.Show()
	lines = append(lines, Compare(empty, t)...)
	lines = append(lines, Compare(t, empty)...)
	return strings.Join(lines, "\n")
}

func FuzzLoad(f *testing.F) {
	raw, err := os.ReadFile(schemaFile)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(raw)
	f.Add([]byte(`{"properties": {"state": {"type": "object", "properties": {"a": {"type": "array", "items": {"type": "integer"}}, "b": {"oneOf": [{}, true, false]}}}}}`))
	f.Add([]byte(`{"properties": {"state": {"$ref": "#/$defs/a"}}, "$defs": {"a": {"type": "object", "properties": {"a": {"$ref": "#/$defs/a"}}}}}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		s, err := Load(raw)
		if err != nil {
			return
		}
		tree, err := s.Parse([]byte(`{"state": {"a": [{"id": 1}, {"name": "x"}], "b": {"c": 1}, "device": {"d": null}}}`))
		if err != nil {
			t.Fatal(err)
		}
		screen(tree)
		for _, w := range tree.Complete(ToSet, nil, "") {
			tree.Complete(ToSet, []string{w.Text}, "")
			_, _ = tree.Set(w.Text, "1", "2")
			_, _ = tree.Delete(w.Text)
		}
	})
}
