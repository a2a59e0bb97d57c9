package config

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
)

// edited returns what somebody sends back who was shown a draft and changed
// nothing.
func edited(t *testing.T, d *Draft) *Draft {
	t.Helper()
	again, err := ParseDraft(d.Redacted(), d)
	if err != nil {
		t.Fatalf("what is shown is refused: %v\n%s", err, d.Redacted())
	}
	return again
}

// A draft of every good document says the same as the document, also when it
// was shown and sent back, and no secret is in what is shown.
func TestDraftKeepsDocuments(t *testing.T) {
	for name, raw := range good(t) {
		o := Options{Local: true, Unseal: func(string) (string, error) { return "planted-unsealed", nil }}
		want, err := Parse(raw, o)
		if err != nil {
			t.Fatalf("%v: %v", name, err)
		}
		secrets := secretsOf(&want.State, newFields())
		direct, err := ParseDraft(raw, nil)
		if err != nil {
			t.Fatalf("%v: %v", name, err)
		}
		stored, err := want.Draft()
		if err != nil {
			t.Fatalf("%v: %v", name, err)
		}
		for how, d := range map[string]*Draft{"direct": direct, "stored": stored, "edited": edited(t, direct), "edited twice": edited(t, edited(t, stored))} {
			got, err := Parse(d.Document(), o)
			if err != nil || !got.SameState(want) {
				t.Errorf("%v, %s: it says something else: %v", name, how, err)
			}
			printed, err := json.Marshal(d)
			if err != nil {
				t.Fatal(err)
			}
			shown := append(printed, d.Redacted()...)
			for _, s := range secrets {
				if value := s.secret.Reveal(); len(value) > 4 && bytes.Contains(shown, []byte(value)) {
					t.Errorf("%v, %s: %s is shown", name, how, s.at)
				}
			}
		}
	}
}

