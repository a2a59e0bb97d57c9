package endpoint

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
)

// TestSecretInside prints secrets that are fields which package fmt may not
// call methods of.
func TestSecretInside(t *testing.T) {
	const word = "correct-horse"
	type inner struct{ secret Secret }
	type outer struct {
		inner   inner
		pointer *inner
		list    []Secret
		key     map[string]Secret
	}
	s := NewSecret(word)
	o := outer{inner{s}, &inner{s}, []Secret{s}, map[string]Secret{"a": s}}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%d"} {
		for _, v := range []any{s, &s, o, &o, o.inner, []outer{o}} {
			printed := fmt.Sprintf(verb, v)
			for _, form := range []string{"%s", "%x", "%v", "%d"} {
				if strings.Contains(printed, strings.Trim(fmt.Sprintf(form, []byte(word)), "[]")) {
					t.Errorf("%s of a %T: %s", verb, v, printed)
				}
			}
		}
	}
}

func TestSecretsAreEqual(t *testing.T) {
	word := []byte("correct-horse")
	a, b := NewSecret(string(word)), NewSecret(string(word))
	if a != b || !reflect.DeepEqual(a, b) || a.Reveal() != string(word) || !a.IsSet() {
		t.Error("the same secret is another")
	}
	if c := NewSecret("another"); a == c || reflect.DeepEqual(a, c) {
		t.Error("another secret is the same")
	}
	if none := NewSecret(""); none != (Secret{}) || none.IsSet() || none.Reveal() != "" || SecretRef("x").Reveal() != "" || !SecretRef("x").IsSet() {
		t.Error("no secret is one")
	}
}
