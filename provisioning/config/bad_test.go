package config

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write testdata/bad.golden again")

// A badDocument has faults. Its whole answer stands in testdata/bad.golden.
type badDocument struct {
	name string
	raw  string
	// schema tells that the JSON Schema refuses it too. It cannot where the
	// fault lies between fields, or in the text before it is JSON.
	schema bool
}

// document returns one of version 8 with these members of state.
func document(state string) string {
	return `{"schema": "sluice.config/v1", "version": 8, "client_token": "t-1", "state": {` + state + `}}`
}

const uplinks = `"uplinks": [{"name": "lan0", "match": {"interface": "eth0"}, "default": true}, {"name": "wan0", "match": {"interface": "eth1"}}]`

const listen = `{"id": "in", "protocol": "SRT", "srt": {"mode": "listener", "port": 9000}}`

// flow returns a document with one flow: its inputs, outputs and other members.
func flow(inputs, outputs string, more ...string) string {
	return document(uplinks + `, "regions": {"ap-seoul": "wan0"}, "flows": [{"id": "stage", "name": "Stage", "inputs": [` + inputs + `], "outputs": [` +
		outputs + `]` + strings.Join(append([]string{""}, more...), ", ") + `}]`)
}

// output returns a document with one output of a protocol; body is the members
// of the protocol's object.
func output(protocol, body string) string {
	object := strings.ToLower(strings.TrimSuffix(strings.TrimSuffix(protocol, "_PUSH"), "_PULL"))
	return flow(listen, fmt.Sprintf(`{"id": "o", "name": "O", "protocol": %q, %q: {%s}}`, protocol, object, body))
}

func input(protocol, body string) string {
	object := strings.ToLower(strings.TrimSuffix(protocol, "_PULL"))
	return flow(fmt.Sprintf(`{"id": "i", "protocol": %q, %q: {%s}}`, protocol, object, body), "")
}

func listener(id string, port int, more ...string) string {
	return fmt.Sprintf(`{"id": %q, "name": %q, "protocol": "SRT", "srt": {"mode": "listener", "port": %d}%s}`,
		id, id, port, strings.Join(append([]string{""}, more...), ", "))
}

const (
	caller = `"mode": "caller", "destinations": [{"host": "hub.example.com", "port": 7000}]`
	push   = `"destinations": [{"url": "rtmp://live.example.com/app", "stream_key": "key"}]`
	rtpOut = `"destinations": [{"host": "239.1.1.1", "port": 5004}]`
)

func oneUplink(more string) string {
	return document(`"uplinks": [{"name": "lan0", "match": {"interface": "eth0"}, ` + more + `}]`)
}

