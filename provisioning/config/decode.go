package config

import (
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"sluice/relay/endpoint"
)

// A decoder makes typed values of nodes, as the tags of their fields say. It
// goes on after a fault, so that all of them are found: a value with a fault
// is left as it is where it still can help to check others, and zero if not.
// Lists keep their order, so that pointers into the values and into the
// document are the same.
type decoder struct {
	fields *fieldsOf
	faults *faultList
}

// A mode is the value that a selecting field has: mode caller, protocol SRT.
// Its value is empty while it is not known.
type mode struct{ field, value string }

func (m mode) String() string { return m.field + " " + m.value }

// object fills the struct v.
func (d *decoder) object(n *node, at string, v reflect.Value, in mode) {
	fields := d.fields.of(v.Type())
	for i := range fields {
		if f := &fields[i]; f.selects {
			in = mode{f.name, ""}
			if m := n.get(f.name); m != nil && m.kind == stringKind && slices.Contains(f.enum, m.text) {
				in.value = f.canonical(m.text)
			}
		}
	}
	seen := make(map[string]bool, len(n.members))
	for _, m := range n.members {
		place := at + "/" + escape(m.name)
		i := slices.IndexFunc(fields, func(f field) bool { return f.name == m.name })
		switch {
		case i < 0:
			d.unknown(at, m.name, fields, in)
			continue
		case seen[m.name]:
			d.faults.addf(place, "%s stands twice: keep one", m.name)
			continue
		}
		seen[m.name] = true
		f := &fields[i]
		switch {
		case f.readonly:
			d.value(m.value, place, reflect.New(f.typ).Elem(), f, in)
		case in.value != "" && !f.belongs(in.value):
			d.faults.addf(place, "%s belongs to %s %s, and this is %v: remove it", f.name, in.field, join(f.only, "and"), in)
		default:
			d.value(m.value, place, v.Field(f.index), f, in)
		}
	}
	for i := range fields {
		f := &fields[i]
		switch {
		case seen[f.name]:
		case f.needed(in.value):
			why := ""
			if !slices.Contains(f.required, always) {
				why = fmt.Sprintf(" for %v", in)
			}
			d.faults.addf(at+"/"+escape(f.name), "%s is missing: give %s%s", f.name, d.describe(f, f.typ), why)
		case f.preset != "" && f.belongs(in.value):
			setPreset(v.Field(f.index), f.preset)
		}
	}
}

// setPreset sets a field to its default. Defaults are checked by a test.
func setPreset(v reflect.Value, preset string) {
	switch v.Kind() {
	case reflect.String:
		v.SetString(preset)
	case reflect.Bool:
		v.SetBool(preset == "true")
	case reflect.Int:
		n, _ := strconv.ParseInt(preset, 10, 64)
		v.SetInt(n)
	}
}

// unknown reports a name that no field has.
func (d *decoder) unknown(at, name string, fields []field, in mode) {
	if d.faults.full() {
		d.faults.total++ // advice is not cheap, and this one is not shown
		return
	}
	var names []string
	for i := range fields {
		if f := &fields[i]; in.value == "" || f.belongs(in.value) {
			names = append(names, f.name)
		}
	}
	advice := "remove it"
	if near := nearest(name, names); near != "" {
		advice = fmt.Sprintf("did you mean %s?", near)
	}
	place := at + "/" + escape(name)
	if len(name) > 64 {
		place = at // an answer need not carry it
	}
	fault := endpoint.Faultf(place, "%s is not a field here: %s", quote(name), advice)
	fault.Code = codeOf(at + "/")
	d.faults.add(fault)
}

// value fills v, which belongs to field f, or is an item of it.
func (d *decoder) value(n *node, at string, v reflect.Value, f *field, in mode) {
	if n.kind == nullKind {
		leave := ", or leave it out"
		if f.needed(in.value) {
			leave = ""
		}
		d.faults.addf(at, "%s is null: give %s%s", f.name, d.describe(f, v.Type()), leave)
		return
	}
	switch to := v.Addr().Interface().(type) {
	case *endpoint.Secret:
		d.secret(n, at, to, f)
		return
	case *endpoint.AllowList:
		d.allow(n, at, to, f)
		return
	case *time.Time:
		d.time(n, at, to, f)
		return
	case textual:
		d.text(n, at, to, f)
		return
	}
	if v.Kind() == reflect.Pointer {
		if v.Type().Elem().Kind() == reflect.Struct && !isText(v.Type().Elem()) && n.kind != objectKind {
			d.wrong(n, at, f, v.Type())
			return
		}
		v.Set(reflect.New(v.Type().Elem()))
		d.value(n, at, v.Elem(), f, in)
		return
	}
	want := map[reflect.Kind]kind{
		reflect.String: stringKind, reflect.Bool: boolKind, reflect.Int: numberKind, reflect.Uint64: numberKind,
		reflect.Struct: objectKind, reflect.Slice: listKind, reflect.Map: objectKind,
	}[v.Kind()]
	if n.kind != want {
		d.wrong(n, at, f, v.Type())
		return
	}
	switch v.Kind() {
	case reflect.String:
		d.str(n, at, v, f)
	case reflect.Bool:
		v.SetBool(n.text == "true")
	case reflect.Int, reflect.Uint64:
		d.number(n, at, v, f)
	case reflect.Struct:
		d.object(n, at, v, in)
	case reflect.Slice:
		d.list(n, at, v, f, in)
	case reflect.Map:
		d.table(n, at, v, f, in)
	}
}

