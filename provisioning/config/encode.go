package config

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"

	"sluice/relay/endpoint"
)

// An encoder writes what the decoder read. encoding/json will not do: it may
// not reveal a secret for the store, and its omitzero would leave out a zero
// that differs from the default.
type encoder struct {
	fields *fieldsOf
	reveal bool // write secrets, for the box's own disk
}

// value appends v. mode is that of the object that it is in.
func (e encoder) value(b []byte, v reflect.Value, mode string) ([]byte, error) {
	if s, ok := v.Interface().(endpoint.Secret); ok {
		if e.reveal {
			return appendString(b, s.Reveal()), nil
		}
		return append(b, `{"set":true}`...), nil
	}
	switch v.Kind() {
	case reflect.Pointer:
		return e.value(b, v.Elem(), mode)
	case reflect.Struct:
		if !isText(v.Type()) {
			return e.object(b, v, mode)
		}
	case reflect.Slice:
		return e.list(b, v, mode)
	case reflect.Map:
		return e.table(b, v, mode)
	case reflect.String:
		return appendString(b, v.String()), nil
	}
	text, err := json.Marshal(v.Interface())
	if err != nil {
		return nil, fmt.Errorf("config: %w", err)
	}
	return append(b, text...), nil
}

func (e encoder) object(b []byte, v reflect.Value, mode string) ([]byte, error) {
	fields := e.fields.of(v.Type())
	for i := range fields {
		if f := &fields[i]; f.selects {
			mode = v.Field(f.index).String()
		}
	}
	b = append(b, '{')
	first := true
	for i := range fields {
		f := &fields[i]
		fv := v.Field(f.index)
		// A zero is written where its absence would mean something else.
		matters := f.preset != "" && f.belongs(mode)
		if f.omit && fv.IsZero() && !matters {
			continue
		}
		if !first {
			b = append(b, ',')
		}
		first = false
		b = append(appendString(b, f.name), ':')
		var err error
		if b, err = e.value(b, fv, mode); err != nil {
			return nil, err
		}
	}
	return append(b, '}'), nil
}

func (e encoder) list(b []byte, v reflect.Value, mode string) ([]byte, error) {
	b = append(b, '[')
	for i := range v.Len() {
		if i > 0 {
			b = append(b, ',')
		}
		var err error
		if b, err = e.value(b, v.Index(i), mode); err != nil {
			return nil, err
		}
	}
	return append(b, ']'), nil
}

// table writes a map in the order of its keys.
func (e encoder) table(b []byte, v reflect.Value, mode string) ([]byte, error) {
	values := make(map[string]reflect.Value, v.Len())
	for it := v.MapRange(); it.Next(); {
		values[it.Key().String()] = it.Value()
	}
	b = append(b, '{')
	for i, key := range slices.Sorted(maps.Keys(values)) {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(appendString(b, key), ':')
		var err error
		if b, err = e.value(b, values[key], mode); err != nil {
			return nil, err
		}
	}
	return append(b, '}'), nil
}

// appendString writes a string without HTML escapes: stream ids hold & and <.
func appendString(b []byte, s string) []byte {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(s) // a string can always be written
	return append(b, bytes.TrimRight(buf.Bytes(), "\n")...)
}