func badDocuments() []badDocument {
	many := func(n int) string {
		var outs []string
		for i := range n {
			outs = append(outs, listener(fmt.Sprintf("o%d", i), 10000+i))
		}
		return strings.Join(outs, ", ")
	}
	return []badDocument{
		// The text.
		{"empty", ``, false},
		{"no JSON", `hello`, false},
		{"cut off", `{"schema": "sluice.config/v1", "version": 8, "client_token": "t-1", "state": {"flows": [`, false},
		{"comma at the end", `{"schema": "sluice.config/v1", "version": 8,}`, false},
		{"two documents", document("") + "\n" + document(""), false},
		{"a list", `[]`, true},
		{"null", `null`, true},
		{"too large", `{"schema": "` + strings.Repeat("x", 10<<20) + `"}`, true},
		{"one byte too large", document("") + strings.Repeat(" ", MaxDocument), false},
		{"deep lists", strings.Repeat("[", 100_000), false},
		{"deep objects", document(strings.Repeat(`"a": {`, 40) + strings.Repeat("}", 40)), true},
		{"not UTF-8", "{\"schema\": \"sluice.config/v1\", \"client_token\": \"\xff\"}", true},
		{"half a surrogate pair", document(`"device": {"hostname": "\ud83d"}`), true},
		{"byte order mark", "\uFEFF" + document(""), false},

		// The envelope.
		{"nothing in it", `{}`, true},
		{"another schema", `{"schema": "sluice.config/v2", "version": 9, "client_token": "t-2", "anything": 1}`, true},
		{"schema of another type", `{"schema": 1, "version": 8, "state": {}}`, true},
		{"version missing", `{"schema": "sluice.config/v1", "state": {}}`, false},
		{"version 0", `{"schema": "sluice.config/v1", "version": 0, "state": {}}`, false},
		{"version negative", `{"schema": "sluice.config/v1", "version": -1, "state": {}}`, true},
		{"version not exact", `{"schema": "sluice.config/v1", "version": 9007199254740993, "state": {}}`, true},
		{"version beyond 64 bits", `{"schema": "sluice.config/v1", "version": 99999999999999999999999, "state": {}}`, true},
		{"version a fraction", `{"schema": "sluice.config/v1", "version": 8.5, "state": {}}`, true},
		{"version with an exponent", `{"schema": "sluice.config/v1", "version": 8e0, "state": {}}`, false},
		{"version a string", `{"schema": "sluice.config/v1", "version": "8", "state": {}}`, true},
		{"token too long", `{"schema": "sluice.config/v1", "version": 8, "client_token": "` + strings.Repeat("t", 65) + `", "state": {}}`, true},
		{"timestamp", `{"schema": "sluice.config/v1", "version": 8, "timestamp": "yesterday", "state": {}}`, false},
		{"state a list", `{"schema": "sluice.config/v1", "version": 8, "state": []}`, true},
		{"state null", `{"schema": "sluice.config/v1", "version": 8, "state": null}`, true},
		{"field twice", `{"schema": "sluice.config/v1", "version": 8, "version": 9, "state": {}}`, false},
		{"unknown in the envelope", `{"schema": "sluice.config/v1", "version": 8, "sate": {}, "state": {}}`, true},
		{"commit", `{"schema": "sluice.config/v1", "version": 8, "state": {}, "commit": {"rollback_s": 5}}`, true},
		{"unknown with a slash and a tilde", document(`"a/b~c": 1`), true},
		{"unknown of great length", document(`"` + strings.Repeat("long", 100) + `": 1`), true},
		{"noise", document(func() string {
			var b strings.Builder
			for i := range 1000 {
				fmt.Fprintf(&b, `"x%d": 0, `, i)
			}
			return b.String() + `"flows": []`
		}()), true},

		// Device and uplinks.
		{"hostname", document(`"device": {"hostname": "ob van"}`), true},
		{"management of an unknown uplink", document(uplinks + `, "device": {"management": {"uplinks": ["wan0", "wan1", "wan0"]}}`), false},
		{"management of none", document(uplinks + `, "device": {"management": {"uplinks": []}}`), true},
		{"certificate elsewhere", document(`"device": {"tls": {"cert_file": "/etc/passwd", "key_file": "../key.pem"}}`), true},
		{"uplink twice, both default", document(`"uplinks": [{"name": "lan0", "match": {"path": "p"}, "default": true}, {"name": "lan0", "match": {"path": "q"}, "default": true}]`), false},
		{"two uplinks of one NIC", document(`"uplinks": [{"name": "lan0", "match": {"mac": "02:00:5E:00:00:02"}, "default": true}, {"name": "wan0", "match": {"interface": "eth1"}}, {"name": "wan1", "match": {"mac": "02:00:5e:00:00:02"}}]`), false},
		{"uplink without match", document(`"uplinks": [{"name": "lan0"}]`), false},
		{"match by two", document(`"uplinks": [{"name": "lan0", "match": {"interface": "eth0", "path": "p"}}, {"name": "lan1", "match": {}}]`), false},
		{"mac", document(`"uplinks": [{"name": "lan0", "match": {"mac": "02:00:5e:00:00"}}]`), true},
		{"address", oneUplink(`"addresses": ["192.0.2.9", "239.1.1.1/24", "192.0.2.9/33"]`), false},
		{"address twice", oneUplink(`"addresses": ["192.0.2.9/24", "192.0.2.9/25"]`), false},
		{"gateway outside", oneUplink(`"addresses": ["192.0.2.9/24"], "gateway4": "198.51.100.1", "gateway6": "192.0.2.1"`), false},
		{"gateway is the uplink", oneUplink(`"addresses": ["192.0.2.9/24"], "gateway4": "192.0.2.9"`), false},
		{"name servers", oneUplink(`"nameservers": ["192.0.2.1", "dns.example.com", "0.0.0.0", 7, "192.0.2.2"]`), true},
		{"advertise_host", oneUplink(`"advertise_host": "https://stage.example.com"`), false},
		{"region of an unknown uplink", document(uplinks + `, "regions": {"ap seoul": "wan0", "eu": "wan7"}`), true},

		// Flows.
		{"flow empty", document(uplinks + `, "flows": [{}]`), true},
		{"flow twice", document(uplinks + `, "flows": [{"id": "a", "name": "A", "inputs": [` + listen + `]}, {"id": "a", "name": "A", "inputs": [{"id": "in", "protocol": "SRT", "srt": {"mode": "listener", "port": 9001}}]}]`), false},
		{"flow id", document(uplinks + `, "flows": [{"id": "a b", "name": "A", "inputs": [` + listen + `]}]`), true},
		{"flows an object", document(`"flows": {"id": "stage"}`), true},
		{"too many flows", document(`"flows": [` + strings.TrimSuffix(strings.Repeat(`0, `, 65), ", ") + `]`), true},
		{"no input", flow("", ""), true},
		{"three inputs", flow(listen+`, {"id": "b", "protocol": "RTP", "rtp": {"port": 5004}}, {"id": "c", "protocol": "RTP", "rtp": {"port": 5006}}`, ""), true},
		{"two inputs without failover", flow(listen+`, {"id": "b", "protocol": "RTP", "rtp": {"port": 5004}}`, ""), false},
		{"failover of one input", flow(listen, "", `"failover": {"mode": "merge"}`), false},
		{"failover to a stranger", flow(listen+`, {"id": "b", "protocol": "RTP", "rtp": {"port": 5004}}`, "", `"failover": {"mode": "switch", "primary": "c", "loss_ms": 10}`), true},
		{"failover fields of the other mode", flow(listen+`, {"id": "b", "protocol": "RTP", "rtp": {"port": 5004}}`, "", `"failover": {"mode": "merge", "primary": "b", "revert": "auto"}`), true},
		{"51 outputs", flow(listen, many(51)), true},
		{"output id and name twice", flow(listen, listener("o", 9100)+`, `+listener("o", 9101)), false},
		{"input twice", flow(listen+`, {"id": "in", "protocol": "RTP", "rtp": {"port": 5004}}`, "", `"failover": {"mode": "switch"}`), false},
		{"name too long", flow(listen, `{"id": "o", "name": "`+strings.Repeat("ü", 65)+`", "protocol": "RTP", "rtp": {`+rtpOut+`}}`), true},
		{"name empty", flow(listen, `{"id": "o", "name": "", "protocol": "RTP", "rtp": {`+rtpOut+`}}`), true},
		{"control character in a name", flow(listen, `{"id": "o", "name": "a\u0007b", "protocol": "RTP", "rtp": {`+rtpOut+`}}`), true},
		{"description", flow(listen, listener("o", 9100, `"description": "`+strings.Repeat("d", 256)+`"`)), true},
		{"uplink unknown", flow(listen, listener("o", 9100, `"uplink": "wan9"`)), false},
		{"region unknown", flow(listen, listener("o", 9100, `"region": "ap-soul"`)), false},
		{"no default uplink", document(`"uplinks": [{"name": "lan0", "match": {"interface": "eth0"}}], "flows": [{"id": "a", "name": "A", "inputs": [` + listen + `]}]`), false},
		{"max_viewers and dscp", flow(listen, listener("o", 9100, `"max_viewers": 0`, `"dscp": 64`)), true},
		{"enabled a string", flow(listen, listener("o", 9100, `"enabled": "yes"`)), true},
		{"allow", flow(listen, listener("o", 9100, `"allow": "203.3.3.3/28;203.3.3.3/33;;x"`)), false},
		{"allow of nobody", flow(listen, listener("o", 9100, `"allow": ";"`)), false},
		{"allow a list", flow(listen, listener("o", 9100, `"allow": ["10.0.0.0/8", 10, "fe80::1%eth0"]`)), true},
		{"allow a number", flow(listen, listener("o", 9100, `"allow": 10`)), true},
		{"playback_urls of another type", flow(listen, listener("o", 9100, `"playback_urls": "srt://x:1"`)), true},

		// Protocols.
		{"protocol unknown", flow(listen, `{"id": "o", "name": "O", "protocol": "HLS", "hls": {}}`), true},
		{"protocol in lower case", flow(listen, `{"id": "o", "name": "O", "protocol": "srt", "srt": {"mode": "listener", "port": 9100}}`), true},
		{"input of an output's protocol", flow(`{"id": "in", "protocol": "RTMP_PUSH", "rtmp": {"url": "rtmp://a.example.com/app"}}`, ""), true},
		{"protocol missing", flow(listen, `{"id": "o", "name": "O", "srt": {"mode": "listener", "port": 9100}}`), true},
		{"object of another protocol", flow(listen, `{"id": "o", "name": "O", "protocol": "RTMP", "srt": {"mode": "listener", "port": 9100}}`), true},
		{"objects of two protocols", flow(listen, `{"id": "o", "name": "O", "protocol": "RTP", "rtp": {`+rtpOut+`}, "rtsp": {"mode": "serve"}}`), true},

		// SRT.
		{"SRT mode", output("SRT", `"mode": "rendezvous", "port": 9100`), true},
		{"SRT mode missing", output("SRT", `"port": 9100`), true},
		{"SRT listener without port", output("SRT", `"mode": "listener"`), true},
		{"SRT listener with destinations", output("SRT", `"mode": "listener", "port": 9100, "destinations": [{"host": "a", "port": 1}]`), true},
		{"SRT caller with port", output("SRT", `"mode": "caller", "port": 9100`), true},
		{"SRT numbers", output("SRT", caller+`, "latency_ms": 15001, "key_length": 20, "peer_idle_timeout_ms": 999`), true},
		{"SRT port a string", output("SRT", `"mode": "listener", "port": "9100"`), true},
		{"SRT port out of range", output("SRT", `"mode": "listener", "port": 65536`), true},
		{"SRT field misspelt", output("SRT", caller+`, "latency": 200, "pasphrase": "correct horse"`), true},
		{"SRT passphrase short", output("SRT", caller+`, "passphrase": "battery"`), true},
		{"SRT passphrase long", output("SRT", caller+`, "passphrase": "`+strings.Repeat("x", 80)+`"`), true},
		{"SRT passphrase not ASCII", output("SRT", caller+`, "passphrase": "pässphrase-x"`), false},
		{"SRT passphrase a number", output("SRT", caller+`, "passphrase": 1234567890`), true},
		{"SRT passphrase of two forms", output("SRT", caller+`, "passphrase": {"set": true, "secret": "a"}`), true},
		{"SRT passphrase kept, none in force", output("SRT", caller+`, "passphrase": {"set": true}`), false},
		{"SRT passphrase not kept", output("SRT", caller+`, "passphrase": {"set": false}`), true},
		{"SRT passphrase unknown", output("SRT", caller+`, "passphrase": {"secret": "nowhere"}`), false},
		{"SRT stream id", output("SRT", caller+`, "stream_id": "`+strings.Repeat("ö", 300)+`"`), false},
		{"SRT stream id not printable", output("SRT", caller+`, "stream_id": "a\u200bb\tc"`), false},
		{"SRT hosts", output("SRT", `"mode": "caller", "destinations": [{"host": "256.1.1.1", "port": 1}, {"host": "-x.example.com", "port": 2}]`), false},
		{"SRT more hosts", output("SRT", `"mode": "caller", "destinations": [{"host": "[::1]", "port": 1}, {"host": "fe80::1%eth0", "port": 2}]`), false},
		{"SRT hosts that are no peers", output("SRT", `"mode": "caller", "destinations": [{"host": "239.1.1.1", "port": 1}, {"host": "0.0.0.0", "port": 2}]`), false},
		{"SRT three destinations", output("SRT", `"mode": "caller", "destinations": [{"host": "a", "port": 1}, {"host": "b", "port": 1}, {"host": "c", "port": 1}]`), true},
		{"SRT destination twice", output("SRT", `"mode": "caller", "destinations": [{"host": "a", "port": 1}, {"host": "a", "port": 1}]`), false},
		{"SRT input with two destinations", input("SRT", `"mode": "caller", "destinations": [{"host": "a", "port": 1}, {"host": "b", "port": 1}]`), false},

		// RTMP.
		{"RTMP push with pull fields", output("RTMP_PUSH", push+`, "port": 1935, "app": "live"`), true},
		{"RTMP pull with push fields", output("RTMP_PULL", `"chunk_size": 4096, `+push), true},
		{"RTMP chunk size", output("RTMP_PUSH", push+`, "chunk_size": 128`), true},
		{"RTMP URLs", output("RTMP_PUSH", `"destinations": [{"url": "http://live.example.com/app", "stream_key": "k"}, {"url": "rtmp://live.example.com", "stream_key": "k"}]`), false},
		{"RTMP URLs that tell", output("RTMP_PUSH", `"destinations": [{"url": "rtmp://user:hunter22@live.example.com/app", "stream_key": "k"}, {"url": "rtmp://live.example.com/app?token=hunter22", "stream_key": "k"}]`), false},
		{"RTMP URL ports", output("RTMP_PUSH", `"destinations": [{"url": "rtmp://a.example.com:0/app", "stream_key": "k"}, {"url": "rtmp://a.example.com:x/app", "stream_key": "k"}]`), false},
		{"RTMP half a login", output("RTMP_PUSH", `"destinations": [{"url": "rtmp://a.example.com/app", "stream_key": "k", "username": "u"}, {"url": "rtmp://b.example.com/app", "stream_key": "k", "password": "hunter22"}]`), false},
		{"RTMP stream twice", output("RTMP_PUSH", `"destinations": [{"url": "rtmp://a.example.com/app", "stream_key": "k"}, {"url": "rtmp://a.example.com/app", "stream_key": "k", "username": "u", "password": "hunter22"}]`), false},
		{"RTMP key missing", output("RTMP_PUSH", `"destinations": [{"url": "rtmp://live.example.com/app"}]`), true},
		{"RTMP key with a space", output("RTMP_PUSH", `"destinations": [{"url": "rtmp://live.example.com/app", "stream_key": "hunter 22"}]`), false},
		{"RTMP pull key", output("RTMP_PULL", `"stream_key": "a b"`), true},
		{"RTMP input with url", input("RTMP", `"url": "rtmp://a.example.com/app", "stream_key": "k"`), true},
		{"RTMP pull input with port", input("RTMP_PULL", `"port": 1935, "takeover": true, "stream_key": "k"`), true},

		// RTP.
		{"RTP without destinations", output("RTP", `"ttl": 0`), true},
		{"RTP encapsulation", output("RTP", rtpOut+`, "encapsulation": "srtp", "smoothing_latency_ms": 5001`), true},
		{"RTP hitless on one leg", output("RTP", rtpOut+`, "hitless": true`), false},
		{"RTP fields without RTP", output("RTP", `"encapsulation": "udp", "hitless": true, "preserve_rtp_header": true, "destinations": [{"host": "239.1.1.1", "port": 1}, {"host": "239.1.1.2", "port": 1}]`), false},
		{"RTP destination unknown", output("RTP", `"destinations": [{"host": "udp://239.1.1.1", "port": 5004, "uplink": "wan8"}]`), false},
		{"RTP group", input("RTP", `"port": 5004, "multicast": "10.0.0.1", "source": "239.1.1.1"`), false},
		{"RTP families", input("RTP", `"port": 5004, "multicast": "239.1.1.1", "source": "2001:db8::1"`), false},
		{"RTP port missing", input("RTP", `"port": 0, "encapsulation": null`), true},

		// RTSP.
		{"RTSP mode of the other side", output("RTSP", `"mode": "pull", "url": "rtsp://cam.example.com/x"`), true},
		{"RTSP serve with url", output("RTSP", `"mode": "serve", "url": "rtsp://cam.example.com/x"`), true},
		{"RTSP announce without url", output("RTSP", `"mode": "announce", "path": "x"`), true},
		{"RTSP path", output("RTSP", `"mode": "serve", "path": "/stage"`), true},
		{"RTSP transport", input("RTSP", `"mode": "pull", "url": "rtmp://cam.example.com/x", "transport": "quic"`), true},
		{"RTSP password alone", input("RTSP", `"mode": "listen", "path": "x", "password": "hunter22"`), false},

		// Ports.
		{"port of an input", flow(listen, listener("o", 9000)), false},
		{"port twice, one disabled", flow(listen, listener("o", 9100)+`, `+listener("p", 9100, `"enabled": false`)), false},
		{"port twice through the default", flow(listen, listener("o", 9100)+`, `+listener("p", 9100, `"uplink": "lan0"`)), false},
		{"port twice through a region", flow(listen, listener("o", 9100, `"uplink": "wan0"`)+`, `+listener("p", 9100, `"region": "ap-seoul"`)), false},
		{"port of RTCP", flow(`{"id": "in", "protocol": "RTP", "rtp": {"port": 9000}}`, listener("o", 9001)), false},
		{"RTP ports side by side", flow(`{"id": "a", "protocol": "RTP", "rtp": {"port": 9000}}, {"id": "b", "protocol": "RTP", "rtp": {"port": 9001}}`, "", `"failover": {"mode": "switch"}`), false},
		{"RTMP and RTSP on one port", flow(listen, `{"id": "o", "name": "O", "protocol": "RTMP_PULL", "rtmp": {"port": 1935}}, {"id": "p", "name": "P", "protocol": "RTSP", "rtsp": {"mode": "serve", "port": 1935}}`), false},
		{"RTMP with and without TLS", flow(listen, `{"id": "o", "name": "O", "protocol": "RTMP_PULL", "rtmp": {}}, {"id": "p", "name": "P", "protocol": "RTMP_PULL", "rtmp": {"tls": true}}`), false},
		{"RTMP key twice", flow(`{"id": "in", "protocol": "RTMP", "rtmp": {"stream_key": "stage"}}`, `{"id": "o", "name": "O", "protocol": "RTMP_PULL", "rtmp": {"stream_key": "stage"}}`), false},
		{"RTSP path twice", flow(`{"id": "in", "protocol": "RTSP", "rtsp": {"mode": "listen", "path": "stage/o"}}`, `{"id": "o", "name": "O", "protocol": "RTSP", "rtsp": {"mode": "serve"}}`), false},

		// Secrets.
		{"secret of another type", strings.Replace(document(""), `"state"`, `"secrets": {"a": {"secret": "b"}, "b": 5, "c d": "x", "e": ""}, "state"`, 1), true},
		{"secret sealed", strings.Replace(output("SRT", caller+`, "passphrase": {"secret": "a"}`), `"state"`, `"secrets": {"a": "-----BEGIN AGE ENCRYPTED FILE-----\nYWdl\n-----END AGE ENCRYPTED FILE-----\n"}, "state"`, 1), false},
		{"time servers", document(`"device": {"ntp": ["a b", "ntp", "ntp", 5, "x", "y"]}`), true},
		{"a broker", document(`"device": {"management": {"broker": {"url": "tcp://b", "password": "hunter22", "ca_file": "../ca.pem"}, "allow_fleet": 1}}`), true},
		{"a broker that is empty", document(`"device": {"management": {"broker": {}}}`), true},
		{"a user in the broker's URL", document(`"device": {"management": {"broker": {"url": "mqtt://box:hunter22@b"}}}`), false},
		{"secret too short where it is used", strings.Replace(output("SRT", caller+`, "passphrase": {"secret": "a"}`), `"state"`, `"secrets": {"a": "hunter22"}, "state"`, 1), false},

		{"many at once", flow(`{"id": "in", "protocol": "SRT", "srt": {"mode": "listener", "port": 9000, "key_length": 20}}`,
			listener("o", 9000, `"dscp": 99`)+`, `+listener("o", 9001, `"uplink": "wan1"`)+`, {"id": "p", "name": "P", "protocol": "RTMP", "rtmp": {`+push+`, "chunk_size": 1, "tls": true}}`), true},
	}
}

