package uplink

import (
	"encoding/json"
	"strings"
	"testing"

	"sluice/test/harness"
)

// The loopback, its address and its routes are everywhere.
func TestDump(t *testing.T) {
	harness.NeedRules(t)
	d := NewDump()
	text := d.String()
	for _, want := range []string{": lo (", "    127.0.0.1/8\n", "table 255: local 127.0.0.1/32", "rule 0: inet "} {
		if !strings.Contains(text, want) {
			t.Errorf("it lacks %q:\n%s", want, text)
		}
	}
	var again Dump
	if b, err := json.Marshal(d); err != nil || json.Unmarshal(b, &again) != nil || again.String() != text {
		t.Errorf("as JSON it says something else: %v", err)
	}
}
