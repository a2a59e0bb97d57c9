package device

import (
	"strings"
	"testing"

	"sluice/relay/endpoint"
)

func TestParseBroker(t *testing.T) {
	for given, want := range map[string]string{
		"mqtt://broker":              "mqtt://broker:1883",
		"mqtts://broker":             "mqtts://broker:8883",
		"mqtt://broker:99/":          "mqtt://broker:99/",
		"ws://broker/mqtt":           "ws://broker:80/mqtt",
		"wss://[2001:db8::1]/x":      "wss://[2001:db8::1]:443/x",
		"":                           "the broker's scheme is \"\": use mqtt, mqtts, ws or wss",
		"broker:1883":                "the broker's scheme is \"broker\": use mqtt, mqtts, ws or wss",
		"tcp://broker":               "the broker's scheme is \"tcp\": use mqtt, mqtts, ws or wss",
		"mqtt://":                    "the broker's URL names no host",
		"mqtt://broker/path":         "the broker's URL has the path \"/path\": only ws and wss have one",
		"mqtt://user:planted@broker": "the broker's URL holds a user: give it apart, and the password in a file",
		"mqtt://u:planted@bro ker":   "the broker is not a URL such as mqtts://broker.example.com",
	} {
		u, err := ParseBroker(given)
		got := ""
		if err != nil {
			got = err.Error()
		} else {
			got = u.String()
		}
		if got != want {
			t.Errorf("%q: %s, want %s", given, got, want)
		}
	}
}

func TestValidate(t *testing.T) {
	broker := func(b Broker) Config { return Config{Management: &Management{Broker: &b}} }
	for name, c := range map[string]struct {
		config Config
		want   string // pointer and a part of the sentence, empty: none
	}{
		"nothing":             {Config{}, ""},
		"time servers":        {Config{NTP: []string{"192.0.2.1", "2001:db8::1", "ntp.example.com"}}, ""},
		"a broker":            {broker(Broker{URL: "mqtts://b", Username: "u", Password: endpoint.NewSecret("x"), CAFile: "ca.pem"}), ""},
		"no host":             {Config{NTP: []string{"ntp.example.com", "a b"}}, `/device/ntp/1: time server "a b" is neither`},
		"twice":               {Config{NTP: []string{"a", "a"}}, `/device/ntp/1: time server "a" stands twice`},
		"no broker":           {broker(Broker{URL: "http://b"}), "/device/management/broker/url: the broker's scheme"},
		"port":                {broker(Broker{URL: "mqtt://b:65536"}), "/device/management/broker/url: the broker's port"},
		"nobody's password":   {broker(Broker{URL: "mqtt://b", Password: endpoint.NewSecret("x")}), "/device/management/broker/password: password needs"},
		"a CA for plain text": {broker(Broker{URL: "ws://b", CAFile: "ca.pem"}), "/device/management/broker/ca_file: ca_file is of no use"},
	} {
		var got []string
		for _, f := range c.config.Validate("/device") {
			got = append(got, f.Pointer+": "+f.Message)
		}
		if all := strings.Join(got, "; "); c.want == "" && all != "" || c.want != "" && (len(got) != 1 || !strings.HasPrefix(all, c.want)) {
			t.Errorf("%s: %q, want %q", name, all, c.want)
		}
	}
}
