package provisioning

import (
	"encoding/json"
	"maps"
	"reflect"
	"slices"
	"strconv"

	"sluice/provisioning/config"
)

// maxChanges is how many changes of an edit are told.
const maxChanges = 20

// changes lists where two documents differ, without what is there: a name for
// each field, with the ids of items in the place of their positions.
func changes(before, after *config.Document) []string {
	changed := []string{}
	differ("", stateOf(before), stateOf(after), &changed)
	return changed
}

// stateOf is what a document says, secrets and all: it must not leave here.
func stateOf(d *config.Document) any {
	var v struct {
		State any `json:"state"`
	}
	if text, err := d.Stored(); err != nil || json.Unmarshal(text, &v) != nil {
		return nil
	}
	return v.State
}

func differ(at string, a, b any, changed *[]string) {
	if len(*changed) >= maxChanges || reflect.DeepEqual(a, b) {
		return
	}
	was, is := members(a), members(b)
	if was == nil || is == nil {
		*changed = append(*changed, at)
		return
	}
	names := maps.Clone(was)
	maps.Copy(names, is)
	before := len(*changed)
	for _, name := range slices.Sorted(maps.Keys(names)) {
		differ(at+"/"+name, was[name], is[name], changed)
	}
	if len(*changed) == before && before < maxChanges {
		*changed = append(*changed, at) // only the order of items changed
	}
}

// members are those of an object, or the items of a list by their ids; nil of
// anything else.
func members(v any) map[string]any {
	switch v := v.(type) {
	case map[string]any:
		return v
	case []any:
		m := make(map[string]any, len(v))
		for i, item := range v {
			name := strconv.Itoa(i)
			fields, _ := item.(map[string]any)
			for _, key := range []string{"id", "name"} {
				if id, ok := fields[key].(string); ok {
					name = id
					break
				}
			}
			m[name] = item
		}
		return m
	}
	return nil
}
