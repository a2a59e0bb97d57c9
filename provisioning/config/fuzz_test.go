package config

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"testing"

	"sluice/relay/endpoint"
)

// planted stands as a secret in every document of the fuzzer that has one.
const planted = "Pl4nted-s3cret"

// FuzzParse: Parse never panics, says nothing of secrets, and reads what it
// has stored as the same.
func FuzzParse(f *testing.F) {
	for _, raw := range good(f) {
		f.Add(raw)
	}
	for _, bad := range badDocuments() {
		if len(bad.raw) < 4096 {
			f.Add([]byte(bad.raw))
		}
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		doc, err := Parse(raw, Options{})
		if err != nil {
			var faults *Faults
			if doc != nil || !errors.As(err, &faults) || len(faults.Errors) == 0 {
				t.Fatalf("Parse gives %v and a document %t", err, doc != nil)
			}
			if _, err := json.Marshal(faults.Errors); err != nil {
				t.Fatal(err)
			}
			return
		}
		stored, err := doc.Stored()
		if err != nil {
			t.Fatal(err)
		}
		again, err := Parse(stored, Options{Stored: true})
		if err != nil {
			t.Fatalf("what was stored is refused: %v\n%s", err, stored)
		}
		if !reflect.DeepEqual(again.Desired, doc.Desired) {
			t.Fatalf("stored and read again:\n%+v\nwant\n%+v", again.Desired, doc.Desired)
		}
		for _, p := range secretsOf(&doc.State, newFields()) {
			*p.secret = endpoint.NewSecret(planted)
		}
		shown := append(doc.RedactedDesired(), doc.RedactedState(func(string, string) []string { return nil })...)
		if bytes.Contains(shown, []byte(planted)) && !bytes.Contains(raw, []byte(planted)) {
			t.Fatalf("a secret is shown: %s", shown)
		}
	})
}

// FuzzPlanted puts a secret into a document whose other values are the
// fuzzer's, and looks for it in all that comes out.
func FuzzPlanted(f *testing.F) {
	f.Add("listener", 9000, 16, "", "correct")
	f.Add("caller", 70000, 20, "a\x01", "passphrase")
	f.Fuzz(func(t *testing.T, mode string, port, key int, more, field string) {
		if bytes.Contains([]byte(mode+more+field), []byte(planted)) {
			t.Skip("it is not in the places of secrets alone")
		}
		text := func(s string) string { return string(appendString(nil, s)) }
		raw := fmt.Sprintf(`{"schema": "sluice.config/v1", "version": 1, "secrets": {"a": %[1]q, %[5]s: %[1]q}, "state": {"flows": [{"id": "a", "name": "A",
			"inputs": [{"id": "i", "protocol": "SRT", "srt": {"mode": %[2]s, "port": %[3]d, "key_length": %[4]d, "passphrase": %[1]q, %[5]s: 1}}],
			"outputs": [
				{"id": "o", "name": %[6]s, "protocol": "SRT", "srt": {"mode": "listener", "port": 9000, "passphrase": {"secret": "a"}, "stream_id": %[6]s}},
				{"id": "p", "name": "P", "protocol": "RTMP", "rtmp": {"destinations": [{"url": "rtmp://u:%[7]s@x.example.com/a", "stream_key": %[1]q}]}},
				{"id": "q", "name": "Q", "protocol": "SRT", "srt": {"mode": "caller", "passphrase": [%[1]q], "destinations": []}}]}]}}`,
			planted, text(mode), port, key, text(field), text(more), planted)
		doc, err := Parse([]byte(raw), Options{})
		if err == nil {
			t.Fatalf("there are faults, and they are not found: %+v", doc.Desired)
		}
		answer, _ := json.Marshal(err.(*Faults))
		if bytes.Contains(answer, []byte(planted)) || bytes.Contains([]byte(err.Error()), []byte(planted)) {
			t.Fatalf("the secret is shown: %s", answer)
		}
	})
}
