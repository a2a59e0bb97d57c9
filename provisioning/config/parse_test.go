package config

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"testing"

	"sluice/relay"
	"sluice/relay/endpoint"
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

func TestDefaultsBelongToTheirMode(t *testing.T) {
	doc := parse(t, good(t)["everything.json"], Options{})
	a, b := doc.State.Flows[0], doc.State.Flows[1]
	if f := a.Failover; f.Primary != "one" || f.RevertAfterMS != 0 || f.LossMS != 50 || f.RecoveryWindowMS != 0 {
		t.Errorf("failover switch is %+v", *f)
	}
	if f := b.Failover; f.RecoveryWindowMS != 200 || f.Primary != "" || f.LossMS != 0 || f.Revert != "" {
		t.Errorf("failover merge is %+v", *f)
	}
	push, pull, serve, announce := a.Outputs[0], a.Outputs[1], a.Outputs[3], a.Outputs[4]
	if push.Protocol != relay.RTMPPush || push.RTMP.ChunkSize != 4096 || push.RTMP.Port != 0 || push.RTMP.App != "" {
		t.Errorf("RTMP push is %s %+v", push.Protocol, *push.RTMP)
	}
	if r := pull.RTMP; r.Port != 1935 || r.App != "live" || r.StreamKey != "pull" || r.ChunkSize != 0 || r.DestinationMode != "" {
		t.Errorf("RTMP pull is %+v", *r)
	}
	if r := serve.RTSP; r.Port != 8554 || r.Path != "a/serve" || r.Transport != "auto" {
		t.Errorf("RTSP serve is %+v", *r)
	}
	if r := announce.RTSP; r.Port != 0 || r.Path != "" {
		t.Errorf("RTSP announce is %+v", *r)
	}
	if s := a.Inputs[0].SRT; s.LatencyMS != 0 || s.PeerIdleTimeoutMS != 5000 || s.Port != 0 || !a.Inputs[0].Enabled {
		t.Errorf("SRT caller is %+v", *s)
	}
	want := []netip.Prefix{netip.MustParsePrefix("10.1.2.3/32"), netip.MustParsePrefix("2001:db8::/32")}
	if got := a.Outputs[2].Allow; !slices.Equal(got, want) {
		t.Errorf("allow is %v, want %v", got, want)
	}
	if got := doc.State.Flows[0].Outputs[1].MaxViewers; got != 4 {
		t.Errorf("max_viewers is %d", got)
	}
}

func TestAllowMasksHostBits(t *testing.T) {
	doc := parse(t, []byte(flow(listen, listener("o", 9100, `"allow": "203.3.3.3/28;202.3.3.3/28;::ffff:10.0.0.1/104"`))), Options{})
	want := endpoint.AllowList{netip.MustParsePrefix("203.3.3.0/28"), netip.MustParsePrefix("202.3.3.0/28"), netip.MustParsePrefix("10.0.0.0/8")}
	if got := doc.State.Flows[0].Outputs[0].Allow; !slices.Equal(got, want) {
		t.Errorf("allow is %v, want %v", got, want)
	}
}

func TestEngineNamesUplinks(t *testing.T) {
	raw := flow(listen, listener("default", 9100)+`, `+listener("region", 9101, `"region": "ap-seoul"`)+`, `+
		listener("own", 9102, `"region": "ap-seoul"`, `"uplink": "lan0"`)+`, `+
		`{"id": "legs", "name": "legs", "protocol": "RTP", "region": "ap-seoul", "rtp": {"destinations": [{"host": "a", "port": 2}, {"host": "a", "port": 2, "uplink": "lan0"}]}}`)
	doc := parse(t, []byte(raw), Options{})
	f := doc.Engine().Flows[0]
	got := []string{f.Inputs[0].Uplink}
	for _, o := range f.Outputs {
		got = append(got, o.Uplink)
	}
	for _, d := range f.Outputs[3].RTP.Destinations {
		got = append(got, d.Uplink)
	}
	want := []string{"lan0", "lan0", "wan0", "lan0", "wan0", "wan0", "lan0"}
	if !slices.Equal(got, want) {
		t.Errorf("uplinks are %v, want %v", got, want)
	}
	if u := doc.State.Flows[0].Outputs[3].RTP.Destinations[0].Uplink; u != "" {
		t.Errorf("Engine wrote %q into the document", u)
	}
}

func TestLocalUplinks(t *testing.T) {
	raw := []byte(document(`"uplinks": [{"name": "lan0"}], "flows": [{"id": "a", "name": "A", "inputs": [` + listen + `], "outputs": [` + listener("o", 9000, `"uplink": "wan0"`) + `]}]`))
	doc := parse(t, raw, Options{LocalUplinks: []string{"lan0", "wan0"}})
	if got := doc.Engine().Flows[0].Inputs[0].Uplink; got != "lan0" {
		t.Errorf("the default uplink is %q, want the first of the command line", got)
	}
	stored, err := doc.Stored()
	if err != nil {
		t.Fatal(err)
	}
	// The box comes up with what it has, whatever its command line says now.
	parse(t, stored, Options{Stored: true})
}

