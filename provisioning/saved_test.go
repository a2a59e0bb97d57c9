package provisioning

import (
	"fmt"
	"testing"
	"testing/synctest"

	"sluice/provisioning/mqtt"
)

// What was in force before can be read, as far as it is stored; secrets cannot.
func TestSavedConfigurations(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := startBox(t, "", func(o *Options) {
			o.Broker, o.StateDir = nil, "/state"
			o.Dial = func(string) mqtt.DialFunc { return nil }
		})
		if _, ok := b.Document("saved-0"); !ok {
			t.Error("a box from the factory has no configuration")
		}
		for n := range 3 {
			edit := fmt.Sprintf(`{"schema":"sluice.config/v1","state":{"device":{"hostname":"van-%d"}}}`, n)
			if status, answer := b.edit(edit); status != 200 {
				t.Fatalf("%d %s", status, answer)
			}
		}
		for name, want := range map[string]string{"saved": "van-2", "saved-0": "van-2", "saved-1": "van-1", "saved-2": "van-0"} {
			body, ok := b.Document(name)
			if got := field(t, string(body), "state", "device", "hostname"); !ok || got != want {
				t.Errorf("%s is %v, want %s", name, got, want)
			}
		}
		for _, name := range []string{"saved-3", "saved--1", "saved-", "saved-x", "saved-99999999999"} {
			if body, ok := b.Document(name); ok {
				t.Errorf("there is %s: %s", name, body)
			}
		}
	})
}
