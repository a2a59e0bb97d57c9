package edit

import (
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// A Change is what Set did.
type Change struct {
	Path []string // in full, without the value
	// Secret tells that nothing was changed: the value is one that is asked
	// for, out of sight, and then given to SetSecret.
	Secret bool
	// Removed are the paths of what belonged to the mode before.
	Removed [][]string
	// Note says why, where it is another reason: a sentence, or "".
	Note string
}

// Set puts values at a path: `uplinks wan0 gateway4 192.0.2.1`. An item of a
// list that is not there is made; so is an object where no value follows. The
// error is an *Error.
func (t *Tree) Set(words ...string) (Change, error) {
	return t.set(words, nil)
}

// SetSecret puts a secret that was asked for at a path. No error holds it.
func (t *Tree) SetSecret(path []string, value string) error {
	_, err := t.set(path, &value)
	return err
}

func (t *Tree) set(words []string, secret *string) (Change, error) {
	if err := sizes(words); err != nil {
		return Change{}, err
	}
	if len(words) == 0 {
		return Change{}, &Error{0, "say what: a path and its value, such as device hostname ob-van-3"}
	}
	next := t.Clone()
	s := setter{tree: next, words: words, secret: secret}
	state, err := s.put(t.schema.state, "the configuration", next.state, 0)
	if err != nil {
		return Change{}, err
	}
	change := Change{Path: s.path, Removed: s.removed, Note: s.note}
	if s.asks && secret == nil {
		change.Secret = true
		return change, nil
	}
	if secret != nil && !s.asks {
		return Change{}, &Error{len(words), strings.Join(words, " ") + " is not a secret"}
	}
	next.state, _ = state.(map[string]any)
	if _, err := next.Document(); err != nil {
		return Change{}, &Error{len(words), err.Error()}
	}
	t.state, t.secrets = next.state, next.secrets
	return change, nil
}

// A setter puts one line's values into a tree that is thrown away if it fails.
type setter struct {
	tree    *Tree
	words   []string
	secret  *string
	asks    bool // the path leads to a secret
	path    []string
	removed [][]string
	note    string
}

func (s *setter) fail(word int, format string, args ...any) (any, error) {
	return nil, &Error{word, fmt.Sprintf(format, args...)}
}

// put returns v, which is called name, with the words from at put into it.
func (s *setter) put(n *node, name string, v any, at int) (any, error) {
	words := s.words[at:]
	if n.ReadOnly {
		return s.fail(at-1, "%s is only reported: it cannot be set", name)
	}
	switch kindOf(s.tree.schema, n) {
	case Fields:
		return s.object(n, name, v, at, "")
	case Items:
		return s.item(n, name, v, at)
	case Entries:
		return s.entry(n, name, v, at)
	case List:
		return s.list(n, name, at)
	case Secret:
		return s.secretValue(n, name, at)
	case Scalar:
		switch len(words) {
		case 0:
			return s.fail(at, "%s needs a value%s", name, use(n))
		case 1:
		default:
			if n.Type == "string" && len(n.Enum) == 0 {
				return s.fail(at+1, "%s takes one value: use quotes, %s", name, quote(strings.Join(words, " ")))
			}
			return s.fail(at+1, "%s takes one value", name)
		}
		value, err := s.read(n, name, words[0])
		if err != nil {
			return s.fail(at, "%s", err)
		}
		return value, nil
	}
	if len(s.path) > 0 { // its form depends on a field that is not set
		return s.fail(at-1, "%s cannot be set yet: set the protocol or mode of its object first", name)
	}
	return s.fail(at-1, "%s cannot be set at the console", name)
}

// read makes a value of one word, for the path that was gone.
func (s *setter) read(n *node, name, word string) (any, error) {
	value, err := read(n, name, word)
	if err == nil {
		err = atOnce(s.path, word)
	}
	return value, err
}

// use says what a scalar takes, where that is short.
func use(n *node) string {
	if t := n.takes(); t != "" {
		return ": use " + t
	}
	return ""
}

// object sets a field of an object. name of the item is in field called key.
func (s *setter) object(n *node, name string, v any, at int, key string) (any, error) {
	m, ok := v.(map[string]any)
	if v == nil {
		m, ok = map[string]any{}, true
	}
	if !ok {
		return s.fail(at-1, "%s is not what it should be: delete it first", name)
	}
	if at == len(s.words) {
		return m, nil
	}
	word := s.words[at]
	fields := s.tree.schema.fields(n, m)
	var names []string
	for _, f := range fields {
		names = append(names, f.name)
	}
	found, several := choose(word, names)
	if found == "" {
		if n.Properties.get(word) != nil {
			return s.fail(at, "%s", n.elsewhere(word, m))
		}
		return s.fail(at, "%s", unknown("field", word, names, several))
	}
	f := fields[slices.IndexFunc(fields, func(f field) bool { return f.name == found })]
	s.path = append(s.path, found)
	if found == key {
		if at+2 == len(s.words) && s.words[at+1] == m[key] {
			return m, nil
		}
		return s.fail(at+1, "%s is what the %s is called by: make another one, and delete this", found, name)
	}
	value, err := s.put(f.node, found, m[found], at+1)
	if err != nil {
		return nil, err
	}
	if _, set := m["password"]; set && slices.Equal(s.path, brokerURL) && m[found] != nil && !SameHost(plain(m[found]), plain(value)) {
		delete(m, "password") // it is for no other broker
		s.removed = append(s.removed, []string{"device", "management", "broker", "password"})
		s.note = "Give the password anew: it was set for another broker."
	}
	m[found] = value
	if slices.Contains(n.selectors(), found) {
		s.prune(n, m, s.path[:len(s.path)-1])
	}
	return m, nil
}

// SameHost tells whether two URLs name one host.
func SameHost(a, b string) bool {
	u, err := url.Parse(a)
	v, err2 := url.Parse(b)
	return err == nil && err2 == nil && strings.EqualFold(u.Hostname(), v.Hostname())
}

// item goes into an item of a list, which is made if it is not there.
func (s *setter) item(n *node, name string, v any, at int) (any, error) {
	l, ok := v.([]any)
	if v != nil && !ok {
		return s.fail(at-1, "%s is not a list: delete it first", name)
	}
	item := s.tree.schema.resolve(n.list().Items)
	k := key(item)
	if at == len(s.words) {
		if k == "" {
			return s.fail(at, "say which of %s: 1, 2 ...", name)
		}
		return s.fail(at, "say which of %s: its %s", name, k)
	}
	word := s.words[at]
	s.path = append(s.path, word)
	if i := slices.Index(itemNames(item, l), word); i >= 0 {
		below, err := s.object(item, singular(name), l[i], at+1, k)
		if err != nil {
			return nil, err
		}
		l[i] = below
		return l, nil
	}
	if most := n.list().MaxItems; most != nil && int64(len(l)) >= *most {
		if k == "" {
			return s.fail(at, "there is no %s %s: there can be %d, called 1 to %d", singular(name), quote(word), *most, *most)
		}
		return s.fail(at, "%s has %d already: that is as many as there can be", name, len(l))
	}
	made := map[string]any{}
	if k == "" {
		if word != strconv.Itoa(len(l)+1) {
			return s.fail(at, "there is no %s %s: the next is %d", singular(name), quote(word), len(l)+1)
		}
	} else {
		value, err := read(s.tree.schema.resolve(item.Properties.get(k)), k, word)
		if err != nil {
			return s.fail(at, "%s", err)
		}
		made[k] = value
	}
	below, err := s.object(item, singular(name), made, at+1, k)
	if err != nil {
		return nil, err
	}
	return append(l, below), nil
}

// entry sets a value of a map by its name.
func (s *setter) entry(n *node, name string, v any, at int) (any, error) {
	m, ok := v.(map[string]any)
	if v == nil {
		m, ok = map[string]any{}, true
	}
	switch {
	case !ok:
		return s.fail(at-1, "%s is not what it should be: delete it first", name)
	case at == len(s.words):
		return s.fail(at, "say which of %s: its name, then its value", name)
	}
	word := s.words[at]
	if n.Names != nil {
		if err := text(n.Names, singular(name), word, quote(word)); err != nil {
			return s.fail(at, "%s", err)
		}
	}
	s.path = append(s.path, word)
	below, err := s.put(s.tree.schema.resolve(n.Additional), word, m[word], at+1)
	if err != nil {
		return nil, err
	}
	m[word] = below
	return m, nil
}

// list sets all words of a list of scalars.
func (s *setter) list(n *node, name string, at int) (any, error) {
	words := split(s.words[at:])
	list := n.list()
	if len(words) == 0 {
		return s.fail(at, "%s needs values, with a space between them", name)
	}
	if count := int64(len(words)); !holds(list.MinItems, list.MaxItems, count) {
		return s.fail(at, "%s has %d values: use %s", name, count, span(list.MinItems, list.MaxItems))
	}
	item := s.tree.schema.resolve(list.Items)
	out := make([]any, 0, len(words))
	for i, w := range words {
		value, err := s.read(item, name, w)
		if err != nil {
			return s.fail(min(at+i, len(s.words)-1), "%s", err)
		}
		out = append(out, value)
	}
	return out, nil
}

// secretValue puts the secret that was asked for.
func (s *setter) secretValue(n *node, name string, at int) (any, error) {
	s.asks = true
	if at < len(s.words) {
		return s.fail(at, "%s is a secret, and is not typed in a line: end the line after %s, and it is asked for", name, name)
	}
	if s.secret == nil {
		return nil, nil
	}
	if !utf8.ValidString(*s.secret) {
		return s.fail(at-1, "%s is not a text that can be read", name)
	}
	if err := text(secretText(n), name, *s.secret, "not of the form it needs"); err != nil {
		return s.fail(at-1, "%s", err)
	}
	free := 1
	for s.tree.secrets[ownSecret+strconv.Itoa(free)] != nil {
		free++
	}
	called := ownSecret + strconv.Itoa(free)
	s.tree.secrets[called] = *s.secret
	return map[string]any{"secret": called}, nil
}

// prune takes out what does not belong to an object in the mode that it has
// now.
func (s *setter) prune(n *node, m map[string]any, path []string) {
	fields := s.tree.schema.fields(n, m)
	for _, name := range slices.Sorted(maps.Keys(m)) {
		i := slices.IndexFunc(fields, func(f field) bool { return f.name == name })
		here := append(slices.Clone(path), name)
		if i < 0 {
			delete(m, name)
			s.removed = append(s.removed, here)
			continue
		}
		if below, ok := m[name].(map[string]any); ok && kindOf(s.tree.schema, fields[i].node) == Fields {
			s.prune(fields[i].node, below, here)
		}
	}
}
