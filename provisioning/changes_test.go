package provisioning

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"sluice/provisioning/config"
	"sluice/provisioning/mqtt"
)

func prefixes(all ...string) (p []netip.Prefix) {
	for _, s := range all {
		p = append(p, netip.MustParsePrefix(s))
	}
	return p
}

func message(document string) mqtt.Message {
	return mqtt.Message{Topic: "sluice/v1/box/config/desired", Payload: []byte(document)}
}

// Changes are told by where they are, and never by what is there.
func TestChanges(t *testing.T) {
	parse := func(raw string) *config.Document {
		d, err := config.Parse([]byte(raw), config.Options{})
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	base := document(7, "a", "")
	passphrase := strings.Replace(base, `"port":9100`, `"port":9100,"passphrase":"planted-one"`, 1)
	second := strings.Replace(base, `"outputs":[`, `"outputs":[{"id":"p","name":"p","protocol":"SRT","srt":{"mode":"listener","port":9200}},`, 1)
	many := base
	var flows []string
	for i := range 30 {
		flows = append(flows, fmt.Sprintf(`{"id":"n%d","name":"N","inputs":[{"id":"i","protocol":"RTP","rtp":{"port":%d}}]}`, i, 6000+2*i))
	}
	many = strings.Replace(many, `"flows":[`, `"flows":[`+strings.Join(flows, ",")+",", 1)
	for name, c := range map[string]struct {
		before, after string
		want          []string
	}{
		"nothing":        {base, base, []string{}},
		"a name":         {base, document(8, "b", ""), []string{"/flows/f/outputs/o/name"}},
		"a secret":       {passphrase, strings.Replace(passphrase, "planted-one", "planted-two", 1), []string{"/flows/f/outputs/o/srt/passphrase"}},
		"a secret added": {base, passphrase, []string{"/flows/f/outputs/o/srt/passphrase"}},
		"an output":      {base, second, []string{"/flows/f/outputs/p"}},
		"one less":       {second, base, []string{"/flows/f/outputs/p"}},
		"the device":     {base, strings.Replace(base, `"state":{`, `"state":{"device":{"hostname":"van"},`, 1), []string{"/device"}},
	} {
		if got := changes(parse(c.before), parse(c.after)); !slices.Equal(got, c.want) {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
	if got := changes(parse(base), parse(many)); len(got) != maxChanges {
		t.Errorf("of many, %d are told", len(got))
	}
	if got := changes(factory().document, parse(base)); !slices.Contains(got, "/flows") || !slices.Contains(got, "/uplinks") {
		t.Errorf("from nothing: %q", got)
	}
}

func TestLocalEditTellsWhatChanged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := startBox(t, "", nil)
		b.publish(document(7, "a", ""))
		b.edit(strings.Replace(document(0, "b", ""), `"port":9100`, `"port":9100,"passphrase":"planted-one"`, 1))
		event := ""
		for _, m := range b.fleet.on("event") {
			if field(t, m.body, "type") == "local_edit" {
				event = m.body
			}
		}
		if event == "" || fmt.Sprint(field(t, event, "data", "changed")) != "[/flows/f/outputs/o/name /flows/f/outputs/o/srt/passphrase]" ||
			field(t, event, "data", "version") != 8.0 || strings.Contains(event, "planted") {
			t.Errorf("event %s", event)
		}
	})
}
