package endpoint

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"unique"
)

// redacted stands wherever a secret would otherwise be printed.
const redacted = "[secret]"

// A Secret is a string that is never printed, logged or marshalled. In a
// document it is written in one of three forms: the string itself, a reference
// to the document's secrets, or a request to keep what is in force; the last
// two are resolved before a configuration is applied.
//
// Where a Secret is a field that is not exported, package fmt prints what is in
// it and asks no method: hence the handle, of which it prints the address.
type Secret struct {
	value unique.Handle[string] // zero: none
	ref   string
	keep  bool
}

// NewSecret returns a Secret of a known value.
func NewSecret(value string) Secret {
	if value == "" {
		return Secret{}
	}
	return Secret{value: unique.Make(value)}
}

// SecretRef returns a Secret that stands for the named one of the document.
func SecretRef(name string) Secret { return Secret{ref: name} }

// KeepSecret returns a Secret that stands for the one in force.
func KeepSecret() Secret { return Secret{keep: true} }

// IsSet tells whether there is a secret, resolved or not.
func (s Secret) IsSet() bool { return s.known() || s.ref != "" || s.keep }

// Ref returns the name of the document's secret that s stands for, if any.
func (s Secret) Ref() string { return s.ref }

// Keep tells whether s stands for the secret in force.
func (s Secret) Keep() bool { return s.keep }

// Reveal returns the value, for the one place that uses it.
func (s Secret) Reveal() string {
	if !s.known() {
		return ""
	}
	return s.value.Value()
}

func (s Secret) known() bool { return s.value != unique.Handle[string]{} }

func (s Secret) String() string                { return s.Redacted() }
func (s Secret) GoString() string              { return s.Redacted() }
func (s Secret) LogValue() slog.Value          { return slog.StringValue(s.Redacted()) }
func (s Secret) Format(f fmt.State, verb rune) { _, _ = f.Write([]byte(s.Redacted())) }

// Redacted returns what may be shown: whether there is a secret.
func (s Secret) Redacted() string {
	if !s.IsSet() {
		return ""
	}
	return redacted
}

// MarshalJSON returns {"set": true}, or null where there is no secret.
func (s Secret) MarshalJSON() ([]byte, error) {
	if !s.IsSet() {
		return []byte("null"), nil
	}
	return []byte(`{"set":true}`), nil
}

// IsZero leaves an absent secret out of a document ("omitzero").
func (s Secret) IsZero() bool { return !s.IsSet() }

var _ json.Marshaler = Secret{}
