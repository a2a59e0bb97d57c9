package config

import (
	"maps"
	"net/url"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"sluice/relay/endpoint"
)

// armorHeader begins a secret that is sealed with age.
const armorHeader = "-----BEGIN AGE ENCRYPTED FILE-----"

// A secretPlace is where a secret stands in a state.
type secretPlace struct {
	at     string // JSON pointer
	item   string // the same by ids instead of positions: what stays when a list changes
	field  *field
	secret *endpoint.Secret
}

// resolveSecrets puts its value into every secret of doc's state, and drops
// the document's own secrets, which nothing refers to any more.
func resolveSecrets(doc *Document, fields *fieldsOf, faults *faultList, o Options) {
	named := unseal(doc.Secrets, faults, o.Unseal)
	doc.Secrets = nil
	var inForce map[string]endpoint.Secret
	for _, p := range secretsOf(&doc.State, fields) {
		switch ref := p.secret.Ref(); {
		case ref != "":
			value, ok := named[ref]
			if !ok {
				if name := fields.forms["secret"]; !name.compiled.MatchString(ref) {
					// It may be the secret itself.
					faults.addf(p.at, "%s refers to a secret by what is no name: use %s", p.field.name, name.words)
				} else if !faults.at["/secrets/"+escape(ref)] {
					faults.add(endpoint.Fault{
						Pointer: p.at, Code: endpoint.CodeNotFound,
						Message: p.field.name + " refers to the secret " + quote(ref) + ", which is not in secrets: add it there",
					})
				}
				continue
			}
			*p.secret = endpoint.NewSecret(value)
			if !p.field.length.holds(int64(len([]rune(value)))) {
				faults.addf(p.at, "%s", wrongLength(p.field, value))
			}
		case p.secret.Keep():
			if inForce == nil {
				inForce = secretsInForce(o.InForce, fields)
			}
			value, ok := inForce[p.item]
			if !ok {
				faults.add(endpoint.Fault{
					Pointer: p.at, Code: endpoint.CodeState,
					Message: p.field.name + " is to be kept, but none is in force here: give it",
				})
				continue
			}
			if p.item == brokerPassword && brokerHost(doc) != brokerHost(o.InForce) {
				faults.add(endpoint.Fault{
					Pointer: p.at, Code: endpoint.CodeState,
					Message: "give the password anew: it was set for another broker",
				})
				continue
			}
			*p.secret = value
		}
	}
}

// brokerPassword is the secret that goes to whoever the document says: who
// names another broker must know it.
const brokerPassword = "/device/management/broker/password"

// brokerHost is the host of the broker that a document names, "" for none.
func brokerHost(d *Document) string {
	m := d.State.Device.Management
	if m == nil || m.Broker == nil {
		return ""
	}
	u, err := url.Parse(m.Broker.URL)
	if err != nil {
		return ""
	}
	return strings.ToLower(u.Hostname())
}

// unseal returns the document's secrets by name, opened. Those that cannot be
// opened are faults and left out.
func unseal(secrets map[string]endpoint.Secret, faults *faultList, open func(string) (string, error)) map[string]string {
	values := make(map[string]string, len(secrets))
	for _, name := range slices.Sorted(maps.Keys(secrets)) {
		at := "/secrets/" + escape(name)
		value := secrets[name].Reveal()
		if faults.at[at] {
			continue
		}
		if strings.HasPrefix(strings.TrimSpace(value), armorHeader) {
			if open == nil {
				faults.addf(at, "the secret is sealed, and this box has no key: send it plain")
				continue
			}
			opened, err := open(value)
			if err != nil {
				faults.addf(at, "the secret cannot be opened with this box's key: seal it to the age recipient in info")
				continue
			}
			// Programs that seal a line of text leave its end in.
			value = strings.TrimSuffix(strings.TrimSuffix(opened, "\n"), "\r")
		}
		values[name] = value
	}
	return values
}

func secretsInForce(doc *Document, fields *fieldsOf) map[string]endpoint.Secret {
	m := map[string]endpoint.Secret{}
	if doc == nil {
		return m
	}
	for _, p := range secretsOf(&doc.State, fields) {
		m[p.item] = *p.secret
	}
	return m
}

// secretsOf finds the secrets that are set in a state.
func secretsOf(s *Settings, fields *fieldsOf) []secretPlace {
	var found []secretPlace
	var walk func(v reflect.Value, at, item string, f *field)
	walk = func(v reflect.Value, at, item string, f *field) {
		if secret, ok := v.Addr().Interface().(*endpoint.Secret); ok {
			if secret.IsSet() {
				found = append(found, secretPlace{at, item, f, secret})
			}
			return
		}
		switch v.Kind() {
		case reflect.Pointer:
			if !v.IsNil() {
				walk(v.Elem(), at, item, f)
			}
		case reflect.Struct:
			if isText(v.Type()) {
				return
			}
			fields := fields.of(v.Type())
			for i := range fields {
				f := &fields[i]
				walk(v.Field(f.index), at+"/"+f.name, item+"/"+f.name, f)
			}
		case reflect.Slice:
			for i := range v.Len() {
				n := strconv.Itoa(i)
				walk(v.Index(i), at+"/"+n, item+"/"+idOf(v.Index(i), n), f)
			}
		}
	}
	walk(reflect.ValueOf(s).Elem(), "/state", "", nil)
	return found
}

// idOf returns the id of a list's item, or its position where it has none.
func idOf(v reflect.Value, position string) string {
	if v.Kind() == reflect.Struct {
		if id := v.FieldByName("ID"); id.IsValid() && id.Kind() == reflect.String {
			return id.String()
		}
	}
	return position
}