// wrong reports a value of another kind. The value is not quoted.
func (d *decoder) wrong(n *node, at string, f *field, t reflect.Type) {
	d.faults.addf(at, "%s is %v: give %s", f.name, n.kind, d.describe(f, t))
}

func (d *decoder) str(n *node, at string, v reflect.Value, f *field) {
	s := n.text
	v.SetString(f.canonical(s))
	switch {
	case len(f.enum) > 0 && !slices.Contains(f.enum, s):
		d.faults.addf(at, "%s is %s: use %s", f.name, quote(s), join(f.enum, "or"))
	case f.length != nil && !f.length.holds(int64(utf8.RuneCountInString(s))):
		d.faults.addf(at, "%s", wrongLength(f, s))
	case f.pattern != "":
		p := d.fields.forms[f.pattern]
		switch {
		case p.compiled.MatchString(s):
		case f.name == "stream_key": // a public one here, but secret where the mode is another
			d.faults.addf(at, "%s will not do: use %s", f.name, p.words)
		default:
			d.faults.addf(at, "%s is %s: use %s", f.name, quote(s), p.words)
		}
	}
}

// wrongLength says how long a string is, and never what it is.
func wrongLength(f *field, s string) string {
	if s == "" {
		return fmt.Sprintf("%s is empty: use %v characters", f.name, f.length)
	}
	return fmt.Sprintf("%s has %s: use %v", f.name, count(utf8.RuneCountInString(s), "character"), f.length)
}

// number takes whole numbers that are written as such: 1.0 and 1e3 may have
// been something else before a program wrote them.
func (d *decoder) number(n *node, at string, v reflect.Value, f *field) {
	whole := !strings.ContainsAny(n.text, ".eE")
	i, err := strconv.ParseInt(n.text, 10, 64)
	switch {
	case !whole:
		d.faults.addf(at, "%s is %s: give %s", f.name, clip(n.text), d.describe(f, v.Type()))
		return
	case len(f.enum) > 0 && (err != nil || !slices.Contains(f.enum, strconv.FormatInt(i, 10))):
		d.faults.addf(at, "%s is %s: use %s", f.name, clip(n.text), join(f.enum, "or"))
		return
	case err != nil || !f.bounds.holds(i):
		d.faults.addf(at, "%s is %s: use %v", f.name, clip(n.text), f.bounds)
		return
	}
	if v.Kind() == reflect.Int {
		v.SetInt(i)
	} else {
		v.SetUint(uint64(i))
	}
}

func (d *decoder) list(n *node, at string, v reflect.Value, f *field, in mode) {
	d.count(len(n.items), at, f)
	if len(n.items) == 0 {
		return // an empty list and none are the same
	}
	items := n.items
	if f.items != nil {
		// Far more than allowed is noise, and typed it would take much memory.
		items = items[:min(int64(len(items)), 2*f.items.max)]
	}
	v.Set(reflect.MakeSlice(v.Type(), len(items), len(items)))
	item := *f
	item.name = singular(f.name)
	for i, it := range items {
		d.value(it, at+"/"+strconv.Itoa(i), v.Index(i), &item, in)
	}
}

// count reports a list that is too short or too long.
func (d *decoder) count(n int, at string, f *field) {
	if f.items.holds(int64(n)) || f.items == nil {
		return
	}
	if int64(n) > f.items.max {
		d.faults.add(endpoint.Fault{
			Pointer: at, Code: endpoint.CodeQuantity,
			Message: fmt.Sprintf("%s has %s: use at most %d", f.name, count(n, "item"), f.items.max),
		})
		return
	}
	d.faults.addf(at, "%s has %s: use %v", f.name, count(n, "item"), f.items)
}

// table fills a map of strings or secrets.
func (d *decoder) table(n *node, at string, v reflect.Value, f *field, in mode) {
	if len(n.members) == 0 {
		return
	}
	v.Set(reflect.MakeMap(v.Type()))
	keys := d.fields.forms[f.keys]
	for _, m := range n.members {
		place := at + "/" + escape(m.name)
		key := reflect.ValueOf(m.name)
		if v.MapIndex(key).IsValid() {
			d.faults.addf(place, "%s stands twice: keep one", m.name)
			continue
		}
		if !keys.compiled.MatchString(m.name) {
			if len(m.name) > 64 {
				place = at
			}
			d.faults.addf(place, "%s is no name for one of the %s: use %s", quote(m.name), f.name, keys.words)
		}
		value := reflect.New(v.Type().Elem()).Elem()
		item := *f
		item.name = clip(m.name)
		d.value(m.value, place, value, &item, in)
		v.SetMapIndex(key, value)
	}
}