// What may have been meant as a secret is not shown, wherever it stands, and is
// still the fault that it was when it comes back.
func TestDraftHidesStrays(t *testing.T) {
	output := func(s string) string {
		return `{"state":{"flows":[{"id":"f","name":"F","inputs":[{"id":"i","protocol":"RTP","rtp":{"port":5004}}],"outputs":[` + s + `]}]}}`
	}
	for _, raw := range []string{
		output(`{"id":"o","passphrase":"planted"}`),
		output(`{"id":"o","srt":"planted"}`),
		output(`{"id":"o","srt":["planted"]}`),
		output(`{"id":"o","srt":{"passphrase":["planted"]}}`),
		output(`{"id":"o","srt":{"passphrase":{"secret":"planted phrase"}}}`),
		output(`{"id":"o","srt":{"passphrase":{"secret":"a","set":"planted"}}}`),
		output(`{"id":"o","srt":{"passphrase":{"set":"planted"}}}`),
		output(`{"id":"o","srt":{"passphrase":4242424242}}`),
		output(`{"id":"o","srt":{"pasphrase":"planted"}}`),
		output(`{"id":"o","srt":{"latency_ms":"planted"}}`),
		output(`{"id":"o","enabled":"planted"}`),
		output(`{"id":["planted"],"srt":{}}`),
		output(`{"id":{"a":"planted"}}`),
		output(`{"id":"o","protocol":"RTMP_PUSH","rtmp":{"stream_key":"planted"}}`),
		output(`{"id":"o","rtmp":{"stream_key":"planted"}}`),
		output(`{"id":"o","protocol":"RTMP_PUSH","rtmp":{"destinations":[{"url":"rtmp://me:planted@example.com/app"}]}}`),
		output(`{"id":"o","protocol":"RTMP_PUSH","rtmp":{"destinations":[{"url":"rtmp://me:pl/planted@example.com/app"}]}}`),
		output(`{"id":"o","protocol":"RTMP_PUSH","rtmp":{"destinations":["planted"]}}`),
		output(`"planted"`), output(`[["planted"]]`),
		`{"state":{"flows":"planted"}}`, `{"state":{"device":{"management":{"broker":"planted"}}}}`,
		`{"state":{"regions":{"a":{"b":"planted"}}}}`, `{"state":{"uplinks":[{"addresses":{"x":"planted"}}]}}`,
		`{"state":{},"client_token":"planted","version":"planted","planted":1}`,
	} {
		d, err := ParseDraft([]byte(raw), nil)
		if err != nil {
			t.Errorf("%s: %v", raw, err)
			continue
		}
		shown := string(d.Redacted())
		if strings.Contains(shown, "planted") || strings.Contains(shown, "4242") {
			t.Errorf("%s\nis shown as %s", raw, shown)
		}
		if strings.Contains(raw, "client_token") || strings.Contains(raw, "://") {
			continue // it was left out, and what is left has no fault
		}
		for how, d := range map[string]*Draft{"": d, "edited": edited(t, d)} {
			if _, err := Parse(d.Document(), Options{Local: true}); err == nil {
				t.Errorf("%s %s: it has no fault", raw, how)
			}
		}
	}
	// What is public is shown, incomplete as it may be.
	for _, raw := range []string{
		`{"schema":"sluice.config/v1","state":{"flows":[{"id":"f","outputs":[{"id":"o","protocol":"RTMP_PULL","rtmp":{"stream_key":"stage"}}]}]}}`,
		`{"schema":"sluice.config/v1","state":{"flows":[{"outputs":[{"srt":{"mode":"listener","port":"x","stream_id":"#!::r=a&b,m=<p>"},"allow":["10.0.0.0/8"]}]}]}}`,
		`{"schema":"sluice.config/v1","state":{"uplinks":[{"match":null,"default":true,"addresses":["192.0.2.9/24"],"advertise_host":"a.example"}]}}`,
		`{"schema":"sluice.config/v1","state":{"flows":[{"outputs":[{"rtmp":{"destinations":[{"url":"rtmp://a.example/live@x"}]},"allow":"10.0.0.0/8;10.0.0.1","passphrase":null}]}]}}`,
	} {
		d, err := ParseDraft([]byte(raw), nil)
		if want := strings.Replace(raw, `"port":"x"`, `"port":{"set":false}`, 1); err != nil || string(d.Redacted()) != want {
			t.Errorf("%s\nis shown as %s, %v", raw, d.Redacted(), err)
		}
	}
}

func TestDraftSecrets(t *testing.T) {
	raw := `{"state":{"flows":[{"outputs":[
		{"srt":{"passphrase":"planted-a"}},{"srt":{"passphrase":{"secret":"mine"}}},{"srt":{"passphrase":{"set":true}}},{"srt":{"passphrase":""}}]}]},
		"secrets":{"mine":"planted-b","draft-1":"planted-c","draft-2":"planted-d"}}`
	d, err := ParseDraft([]byte(raw), nil)
	if err != nil {
		t.Fatal(err)
	}
	if got := slices.Sorted(maps.Keys(d.secrets)); fmt.Sprint(got) != "[draft-1 draft-2 draft-4 mine]" || d.secrets["draft-4"] != "planted-a" {
		t.Errorf("secrets %v", got)
	}
	want := `{"schema":"sluice.config/v1","state":{"flows":[{"outputs":[` +
		`{"srt":{"passphrase":{"secret":"draft-4"}}},{"srt":{"passphrase":{"secret":"mine"}}},{"srt":{"passphrase":{"set":true}}},{"srt":{"passphrase":""}}]}]},` +
		`"secrets":{"draft-1":{"set":true},"draft-2":{"set":true},"draft-4":{"set":true},"mine":{"set":true}}}`
	if got := string(d.Redacted()); got != want {
		t.Errorf("shown as %s", got)
	}
	// One is replaced, one kept, the others are left out.
	after, err := ParseDraft([]byte(`{"state":{},"secrets":{"mine":"planted-e","draft-4":{"set":true}}}`), d)
	if err != nil || len(after.secrets) != 2 || after.secrets["mine"] != "planted-e" || after.secrets["draft-4"] != "planted-a" {
		t.Errorf("%v, %v", slices.Sorted(maps.Keys(after.secrets)), err)
	}
	doc := string(after.Document())
	if want := `{"schema":"sluice.config/v1","state":{},"secrets":{"draft-4":"planted-a","mine":"planted-e"}}`; doc != want {
		t.Errorf("document %s", doc)
	}
}

