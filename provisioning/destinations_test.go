package provisioning

import (
	"encoding/json"
	"testing"
	"testing/synctest"

	"sluice/relay"
	"sluice/relay/endpoint"
)

// An output with two destinations tells the state of each; where there is one
// it is that of the output.
func TestDestinationsInTelemetry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := startBox(t, "", nil)
		fails := relay.DestinationReport{
			Address: "hub.example.com:7000", State: relay.Rejected,
			Reason: endpoint.Because("bad_secret", "the passphrase is wrong"),
		}
		serves := relay.DestinationReport{Address: "192.0.2.9:7000", State: relay.Connected}
		b.engine.set(func(relay.Config) []relay.FlowReport {
			return []relay.FlowReport{{ID: "f", Outputs: []relay.OutputReport{
				{ID: "two", Destinations: []relay.DestinationReport{fails, serves}},
				{ID: "one", Destinations: []relay.DestinationReport{serves}},
				{ID: "none"},
			}}}
		})
		b.publish(document(1, "a", ""))
		body, _ := b.Document("telemetry")
		var got struct {
			Flows []struct{ Outputs []map[string]json.RawMessage }
		}
		if err := json.Unmarshal(body, &got); err != nil {
			t.Fatal(err)
		}
		for i, want := range []string{
			`[{"address":"hub.example.com:7000","state":"rejected","reason":{"code":"bad_secret","message":"the passphrase is wrong"}},` +
				`{"address":"192.0.2.9:7000","state":"connected","reason":null}]`,
			"", "",
		} {
			if o := got.Flows[0].Outputs[i]; string(o["destinations"]) != want {
				t.Errorf("%s\n got %s\nwant %s", o["id"], o["destinations"], want)
			}
		}
	})
}