func TestSecretsResolve(t *testing.T) {
	const armor = armorHeader + `\nYWdl\n-----END AGE ENCRYPTED FILE-----\n`
	raw := strings.Replace(flow(listen, `{"id": "o", "name": "O", "protocol": "SRT", "srt": {`+caller+`, "passphrase": {"secret": "sealed"}}}, `+
		`{"id": "p", "name": "P", "protocol": "RTMP", "rtmp": {"destinations": [{"url": "rtmp://a/b", "stream_key": "literal"}, {"url": "rtmp://c/d", "stream_key": {"secret": "plain"}}]}}`),
		`"state"`, `"secrets": {"sealed": "`+armor+`", "plain": "plain-key"}, "state"`, 1)
	first := parse(t, []byte(raw), Options{Unseal: func(a string) (string, error) {
		if !strings.HasPrefix(a, armorHeader) {
			t.Errorf("asked to open %q", a)
		}
		return "correct horse\n", nil
	}})
	reveal := func(d *Document) []string {
		o := d.State.Flows[0].Outputs
		return []string{o[len(o)-2].SRT.Passphrase.Reveal(), o[len(o)-1].RTMP.Destinations[0].StreamKey.Reveal(), o[len(o)-1].RTMP.Destinations[1].StreamKey.Reveal()}
	}
	want := []string{"correct horse", "literal", "plain-key"}
	if got := reveal(first); !slices.Equal(got, want) {
		t.Fatalf("secrets are %q, want %q", got, want)
	}
	// What was read is edited and sent back: another output comes first, and
	// the secrets stay with their ids.
	edited := strings.Replace(string(first.RedactedDesired()), `"outputs":[`, `"outputs":[`+listener("new", 9100)+`,`, 1)
	second := parse(t, []byte(edited), Options{InForce: first})
	if got := reveal(second); !slices.Equal(got, want) {
		t.Errorf("secrets after an edit are %q, want %q", got, want)
	}
	if _, err := Parse([]byte(edited), Options{Unseal: func(string) (string, error) { return "", io.EOF }}); err == nil {
		t.Error("a secret is kept though no document is in force")
	}
}

func TestReportedState(t *testing.T) {
	for name, raw := range good(t) {
		doc := parse(t, raw, Options{})
		state := doc.RedactedState(func(flow, output string) []string {
			if output == "wall" {
				return []string{"srt://192.0.2.1:9100"}
			}
			return nil
		})
		for _, secret := range []string{"correct horse", "battery staple", "e18c3c4dd05aef02", "0123456789", "k?token=1"} {
			if bytes.Contains(state, []byte(secret)) || bytes.Contains(doc.RedactedDesired(), []byte(secret)) {
				t.Errorf("%s: %q is reported", name, secret)
			}
		}
		var s struct {
			Flows []struct {
				Outputs []struct {
					ID           string
					PlaybackURLs *[]string `json:"playback_urls"`
				}
			}
		}
		if err := json.Unmarshal(state, &s); err != nil {
			t.Fatal(err)
		}
		for _, f := range s.Flows {
			for _, o := range f.Outputs {
				if o.PlaybackURLs == nil || o.ID == "wall" && len(*o.PlaybackURLs) != 1 {
					t.Errorf("%s: playback_urls of %s are %v", name, o.ID, o.PlaybackURLs)
				}
			}
		}
		// Reported is desired: it can be sent back as it is.
		again := fmt.Sprintf(`{"schema": "sluice.config/v1", "version": 9, "state": %s}`, state)
		back := parse(t, []byte(again), Options{InForce: doc})
		if !reflect.DeepEqual(back.Engine(), doc.Engine()) {
			t.Errorf("%s: what is reported means something else when sent back", name)
		}
	}
}

func TestStoredIsEqual(t *testing.T) {
	for name, raw := range good(t) {
		doc := parse(t, raw, Options{})
		stored, err := doc.Stored()
		if err != nil {
			t.Fatal(err)
		}
		again := parse(t, stored, Options{Stored: true})
		if !reflect.DeepEqual(again.Desired, doc.Desired) {
			t.Errorf("%s: stored and read again:\n%+v\nwant\n%+v", name, again.Desired, doc.Desired)
		}
	}
}

func TestDigest(t *testing.T) {
	raw := good(t)["contract.json"]
	doc := parse(t, raw, Options{})
	var compact bytes.Buffer
	if err := json.Compact(&compact, raw); err != nil {
		t.Fatal(err)
	}
	if got := parse(t, compact.Bytes(), Options{}).Digest; got != doc.Digest {
		t.Error("white space changes the digest")
	}
	higher := bytes.Replace(raw, []byte(`"version": 7`), []byte(`"version": 8`), 1)
	if got := parse(t, higher, Options{}).Digest; got != doc.Digest {
		t.Error("the version changes the digest")
	}
	for old, fresh := range map[string]string{`"latency_ms": 200`: `"latency_ms": 201`, "correct horse": "correct Horse"} {
		other := bytes.Replace(raw, []byte(old), []byte(fresh), 1)
		if got := parse(t, other, Options{}).Digest; got == doc.Digest {
			t.Errorf("%s for %s does not change the digest", fresh, old)
		}
	}
	// As a shell says it: jq -c .state,.secrets | sha256sum
	jq, err := exec.LookPath("jq")
	if err != nil {
		t.Fatal("jq is not installed: install the package jq")
	}
	cmd := exec.Command(jq, "-c", ".state,.secrets")
	cmd.Stdin = bytes.NewReader(raw)
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprintf("%x", sha256.Sum256(out)); got != doc.Digest {
		t.Errorf("digest is %s, and jq and sha256sum say %s", doc.Digest, got)
	}
}

