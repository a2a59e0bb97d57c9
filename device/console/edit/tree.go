package edit

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// schemaName is what the document says of its own form.
const schemaName = "sluice.config/v1"

// ownSecret begins the names of secrets that were typed at the console.
const ownSecret = "console-"

// A Tree is a document that is being edited. A change that is refused leaves
// it as it was. It is for one goroutine.
type Tree struct {
	schema  *Schema
	state   map[string]any // JSON, with json.Number
	secrets map[string]any // name -> string, or {"set": true}
}

// Parse reads a document: that in force or the candidate. It need not be
// complete.
func (s *Schema) Parse(document []byte) (*Tree, error) {
	if len(document) > MaxDocument {
		return nil, fmt.Errorf("the document has %d bytes: more than %d are not read", len(document), MaxDocument)
	}
	if err := nesting(document, maxDepth); err != nil {
		return nil, fmt.Errorf("the document cannot be read: %w", err)
	}
	var top struct {
		State   map[string]any `json:"state"`
		Secrets map[string]any `json:"secrets"`
	}
	d := json.NewDecoder(bytes.NewReader(document))
	d.UseNumber()
	if err := d.Decode(&top); err != nil {
		return nil, fmt.Errorf("the document cannot be read: %w", err)
	}
	t := &Tree{schema: s, state: top.State, secrets: top.Secrets}
	if t.state == nil {
		t.state = map[string]any{}
	}
	if t.secrets == nil {
		t.secrets = map[string]any{}
	}
	return t, nil
}

