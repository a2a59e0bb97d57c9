package config

import (
	"os"
	"path/filepath"
	"testing"
)

// good returns the documents that have no fault.
func good(t testing.TB) map[string][]byte {
	t.Helper()
	files, err := filepath.Glob("testdata/good/*.json")
	if err != nil || len(files) == 0 {
		t.Fatalf("no good documents: %v", err)
	}
	docs := map[string][]byte{}
	for _, f := range files {
		raw, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		docs[filepath.Base(f)] = raw
	}
	return docs
}

func parse(t testing.TB, raw []byte, o Options) *Document {
	t.Helper()
	doc, err := Parse(raw, o)
	if err != nil {
		t.Fatal(err)
	}
	return doc
}

func TestContractExample(t *testing.T) {
	doc := parse(t, good(t)["contract.json"], Options{})
	in := doc.State.Flows[0].Inputs[0]
	if got := in.SRT.Passphrase.Reveal(); got != "correct horse" {
		t.Errorf("the passphrase of enc-a is %q", got)
	}
}