// TestTags reads the tags of every type of a document: a tag that cannot be
// read would bound nothing.
func TestTags(t *testing.T) {
	known := forms()
	seen := map[reflect.Type]bool{}
	var check func(typ reflect.Type)
	check = func(typ reflect.Type) {
		if seen[typ] {
			return
		}
		seen[typ] = true
		fields, err := readFields(typ)
		if err != nil {
			t.Error(err)
		}
		for i := range fields {
			f := &fields[i]
			for _, p := range []string{f.pattern, f.keys} {
				if _, ok := known[p]; p != "" && !ok {
					t.Errorf("%v.%s: there is no pattern %s", typ, f.name, p)
				}
			}
			if f.doc == "" {
				t.Errorf("%v.%s is not explained", typ, f.name)
			}
			bounded := f.bounds != nil || len(f.enum) > 0
			if k := f.typ.Kind(); (k == reflect.Int || k == reflect.Uint64) && !bounded {
				t.Errorf("%v.%s is a number without bounds", typ, f.name)
			}
			if f.typ.Kind() == reflect.Slice && f.items == nil && !f.readonly {
				t.Errorf("%v.%s is a list without bounds", typ, f.name)
			}
			if f.typ.Kind() == reflect.Map && f.keys == "" {
				t.Errorf("%v.%s is a map whose keys have no form", typ, f.name)
			}
			if f.preset != "" {
				d := decoder{fields: newFields(), faults: &faultList{}}
				n := &node{kind: stringKind, text: f.preset}
				switch f.typ.Kind() {
				case reflect.Int:
					n.kind = numberKind
				case reflect.Bool:
					n.kind = boolKind
				}
				d.value(n, "", reflect.New(f.typ).Elem(), f, mode{})
				if d.faults.total > 0 {
					t.Errorf("%v.%s: default: %s", typ, f.name, d.faults.faults[0].Message)
				}
			}
			if e := element(f.typ); e.Kind() == reflect.Struct && !isText(e) {
				check(e)
			}
		}
	}
	check(reflect.TypeFor[Desired]())
	if len(seen) < 15 {
		t.Errorf("only %d types were found", len(seen))
	}
}

func TestLimitsAreTheEngines(t *testing.T) {
	for _, c := range []struct {
		typ  reflect.Type
		name string
		want int64
	}{
		{reflect.TypeFor[Settings](), "flows", relay.MaxFlows},
		{reflect.TypeFor[relay.Flow](), "outputs", relay.MaxOutputs},
	} {
		fields := newFields().of(c.typ)
		i := slices.IndexFunc(fields, func(f field) bool { return f.name == c.name })
		if i < 0 || fields[i].items.max != c.want {
			t.Errorf("the tags of %v allow another number of %s than %d", c.typ, c.name, c.want)
		}
	}
}

// TestHostileDocuments are as large as a document may be, and cost no more
// memory than a box can spare.
func TestHostileDocuments(t *testing.T) {
	fill := func(head, part, tail string) []byte {
		n := (MaxDocument - len(head) - len(tail)) / len(part)
		return []byte(head + strings.TrimSuffix(strings.Repeat(part, n), ",") + tail)
	}
	for name, raw := range map[string][]byte{
		"flows":   fill(`{"schema":"sluice.config/v1","version":1,"state":{"flows":[`, `{},`, `]}}`),
		"outputs": fill(`{"schema":"sluice.config/v1","version":1,"state":{"flows":[{"outputs":[`, `0,`, `]}]}}`),
		"names":   fill(`{"schema":"sluice.config/v1","version":1,"state":{`, `"":0,`, `}}`),
		"objects": fill(`{"schema":"sluice.config/v1","version":1,"state":{"flows":[{"outputs":[`, `{"a":{}},`, `]}]}}`),
		"allow":   fill(`{"schema":"sluice.config/v1","version":1,"state":{"flows":[{"outputs":[{"allow":"`, `;`, `"}]}]}}`),
	} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err := Parse(raw, Options{})
		runtime.ReadMemStats(&after)
		var faults *Faults
		if !errors.As(err, &faults) || len(faults.Errors) > maxFaults {
			t.Errorf("%s: %T", name, err)
		}
		if mb := (after.TotalAlloc - before.TotalAlloc) >> 20; mb > 128 {
			t.Errorf("%s: %d MB were allocated", name, mb)
		}
	}
}
