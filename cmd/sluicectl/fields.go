package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"sluice/provisioning/config"
	"sluice/relay"
	"sluice/relay/endpoint"
)

// Documents are edited as plain JSON, so that nothing gets lost on the way;
// the Go types only tell which fields there are.

// An object is a JSON object.
type object = map[string]any

// decode reads one JSON object, with its numbers as they are written.
func decode(body []byte) (object, error) {
	d := json.NewDecoder(bytes.NewReader(body))
	d.UseNumber()
	var o object
	if err := d.Decode(&o); err != nil {
		return nil, fmt.Errorf("this is not JSON, or no object: %w", err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("this is not JSON: more follows after the object")
	}
	return o, nil
}

var secretType = reflect.TypeFor[endpoint.Secret]()

// jsonName returns the name of a struct field in a document, empty if it has none.
func jsonName(f reflect.StructField) string {
	name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
	if name == "-" {
		return ""
	}
	return name
}

// fieldsOf returns the names of the fields of t and their types; nil if t is
// no object.
func fieldsOf(t reflect.Type) map[string]reflect.Type {
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if t.Kind() != reflect.Struct || t == secretType {
		return nil
	}
	fields := make(map[string]reflect.Type)
	for f := range t.Fields() {
		if name := jsonName(f); name != "" {
			fields[name] = f.Type
		}
	}
	return fields
}

// elem strips pointers.
func elem(t reflect.Type) reflect.Type {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	return t
}

// setField sets the field at a dotted path of an output, such as
// srt.latency_ms or rtp.destinations.0.port. null removes it.
func setField(output object, path, text string) error {
	steps := strings.Split(path, ".")
	if t, err := typeAt(steps); err != nil {
		return err
	} else if t == secretType && text != "null" {
		return usagef("%s is a secret: give it in a file or at a prompt, see --help", path)
	} else {
		return put(output, steps, value(t, text))
	}
}

// typeAt returns the type of the field of an output that the steps lead to.
func typeAt(steps []string) (reflect.Type, error) {
	t := reflect.TypeFor[relay.Output]()
	for i, step := range steps {
		t = elem(t)
		if t.Kind() == reflect.Slice && t != reflect.TypeFor[endpoint.AllowList]() {
			if _, err := strconv.Atoi(step); err != nil {
				return nil, usagef("%s is a list: say which, such as %s.0", strings.Join(steps[:i], "."), strings.Join(steps[:i], "."))
			}
			t = t.Elem()
			continue
		}
		fields := fieldsOf(t)
		next, ok := fields[step]
		if !ok || step == "id" && i == 0 {
			at := strings.Join(steps[:i], ".")
			if at == "" {
				at = "an output"
			}
			return nil, usagef("there is no field %q in %s: it has %s", step, at, strings.Join(names(fields), ", "))
		}
		t = next
	}
	return elem(t), nil
}

func names(fields map[string]reflect.Type) []string {
	var all []string
	for name := range fields {
		if name != "id" && name != "playback_urls" {
			all = append(all, name)
		}
	}
	slices.Sort(all)
	return all
}

// value reads what stands after the =: text for a field that holds text, and
// JSON for any other, as far as it is JSON.
func value(t reflect.Type, text string) any {
	isText := t.Kind() == reflect.String || t == reflect.TypeFor[endpoint.AllowList]() && !strings.HasPrefix(text, "[")
	if text != "null" && isText {
		return text
	}
	d := json.NewDecoder(strings.NewReader(text))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil || d.More() {
		return text // the box says what it should be
	}
	return v
}

// put sets the value at the end of the steps, making objects and lists on the
// way; nil removes what is there.
func put(in object, steps []string, v any) error {
	step, rest := steps[0], steps[1:]
	if len(rest) == 0 {
		if v == nil {
			delete(in, step)
		} else {
			in[step] = v
		}
		return nil
	}
	index, err := strconv.Atoi(rest[0])
	if err != nil {
		next, ok := in[step].(object)
		if !ok {
			next = object{}
			in[step] = next
		}
		return put(next, rest, v)
	}
	list, _ := in[step].([]any)
	if index < 0 || index > len(list) {
		return usagef("%s has %d items: the next one is %s.%d", step, len(list), step, len(list))
	}
	if index == len(list) {
		list = append(list, object{})
	}
	switch {
	case len(rest) == 1 && v == nil:
		list = slices.Delete(list, index, index+1)
	case len(rest) == 1:
		list[index] = v
	default:
		item, ok := list[index].(object)
		if !ok {
			return usagef("%s.%d is not an object", step, index)
		}
		if err := put(item, rest[1:], v); err != nil {
			return err
		}
	}
	in[step] = list
	return nil
}

// redact takes the secrets out of a desired document. Fields that no document
// has are left out: nobody knows what is in them.
func redact(document []byte) json.RawMessage {
	d := json.NewDecoder(bytes.NewReader(document))
	d.UseNumber()
	var v any
	if d.Decode(&v) != nil {
		return json.RawMessage(`{"error": "the desired document on the broker is not JSON, and not shown: it may hold secrets"}`)
	}
	body, err := json.Marshal(redacted(reflect.TypeFor[config.Desired](), v))
	if err != nil {
		return nil
	}
	return body
}

func redacted(t reflect.Type, v any) any {
	t = elem(t)
	if t == secretType {
		return object{"set": true}
	}
	switch v := v.(type) {
	case object:
		fields := fieldsOf(t)
		safe := object{}
		for name, in := range v {
			if t.Kind() == reflect.Map {
				safe[name] = redacted(t.Elem(), in)
			} else if ft, ok := fields[name]; ok {
				safe[name] = redacted(ft, in)
			}
		}
		return safe
	case []any:
		if t.Kind() != reflect.Slice {
			return nil
		}
		safe := make([]any, 0, len(v))
		for _, in := range v {
			safe = append(safe, redacted(t.Elem(), in))
		}
		return safe
	}
	return v
}
