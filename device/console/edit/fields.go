package edit

import (
	"encoding/json"
	"fmt"
	"slices"
)

// A field is one that an object has with the values that it holds now.
type field struct {
	name     string
	node     *node // resolved
	required bool
}

// fields returns the fields of an object in the order of the schema. Those
// that belong to another mode are left out.
func (s *Schema) fields(n *node, values map[string]any) []field {
	var out []field
	for _, p := range n.Properties {
		out = append(out, field{p.name, s.resolve(p.node), slices.Contains(n.Required, p.name)})
	}
	for _, b := range n.AllOf {
		if b.Then == nil || !matches(b.If, values) {
			continue
		}
		for _, p := range b.Then.Properties {
			i := slices.IndexFunc(out, func(f field) bool { return f.name == p.name })
			switch {
			case i < 0:
			case p.node.never:
				out = slices.Delete(out, i, i+1)
			default:
				to := *s.resolve(p.node)
				if p.node.Description == "" {
					to.Description = out[i].node.Description
				}
				out[i].node = &to
			}
		}
		for i := range out {
			out[i].required = out[i].required || slices.Contains(b.Then.Required, out[i].name)
		}
	}
	return out
}

// matches tells whether an object is in the mode of a branch.
func matches(is *node, values map[string]any) bool {
	if is == nil {
		return false
	}
	for _, name := range is.Required {
		if _, ok := values[name]; !ok {
			return false
		}
	}
	for _, p := range is.Properties {
		v, ok := values[p.name]
		if ok && len(p.node.Enum) > 0 && !slices.Contains(texts(p.node.Enum), plain(v)) {
			return false
		}
	}
	return true
}

// selectors returns the names of the fields whose value is an object's mode.
func (n *node) selectors() (names []string) {
	for _, b := range n.AllOf {
		if b.If == nil {
			continue
		}
		for _, name := range b.If.Required {
			if !slices.Contains(names, name) {
				names = append(names, name)
			}
		}
	}
	return names
}

// elsewhere says why an object has not, now, a field that it could have.
func (n *node) elsewhere(name string, values map[string]any) string {
	var selector string
	var modes []string
	for _, b := range n.AllOf {
		if b.If == nil || b.Then == nil || len(b.If.Properties) == 0 {
			continue
		}
		if p := b.Then.Properties.get(name); p == nil || !p.never {
			selector = b.If.Properties[0].name
			modes = append(modes, texts(b.If.Properties[0].node.Enum)...)
		}
	}
	if selector == "" {
		return name + " does not belong here"
	}
	return fmt.Sprintf("%s belongs to %s %s: %s is %s", name, selector, join(modes, "or"), selector, shown(values[selector]))
}

// key returns the name of the field that names the items of a list, or "" where
// they are known by their position.
func key(item *node) string {
	for _, name := range []string{"id", "name"} {
		if item.Properties.get(name) != nil && slices.Contains(item.Required, name) {
			return name
		}
	}
	return ""
}

// facts says in a few words what a field takes, and its default.
func (n *node) facts() string {
	if n.ReadOnly {
		return "only reported"
	}
	takes, preset := n.takes(), n.preset()
	if n.Unit != "" && takes != "" && len(n.Enum) == 0 {
		takes += " " + n.Unit
	}
	if preset != "" && takes != "" {
		takes += ", "
	}
	if preset != "" {
		takes += "default " + preset
	}
	return takes
}

// takes says shortly which values a scalar takes, "" for any.
func (n *node) takes() string {
	switch {
	case len(n.Enum) > 0:
		return join(texts(n.Enum), "or")
	case n.Type == "boolean":
		return "true or false"
	case n.Type == "integer":
		return span(n.Minimum, n.Maximum)
	}
	return ""
}

// preset returns the default as a word, or "".
func (n *node) preset() string {
	if len(n.Default) == 0 {
		return ""
	}
	return texts([]json.RawMessage{n.Default})[0]
}

// texts returns scalars of the schema as words.
func texts(raw []json.RawMessage) []string {
	out := make([]string, len(raw))
	for i, r := range raw {
		out[i] = string(r)
		var s string
		if json.Unmarshal(r, &s) == nil {
			out[i] = s
		}
	}
	return out
}

// span writes bounds as in "use 1 to 64".
func span(lo, hi *int64) string {
	switch {
	case lo != nil && hi != nil && *lo == *hi:
		return fmt.Sprint(*lo)
	case lo != nil && hi != nil:
		return fmt.Sprintf("%d to %d", *lo, *hi)
	case lo != nil:
		return fmt.Sprintf("%d or more", *lo)
	case hi != nil:
		return fmt.Sprintf("%d at most", *hi)
	}
	return ""
}