func TestDraftErrors(t *testing.T) {
	for raw, want := range map[string]string{
		``: "ends too early", `{"state":`: "ends too early", `[]`: "send an object", `{"state":{}} x`: "after the end", "{\"a\":\"\xff\"}": "UTF-8",
		`{"schema":"planted"}`: "use sluice.config/v1", `{"schema":7}`: "use sluice.config/v1", `{"state":["planted"]}`: "state is a list", `{"secrets":["planted"]}`: "secrets is a list",
		`{"secrets":{"a":{"set":true}}}`: "the secret a is to be kept", `{"secrets":{"a":["planted"]}}`: "the secret a is a list", `{"secrets":{"planted!":"x"}}`: "a name",
		`{"state":` + strings.Repeat(`{"a":`, 40) + `1` + strings.Repeat(`}`, 41): "deeper",
		`{"state":{}` + strings.Repeat(" ", MaxDocument) + `}`:                    "use at most",
	} {
		if d, err := ParseDraft([]byte(raw), nil); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "planted") {
			t.Errorf("%.60s: %v, %v; want %q", raw, d != nil, err, want)
		}
	}
}

// Whatever is sent as a draft, what is shown of it is JSON that can be sent
// back: it is shown as the same again, and a document of it is the same too.
func FuzzDraft(f *testing.F) {
	for _, raw := range good(f) {
		f.Add(raw)
	}
	for _, bad := range badDocuments() {
		if len(bad.raw) < 4096 {
			f.Add([]byte(bad.raw))
		}
	}
	f.Add([]byte(`{"state":{"flows":[{"outputs":[{"srt":{"passphrase":"planted-a"},"url":"a://b@c"},{"rtmp":"x"}]}]},"secrets":{"draft-1":"x"}}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		d, err := ParseDraft(raw, nil)
		if err != nil {
			return
		}
		shown := d.Redacted()
		if !json.Valid(shown) || !json.Valid(d.Document()) {
			t.Fatalf("not JSON: %s", shown)
		}
		again, err := ParseDraft(shown, d)
		if err != nil {
			if len(shown) > MaxDocument {
				return
			}
			t.Fatalf("refused: %v\n%s", err, shown)
		}
		if twice := again.Redacted(); !bytes.Equal(twice, shown) {
			t.Fatalf("shown as\n%s\nand then as\n%s", shown, twice)
		}
		o := Options{Local: true}
		was, err := Parse(d.Document(), o)
		if err != nil {
			return
		}
		is, err := Parse(again.Document(), o)
		if err != nil || !is.SameState(was) {
			t.Fatalf("what was right is not the same any more: %v\n%s\n%s", err, raw, shown)
		}
	})
}

// What is shown takes nothing from what is kept, and no secret the name of
// another.
func TestDraftStaysWhole(t *testing.T) {
	d, err := ParseDraft([]byte(`{"state":{"flows":[{"planted":"x","outputs":[{"srt":{"passphrase":"a"}}]}]},"secrets":{"draft-2":"b"}}`), nil)
	if err != nil {
		t.Fatal(err)
	}
	before := string(d.Document())
	d.Redacted()
	if after := string(d.Document()); after != before || !strings.Contains(after, `"secrets":{"draft-2":"b","draft-3":"a"}`) {
		t.Errorf("it was\n%s\nand is\n%s", before, after)
	}
}