// Document returns the document as candidate-put takes it. Secrets that were
// typed and are in use no longer are left out.
func (t *Tree) Document() ([]byte, error) {
	used := map[string]bool{}
	references(t.state, used)
	secrets := map[string]any{}
	for name, v := range t.secrets {
		if used[name] || !strings.HasPrefix(name, ownSecret) {
			secrets[name] = v
		}
	}
	top := map[string]any{"schema": schemaName, "state": t.state}
	if len(secrets) > 0 {
		top["secrets"] = secrets
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(top); err != nil {
		return nil, errors.New("the document cannot be written") // never what is in it: secrets are
	}
	if b.Len() > MaxDocument {
		return nil, fmt.Errorf("the document has %d bytes: use at most %d", b.Len(), MaxDocument)
	}
	return b.Bytes(), nil
}

// Clone returns a Tree that changes on its own.
func (t *Tree) Clone() *Tree {
	state, _ := copied(t.state).(map[string]any)
	return &Tree{schema: t.schema, state: state, secrets: maps.Clone(t.secrets)}
}

// references collects the names of secrets that a value refers to.
func references(v any, used map[string]bool) {
	switch v := v.(type) {
	case map[string]any:
		if name, ok := v["secret"].(string); ok && len(v) == 1 {
			used[name] = true
			return
		}
		for _, below := range v {
			references(below, used)
		}
	case []any:
		for _, below := range v {
			references(below, used)
		}
	}
}

func copied(v any) any {
	switch v := v.(type) {
	case map[string]any:
		out := make(map[string]any, len(v))
		for name, below := range v {
			out[name] = copied(below)
		}
		return out
	case []any:
		out := make([]any, len(v))
		for i, below := range v {
			out[i] = copied(below)
		}
		return out
	}
	return v
}

// itemNames returns how the items of a list are called: by their key, or by
// their position from 1. A second one of the same name, which is a fault, is
// told from the first by its position.
func itemNames(item *node, list []any) []string {
	k := key(item)
	names := make([]string, len(list))
	taken := make(map[string]bool, len(list))
	for i, v := range list {
		names[i] = fmt.Sprint(i + 1)
		if m, ok := v.(map[string]any); ok && k != "" {
			if name, ok := m[k].(string); ok && name != "" {
				names[i] = name
			}
		}
		for taken[names[i]] {
			names[i] += fmt.Sprintf("#%d", i+1)
		}
		taken[names[i]] = true
	}
	return names
}

// children returns what is below a value, in the order of the schema, each with
// the words that lead to it. Only what is there is returned.
func (s *Schema) children(n *node, v any) []child {
	var out []child
	switch kindOf(s, n) {
	case Fields:
		m, ok := v.(map[string]any)
		if !ok {
			return nil
		}
		known := map[string]bool{}
		for _, f := range s.fields(n, m) {
			if below, ok := m[f.name]; ok {
				out = append(out, child{f.name, f.node, below})
			}
			known[f.name] = true
		}
		for _, name := range slices.Sorted(maps.Keys(m)) {
			if !known[name] {
				out = append(out, child{name, &node{}, m[name]})
			}
		}
	case Entries:
		m, ok := v.(map[string]any)
		if !ok {
			return nil
		}
		for _, name := range slices.Sorted(maps.Keys(m)) {
			out = append(out, child{name, s.resolve(n.Additional), m[name]})
		}
	case Items:
		l, ok := v.([]any)
		if !ok {
			return nil
		}
		item := s.resolve(n.list().Items)
		for i, name := range itemNames(item, l) {
			out = append(out, child{name, item, l[i]})
		}
	}
	return out
}

// A child is one step down from a value.
type child struct {
	name  string
	node  *node
	value any
}

// Find returns the words of a path in full, where it leads to something that
// is there. An empty path is the whole document.
func (t *Tree) Find(path []string) ([]string, error) {
	c, full, err := t.find(path)
	if err == nil && c.value == nil {
		return nil, &Error{len(path), "there is nothing at " + strings.Join(full, " ")}
	}
	return full, err
}

func (t *Tree) find(path []string) (child, []string, error) {
	if err := sizes(path); err != nil {
		return child{}, nil, err
	}
	at := child{"the configuration", t.schema.state, t.state}
	full := make([]string, 0, len(path))
	for i, word := range path {
		below, err := t.step(at, word, i)
		if err != nil {
			return child{}, nil, err
		}
		at = below
		full = append(full, below.name)
	}
	return at, full, nil
}

// step goes one word down, to what is there or to a field that could be.
func (t *Tree) step(at child, word string, i int) (child, error) {
	var names []string
	below := t.schema.children(at.node, at.value)
	for _, c := range below {
		names = append(names, c.name)
	}
	k := kindOf(t.schema, at.node)
	if k != Fields {
		if j := slices.Index(names, word); j >= 0 { // names of items are never shortened
			return below[j], nil
		}
		switch k {
		case Items, Entries:
			return child{}, &Error{i, unknown(singular(at.name), word, names, nil)}
		}
		return child{}, &Error{i, fmt.Sprintf("%s has nothing below it", at.name)}
	}
	m, _ := at.value.(map[string]any)
	fields := t.schema.fields(at.node, m)
	for _, f := range fields {
		if !slices.Contains(names, f.name) {
			names = append(names, f.name)
		}
	}
	name, several := choose(word, names)
	if name == "" {
		if at.node.Properties.get(word) != nil {
			return child{}, &Error{i, at.node.elsewhere(word, m)}
		}
		return child{}, &Error{i, unknown("field", word, names, several)}
	}
	if j := slices.IndexFunc(below, func(c child) bool { return c.name == name }); j >= 0 {
		return below[j], nil
	}
	j := slices.IndexFunc(fields, func(f field) bool { return f.name == name })
	return child{name, fields[j].node, nil}, nil
}

// Names returns the names of the items of a list or of the entries of a map.
func (t *Tree) Names(path ...string) []string {
	c, _, err := t.find(path)
	if err != nil {
		return nil
	}
	var names []string
	for _, b := range t.schema.children(c.node, c.value) {
		names = append(names, b.name)
	}
	return names
}

// Values returns the words that a path holds, or nil: one of a scalar, several
// of a list of scalars. A secret has none.
func (t *Tree) Values(path ...string) []string {
	c, _, err := t.find(path)
	if err != nil {
		return nil
	}
	switch kindOf(t.schema, c.node) {
	case Scalar:
		if c.value != nil {
			return []string{plain(c.value)}
		}
	case List:
		return listed(c.value)
	}
	return nil
}

// listed returns a list of scalars as words. The box also takes a string with
// ; between them.
func listed(v any) []string {
	switch v := v.(type) {
	case string:
		return split([]string{v})
	case []any:
		out := make([]string, len(v))
		for i := range v {
			out[i] = plain(v[i])
		}
		return out
	}
	return nil
}

// split takes words apart at ;.
func split(words []string) (out []string) {
	for _, w := range words {
		for part := range strings.SplitSeq(w, ";") {
			if part = strings.TrimSpace(part); part != "" {
				out = append(out, part)
			}
		}
	}
	return out
}

// sizes refuses lines that no document needs.
func sizes(words []string) error {
	if len(words) > maxWords {
		return &Error{maxWords, fmt.Sprintf("there are %d words: use at most %d", len(words), maxWords)}
	}
	for i, w := range words {
		if len(w) > maxWord {
			return &Error{i, fmt.Sprintf("the word has %d bytes: use at most %d", len(w), maxWord)}
		}
	}
	return nil
}