// TestBadDocuments holds the complete answer to every bad document against
// testdata/bad.golden. After a change of words: go test -run BadDocuments -update.
func TestBadDocuments(t *testing.T) {
	const golden = "testdata/bad.golden"
	var got bytes.Buffer
	for _, bad := range badDocuments() {
		doc, err := Parse([]byte(bad.raw), Options{})
		faults, ok := err.(*Faults)
		if !ok || doc != nil {
			t.Errorf("%s: Parse gives %v and a document %t, want faults alone", bad.name, err, doc != nil)
			continue
		}
		fmt.Fprintf(&got, "# %s\n%d %s; version %d, client_token %q\n", bad.name, faults.Code, faults.Message(), faults.Version, faults.ClientToken)
		for _, f := range faults.Errors {
			fmt.Fprintf(&got, "    %q %s\n        %s\n", f.Pointer, f.Code, f.Message)
		}
	}
	if *update {
		if err := os.WriteFile(golden, got.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	wants, gots := strings.Split(string(want), "# "), strings.Split(got.String(), "# ")
	for i := range max(len(wants), len(gots)) {
		w, g := "nothing", "nothing"
		if i < len(wants) {
			w = wants[i]
		}
		if i < len(gots) {
			g = gots[i]
		}
		if w != g {
			t.Errorf("want # %s\ngot # %s", w, g)
		}
	}
}
