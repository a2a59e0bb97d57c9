package edit

import (
	"fmt"
	"slices"
	"strings"
)

// Delete takes out what is at a path: a field, an item, or one value of a list
// of scalars. The error is an *Error.
func (t *Tree) Delete(path ...string) ([]string, error) {
	if len(path) == 0 {
		return nil, &Error{0, "say what: a path, such as flows stage outputs wall"}
	}
	up, full, err := t.find(path[:len(path)-1])
	if err != nil {
		return nil, err
	}
	last := len(path) - 1
	if kindOf(t.schema, up.node) == List {
		words := listed(up.value)
		i := slices.Index(words, path[last])
		if i < 0 {
			return nil, &Error{last, unknown("value", path[last], words, nil)}
		}
		var rest []any
		for j, w := range words {
			if j != i {
				rest = append(rest, w)
			}
		}
		full = append(full, path[last])
		t.replace(full[:last], rest)
		return full, nil
	}
	c, err := t.step(up, path[last], last)
	if err != nil {
		return nil, err
	}
	full = append(full, c.name)
	if m, ok := up.value.(map[string]any); !ok && kindOf(t.schema, up.node) == Fields {
		return nil, &Error{last, "there is no " + strings.Join(full, " ")}
	} else if _, there := m[c.name]; ok && !there {
		return nil, &Error{last, fmt.Sprintf("%s is not set", c.name)}
	}
	if last >= 2 && kindOf(t.schema, up.node) == Fields && c.name == key(up.node) && t.isItem(full[:last]) {
		return nil, &Error{last, fmt.Sprintf("%s is what it is called by: delete %s instead", c.name, strings.Join(full[:last], " "))}
	}
	t.replace(full, nil)
	if m, ok := up.value.(map[string]any); ok && slices.Equal(full, brokerURL) {
		delete(m, "password") // or the next broker would be sent it
	}
	return full, nil
}

// isItem tells whether a path leads to an item of a list.
func (t *Tree) isItem(path []string) bool {
	up, _, err := t.find(path[:len(path)-1])
	return err == nil && kindOf(t.schema, up.node) == Items
}

// replace puts v at a path of full words that is there, or takes it out where
// v is empty. A list or map that is empty then goes with it.
func (t *Tree) replace(path []string, v any) {
	up, _, err := t.find(path[:len(path)-1])
	if err != nil {
		return // the caller has been there
	}
	last := path[len(path)-1]
	list, isList := v.([]any)
	gone := v == nil || isList && len(list) == 0
	switch of := up.value.(type) {
	case map[string]any:
		if !gone {
			of[last] = v
			return
		}
		delete(of, last)
		if len(of) == 0 && kindOf(t.schema, up.node) == Entries {
			t.replace(path[:len(path)-1], nil)
		}
	case []any:
		i := slices.Index(itemNames(t.schema.resolve(up.node.list().Items), of), last)
		if i >= 0 {
			t.replace(path[:len(path)-1], slices.Delete(slices.Clone(of), i, i+1))
		}
	}
}
