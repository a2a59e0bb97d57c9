package config

import (
	"bytes"
	"encoding/json"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

func compiled(t *testing.T) *jsonschema.Schema {
	t.Helper()
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(JSONSchema()))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("urn:sluice:config:v1", doc); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile("urn:sluice:config:v1")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// accepts tells what the schema says of a document; text that is not JSON is
// not for it to judge.
func accepts(s *jsonschema.Schema, raw []byte) (accepted, judged bool, why error) {
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(raw))
	if err != nil {
		return false, false, err
	}
	err = s.Validate(v)
	return err == nil, true, err
}

func TestSchemaAgrees(t *testing.T) {
	s := compiled(t)
	for name, raw := range good(t) {
		if ok, _, why := accepts(s, raw); !ok {
			t.Errorf("%s: the schema refuses it: %v", name, why)
		}
		stored, err := parse(t, raw, Options{}).Stored()
		if err != nil {
			t.Fatal(err)
		}
		if ok, _, why := accepts(s, stored); !ok {
			t.Errorf("%s as stored: the schema refuses it: %v", name, why)
		}
	}
	for _, bad := range badDocuments() {
		ok, judged, _ := accepts(s, []byte(bad.raw))
		if refuses := judged && !ok; refuses != bad.schema {
			t.Errorf("%s: the schema refuses it: %t, and the table says %t", bad.name, refuses, bad.schema)
		}
	}
}

// TestSchemaImpliesRules changes good documents at random: what the schema
// refuses, Parse must refuse. (The reverse cannot hold: see JSONSchema.)
func TestSchemaImpliesRules(t *testing.T) {
	s := compiled(t)
	r := rand.New(rand.NewPCG(1, 2))
	docs := good(t)
	refused := 0
	for _, name := range slices.Sorted(maps.Keys(docs)) {
		for range 200 {
			var v any
			if err := json.Unmarshal(docs[name], &v); err != nil {
				t.Fatal(err)
			}
			for range 1 + r.IntN(3) {
				v = mutate(r, v)
			}
			raw, err := json.Marshal(v)
			if err != nil {
				t.Fatal(err)
			}
			if ok, judged, why := accepts(s, raw); ok || !judged {
				continue
			} else if _, err := Parse(raw, Options{}); err == nil {
				t.Fatalf("the schema refuses, and Parse does not:\n%s\n%v", raw, why)
			}
			refused++
		}
	}
	if refused < 150 {
		t.Errorf("only %d of the changed documents were refused", refused)
	}
}

// mutate returns v with one value in it changed, added or removed.
func mutate(r *rand.Rand, v any) any {
	switch v := v.(type) {
	case map[string]any:
		keys := slices.Sorted(maps.Keys(v))
		if len(keys) == 0 || r.IntN(12) == 0 {
			v[pick(r, "port", "mode", "url", "extra", "id", "enabled", "tls")] = other(r)
			return v
		}
		k := pick(r, keys...)
		if r.IntN(12) == 0 {
			delete(v, k)
		} else {
			v[k] = mutate(r, v[k])
		}
		return v
	case []any:
		if len(v) == 0 || r.IntN(12) == 0 {
			return append(v, other(r))
		}
		i := r.IntN(len(v))
		if r.IntN(12) == 0 {
			return slices.Delete(v, i, i+1)
		}
		v[i] = mutate(r, v[i])
		return v
	}
	return other(r)
}

func pick[T any](r *rand.Rand, from ...T) T { return from[r.IntN(len(from))] }

func other(r *rand.Rand) any {
	return pick[any](r, nil, true, 0, -1, 16, 20, 4096, 65536, 1.5, 1e3, "", "x", "SRT", "RTMP", "RTP", "RTSP", "caller", "listener",
		"switch", "merge", "serve", "10.0.0.0/8", map[string]any{}, []any{}, []any{"x"}, map[string]any{"set": true}, map[string]any{"secret": "key"})
}

func TestGeneratedDocuments(t *testing.T) {
	for name, want := range map[string][]byte{"config.schema.json": JSONSchema(), "reference.md": Reference()} {
		got, err := os.ReadFile("../../docs/" + name)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want) {
			t.Errorf("docs/%s is not up to date: run go generate ./...", name)
		}
	}
}
