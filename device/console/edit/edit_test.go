package edit

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// schemaFile is the JSON Schema that the box serves; a test of
// provisioning/config holds it to the code.
const schemaFile = "../../../docs/config.schema.json"

func load(t testing.TB) *Schema {
	t.Helper()
	raw, err := os.ReadFile(schemaFile)
	if err != nil {
		t.Fatal(err)
	}
	s, err := Load(raw)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func parse(t testing.TB, document string) *Tree {
	t.Helper()
	tree, err := load(t).Parse([]byte(document))
	if err != nil {
		t.Fatal(err)
	}
	return tree
}

// set types lines into a tree.
func set(t testing.TB, tree *Tree, lines ...string) {
	t.Helper()
	for _, l := range lines {
		if _, err := tree.Set(strings.Fields(l)...); err != nil {
			t.Fatalf("set %s: %v", l, err)
		}
	}
}

func show(t testing.TB, tree *Tree, path ...string) string {
	t.Helper()
	lines, err := tree.Show(path...)
	if err != nil {
		t.Fatalf("show %v: %v", path, err)
	}
	return strings.Join(lines, "\n")
}

// A document that is typed line by line is one that the schema accepts, and
// says what was typed.
func TestTypedDocument(t *testing.T) {
	tree := parse(t, `{}`)
	set(t, tree,
		"device hostname ob-van-3",
		"device management uplinks wan0 wan1",
		"uplinks lan0 match interface eth0",
		"uplinks wan0 match mac 02:00:5e:00:00:02",
		"uplinks wan0 default true",
		"uplinks wan1 match path pci-0000:02:00.0",
		"uplinks wan1 addresses 192.0.2.9/24",
		"uplinks wan1 gateway4 192.0.2.1",
		"uplinks wan1 nameservers 192.0.2.53 2001:db8::53",
		"regions ap-seoul wan0",
		"flows stage name Stage",
		"flows stage inputs enc-a protocol srt",
		"flows stage inputs enc-a uplink lan0",
		"flows stage inputs enc-a allow 10.0.0.0/8;192.0.2.7 203.0.113.0/28",
		"flows stage inputs enc-a srt mode listener",
		"flows stage inputs enc-a srt port 9000",
		"flows stage outputs hub name Hub",
		"flows stage outputs hub protocol SRT",
		"flows stage outputs hub region ap-seoul",
		"flows stage outputs hub srt mode caller",
		"flows stage outputs hub srt destinations 1 host hub.example.com",
		"flows stage outputs hub srt destinations 1 port 7000",
		"flows stage outputs hub srt latency_ms 200",
		"flows stage outputs players name Players",
		"flows stage outputs players protocol RTMP_PULL",
		"flows stage outputs players rtmp",
	)
	if err := tree.SetSecret(strings.Fields("flows stage outputs hub srt passphrase"), "battery staple"); err != nil {
		t.Fatal(err)
	}
	raw, err := tree.Document()
	if err != nil {
		t.Fatal(err)
	}
	const want = `{"schema": "sluice.config/v1", "secrets": {"console-1": "battery staple"}, "state": {
		"device": {"hostname": "ob-van-3", "management": {"uplinks": ["wan0", "wan1"]}},
		"uplinks": [
			{"name": "lan0", "match": {"interface": "eth0"}},
			{"name": "wan0", "match": {"mac": "02:00:5e:00:00:02"}, "default": true},
			{"name": "wan1", "match": {"path": "pci-0000:02:00.0"}, "addresses": ["192.0.2.9/24"], "gateway4": "192.0.2.1",
			 "nameservers": ["192.0.2.53", "2001:db8::53"]}],
		"regions": {"ap-seoul": "wan0"},
		"flows": [{"id": "stage", "name": "Stage",
			"inputs": [{"id": "enc-a", "protocol": "SRT", "uplink": "lan0", "allow": ["10.0.0.0/8", "192.0.2.7", "203.0.113.0/28"],
				"srt": {"mode": "listener", "port": 9000}}],
			"outputs": [
				{"id": "hub", "name": "Hub", "protocol": "SRT", "region": "ap-seoul", "srt": {"mode": "caller",
				 "destinations": [{"host": "hub.example.com", "port": 7000}], "latency_ms": 200, "passphrase": {"secret": "console-1"}}},
				{"id": "players", "name": "Players", "protocol": "RTMP_PULL", "rtmp": {}}]}]}}`
	var is, should any
	if err := json.Unmarshal(raw, &is); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal([]byte(want), &should); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(is, should) {
		t.Errorf("got %s", raw)
	}
	if err := validator(t).Validate(is); err != nil {
		t.Errorf("the schema refuses it: %v", err)
	}
	const text = `device
    hostname ob-van-3
    management
        uplinks wan0 wan1
uplinks lan0
    match
        interface eth0
uplinks wan0
    match
        mac 02:00:5e:00:00:02
    default true
uplinks wan1
    match
        path pci-0000:02:00.0
    addresses 192.0.2.9/24
    gateway4 192.0.2.1
    nameservers 192.0.2.53 2001:db8::53
regions ap-seoul wan0
flows stage
    name Stage
    inputs enc-a
        protocol SRT
        uplink lan0
        allow 10.0.0.0/8 192.0.2.7 203.0.113.0/28
        srt
            mode listener
            port 9000
    outputs hub
        name Hub
        region ap-seoul
        protocol SRT
        srt
            mode caller
            destinations 1
                host hub.example.com
                port 7000
            latency_ms 200
            passphrase (set)
    outputs players
        name Players
        protocol RTMP_PULL
        rtmp`
	if got := show(t, tree); got != text {
		t.Errorf("shown as\n%s", got)
	}
	if got := show(t, tree, "flows", "stage", "outputs", "hub", "srt", "destinations"); got != "destinations 1\n    host hub.example.com\n    port 7000" {
		t.Errorf("the destinations are shown as\n%s", got)
	}
}

func validator(t testing.TB) *jsonschema.Schema {
	t.Helper()
	raw, err := os.ReadFile(schemaFile)
	if err != nil {
		t.Fatal(err)
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("urn:sluice:config:v1", doc); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile("urn:sluice:config:v1")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

const stage = `{"state": {
	"uplinks": [{"name": "lan0", "match": {"interface": "eth0"}}, {"name": "wan0", "addresses": ["192.0.2.9/24", "192.0.2.10/24"]}],
	"regions": {"eu": "wan0"},
	"flows": [{"id": "stage", "name": "Main stage", "inputs": [{"id": "enc", "protocol": "SRT", "srt": {"mode": "listener", "port": 9000}}],
		"outputs": [
			{"id": "hub", "name": "hub", "protocol": "SRT", "srt": {"mode": "caller", "destination_mode": "backup",
			 "destinations": [{"host": "a.example.com", "port": 7000}, {"host": "b.example.com", "port": 7000}], "passphrase": {"set": true}}},
			{"id": "cdn", "name": "cdn", "protocol": "RTMP_PUSH", "rtmp": {"destinations": [{"url": "rtmp://a.example.com/app", "stream_key": {"set": true}}]}}
		]}]}}`

// What cannot be set changes nothing, and the sentence says what to use.
func TestSetRefuses(t *testing.T) {
	const hub, cdn = "flows stage outputs hub ", "flows stage outputs cdn "
	for _, c := range []struct {
		line string
		word int
		want string
	}{
		{"", 0, "say what: a path and its value, such as device hostname ob-van-3"},
		{"devise hostname a", 0, `there is no field "devise": did you mean device?`},
		{"nothing", 0, `there is no field "nothing": use device, uplinks, regions or flows`},
		{"device", -1, ""},
		{"device hostname", 2, "hostname needs a value"},
		{"device hostname a_b", 2, `hostname is "a_b": use letters, digits and - between them`},
		{"device hostname " + strings.Repeat("a", 64), 2, "hostname has 64 characters: use 1 to 63"},
		{"device hostname a b", 3, `hostname takes one value: use quotes, "a b"`},
		{"device management uplinks a b c d e f g h i", 3, "uplinks has 9 values: use 1 to 8"},
		{"uplinks", 1, "say which of uplinks: its name"},
		{"uplinks wan/0 default true", 1, `name is "wan/0": use 1 to 32 of A-Z, a-z, 0-9, _ and -`},
		{"uplinks wan0 name wan1", 3, "name is what the uplink is called by: make another one, and delete this"},
		{"uplinks wan0 default maybe", 3, `default is "maybe": use true or false`},
		{"uplinks wan0 addresses 192.0.2.9", 3, `addresses is "192.0.2.9": use an IP address with its prefix length, such as 192.0.2.9/24`},
		{"uplinks wan0 addresses 192.0.2.9/24 x", 4, `addresses is "x": use an IP address with its prefix length, such as 192.0.2.9/24`},
		{"uplinks wan0 gateway4 router", 3, `gateway4 is "router": use an IP address`},
		{"uplinks wan0 d", 2, `"d" is short for default and dhcp4: type more of it`},
		{"regions", 1, "say which of regions: its name, then its value"},
		{"regions a/b wan0", 1, `region is "a/b": use 1 to 64 of A-Z, a-z, 0-9, _, . and -`},
		{"flows stage inputs third protocol SRT", -1, ""},
		{hub + "allow 10.0.0.0/8 ten", 6, `allow is "ten": use a CIDR prefix such as 203.0.113.0/28`},
		{hub + "allow ;", 5, "allow needs values, with a space between them"},
		{hub + "max_viewers 201", 5, "max_viewers is 201: use 1 to 200"},
		{hub + "max_viewers many", 5, `max_viewers is "many": use a whole number, 1 to 200`},
		{hub + "max_viewers", 5, "max_viewers needs a value: use 1 to 200"},
		{hub + "protocol UDP", 5, `protocol is "UDP": use SRT, RTMP, RTMP_PUSH, RTMP_PULL, RTP or RTSP`},
		{hub + "playback_urls a", 4, "playback_urls is only reported: it cannot be set"},
		{hub + "srt port 9000", 5, "port belongs to mode listener: mode is caller"},
		{hub + "rtmp port 9000", 4, "rtmp belongs to protocol RTMP, RTMP_PUSH or RTMP_PULL: protocol is SRT"},
		{hub + "srt key_length 20", 6, `key_length is "20": use 16, 24 or 32`},
		{hub + "srt latency 200", -1, ""},
		{hub + "srt lateny_ms 200", 5, `there is no field "lateny_ms": did you mean latency_ms?`},
		{hub + "srt passphrase open-sesame", 6, "passphrase is a secret, and is not typed in a line: end the line after passphrase, and it is asked for"},
		{hub + "srt destinations 3 host c", 6, `there is no destination "3": there can be 2, called 1 to 2`},
		{hub + "srt destinations", 6, "say which of destinations: 1, 2 ..."},
		{cdn + "rtmp destinations 3 url rtmp://c/app", 6, `there is no destination "3": the next is 2`},
		{cdn + "rtmp app live", 5, `there is no field "app": use destinations, destination_mode, enhanced or chunk_size`},
		{"flows stage outputs new rtmp port 9000", 4, "rtmp cannot be set yet: set the protocol or mode of its object first"},
	} {
		tree := parse(t, stage)
		before := show(t, tree)
		change, err := tree.Set(strings.Fields(c.line)...)
		if c.want == "" {
			if err != nil {
				t.Errorf("%s: %v", c.line, err)
			}
			continue
		}
		var fault *Error
		if !errors.As(err, &fault) || fault.Message != c.want || fault.Word != c.word {
			t.Errorf("%s: got %d %v (%+v), want %d %s", c.line, wordOf(err), err, change, c.word, c.want)
		}
		if after := show(t, tree); after != before {
			t.Errorf("%s: it is refused, and changes the document to\n%s", c.line, after)
		}
	}
}

func wordOf(err error) int {
	var fault *Error
	if errors.As(err, &fault) {
		return fault.Word
	}
	return -1
}

// As many items as there can be are made, and no more.
func TestItemsAreCounted(t *testing.T) {
	tree := parse(t, stage)
	set(t, tree, "flows stage inputs two protocol SRT", "flows stage outputs cdn rtmp destinations 2 url rtmp://b.example.com/app")
	_, err := tree.Set(strings.Fields("flows stage inputs three protocol SRT")...)
	if err == nil || err.Error() != "inputs has 2 already: that is as many as there can be" || wordOf(err) != 3 {
		t.Errorf("a third input: %v", err)
	}
	if got := tree.Names("flows", "stage", "inputs"); !slices.Equal(got, []string{"enc", "two"}) {
		t.Errorf("inputs are %v", got)
	}
}

// Fields may be shortened, and values of a choice; names of items may not.
func TestShortWords(t *testing.T) {
	tree := parse(t, stage)
	set(t, tree, "fl stage out hub sr lat 300", "fl stage out hub srt mode list", "fl stage out hu name other")
	for path, want := range map[string]string{
		"flows stage outputs hub srt latency_ms": "300",
		"flows stage outputs hub srt mode":       "listener",
		"flows stage outputs hu name":            "other",
	} {
		if got := tree.Values(strings.Fields(path)...); !slices.Equal(got, []string{want}) {
			t.Errorf("%s is %q, want %s", path, got, want)
		}
	}
}

// A change of mode takes out what belonged to the mode before, and says so.
func TestModeTakesOut(t *testing.T) {
	tree := parse(t, stage)
	change, err := tree.Set(strings.Fields("flows stage outputs hub srt mode listener")...)
	if err != nil {
		t.Fatal(err)
	}
	var removed []string
	for _, p := range change.Removed {
		removed = append(removed, strings.Join(p, " "))
	}
	if want := []string{"flows stage outputs hub srt destination_mode", "flows stage outputs hub srt destinations"}; !slices.Equal(removed, want) {
		t.Errorf("removed %q, want %q", removed, want)
	}
	if got := show(t, tree, "flows", "stage", "outputs", "hub", "srt"); got != "mode listener\npassphrase (set)" {
		t.Errorf("left is\n%s", got)
	}
	// Within an object that stays, too: destinations are of RTMP_PUSH.
	change, err = tree.Set(strings.Fields("flows stage outputs cdn protocol RTMP_PULL")...)
	if err != nil || len(change.Removed) != 1 || strings.Join(change.Removed[0], " ") != "flows stage outputs cdn rtmp destinations" {
		t.Errorf("removed %v, %v", change.Removed, err)
	}
	change, err = tree.Set(strings.Fields("flows stage outputs cdn protocol SRT")...)
	if err != nil || len(change.Removed) != 1 || strings.Join(change.Removed[0], " ") != "flows stage outputs cdn rtmp" {
		t.Errorf("removed %v, %v", change.Removed, err)
	}
}

func TestDelete(t *testing.T) {
	for _, c := range []struct {
		path, want string
		word       int
	}{
		{"uplinks wan0 addresses 192.0.2.9/24", "- uplinks wan0 addresses 192.0.2.9/24 192.0.2.10/24 -> 192.0.2.10/24", 0},
		{"uplinks wan0 addresses", "", 0},
		{"uplinks wan0", "", 0},
		{"regions eu", "", 0},
		{"regions", "", 0},
		{"flows stage outputs hub srt destinations 2", "", 0},
		{"flows stage outputs hub srt passphrase", "", 0},
		{"", "say what: a path, such as flows stage outputs wall", 0},
		{"uplinks wan1", `there is no uplink "wan1": did you mean wan0?`, 1},
		{"uplinks wan0 name", "name is what it is called by: delete uplinks wan0 instead", 2},
		{"uplinks wan0 gateway4", "gateway4 is not set", 2},
		{"uplinks wan0 addresses 192.0.2.99/24", `there is no value "192.0.2.99/24": did you mean 192.0.2.9/24?`, 3},
		{"flows stage outputs hub srt port", "port belongs to mode listener: mode is caller", 5},
		{"flows stage name x", "name has nothing below it", 3},
		{"uplinks w", `there is no uplink "w": use lan0 or wan0`, 1},
	} {
		tree := parse(t, stage)
		path := strings.Fields(c.path)
		_, err := tree.Delete(path...)
		if c.want == "" || strings.HasPrefix(c.want, "-") {
			if err != nil {
				t.Errorf("%s: %v", c.path, err)
			}
			if _, err := tree.Find(path); err == nil {
				t.Errorf("%s is still there", c.path)
			}
			if lines := Compare(parse(t, stage), tree); len(lines) == 0 {
				t.Errorf("%s: nothing is gone", c.path)
			}
			continue
		}
		if err == nil || err.Error() != c.want || wordOf(err) != c.word {
			t.Errorf("%s: got %d %v, want %d %s", c.path, wordOf(err), err, c.word, c.want)
		}
		if lines := Compare(parse(t, stage), tree); len(lines) != 0 {
			t.Errorf("%s: it is refused, and changes %q", c.path, lines)
		}
	}
	// The last of a list takes the list with it.
	tree := parse(t, stage)
	for _, p := range []string{"regions eu", "flows stage outputs hub", "flows stage outputs cdn"} {
		if _, err := tree.Delete(strings.Fields(p)...); err != nil {
			t.Fatal(err)
		}
	}
	raw, err := tree.Document()
	if err != nil || strings.Contains(string(raw), "outputs") || strings.Contains(string(raw), "regions") {
		t.Errorf("left is %s, %v", raw, err)
	}
}

func TestCompare(t *testing.T) {
	from, to := parse(t, stage), parse(t, stage)
	if lines := Compare(from, to); len(lines) != 0 {
		t.Errorf("the same differs by %q", lines)
	}
	set(t, to,
		"uplinks wan0 gateway4 192.0.2.1", "uplinks wan0 addresses 192.0.2.9/24", "regions us wan0",
		"flows stage outputs hub srt latency_ms 200", "flows stage outputs hub srt peer_idle_timeout_ms 5000",
		"flows stage outputs wall protocol SRT", "flows stage outputs wall srt mode listener")
	if err := to.SetSecret(strings.Fields("flows stage outputs hub srt passphrase"), "correct horse"); err != nil {
		t.Fatal(err)
	}
	if err := to.SetSecret(strings.Fields("flows stage outputs wall srt passphrase"), "battery staple"); err != nil {
		t.Fatal(err)
	}
	for _, p := range []string{"uplinks lan0", "flows stage outputs cdn"} {
		if _, err := to.Delete(strings.Fields(p)...); err != nil {
			t.Fatal(err)
		}
	}
	want := []string{
		"~ uplinks wan0 addresses 192.0.2.9/24 192.0.2.10/24 -> 192.0.2.9/24",
		"+ uplinks wan0 gateway4 192.0.2.1",
		"- uplinks lan0 match interface eth0",
		"+ regions us wan0",
		"+ flows stage outputs hub srt latency_ms 200",
		"~ flows stage outputs hub srt passphrase (set) -> (set anew)",
		"+ flows stage outputs wall protocol SRT",
		"+ flows stage outputs wall srt mode listener",
		"+ flows stage outputs wall srt passphrase (set)",
		"- flows stage outputs cdn name cdn",
		"- flows stage outputs cdn protocol RTMP_PUSH",
		"- flows stage outputs cdn rtmp destinations 1 url rtmp://a.example.com/app",
		"- flows stage outputs cdn rtmp destinations 1 stream_key (set)",
	}
	if got := Compare(from, to); !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	// A secret that the box keeps under a name is the one that it is.
	drafted := parse(t, strings.Replace(stage, `{"set": true}`, `{"secret": "draft-1"}`, 2))
	if got := Compare(parse(t, stage), drafted); len(got) != 0 {
		t.Errorf("secrets that the box named differ by %q", got)
	}
	// The order of inputs means something.
	a := parse(t, `{"state": {"flows": [{"id": "s", "inputs": [{"id": "a"}, {"id": "b"}]}]}}`)
	b := parse(t, `{"state": {"flows": [{"id": "s", "inputs": [{"id": "b"}, {"id": "a"}]}]}}`)
	if got := Compare(a, b); !slices.Equal(got, []string{"~ flows s inputs in the order a b -> b a"}) {
		t.Errorf("another order is %q", got)
	}
}

func TestSecrets(t *testing.T) {
	const passphrase = "flows stage outputs hub srt passphrase"
	path := strings.Fields(passphrase)
	tree := parse(t, stage)
	before := show(t, tree)
	change, err := tree.Set(path...)
	if err != nil || !change.Secret || strings.Join(change.Path, " ") != passphrase || show(t, tree) != before {
		t.Fatalf("got %+v, %v", change, err)
	}
	for value, want := range map[string]string{
		"tooshort": "passphrase has 8 characters: use 10 to 79",
		"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff": "passphrase is not a text that can be read",
	} {
		if err := tree.SetSecret(path, value); err == nil || err.Error() != want {
			t.Errorf("got %v, want %s", err, want)
		}
	}
	if err := tree.SetSecret(strings.Fields("device hostname"), "x"); err == nil || strings.Contains(err.Error(), `"x"`) {
		t.Errorf("a field that is no secret: %v", err)
	}
	for _, value := range []string{"correct horse", "battery staple"} {
		if err := tree.SetSecret(path, value); err != nil {
			t.Fatal(err)
		}
	}
	raw, err := tree.Document()
	if err != nil {
		t.Fatal(err)
	}
	var doc struct {
		Secrets map[string]any `json:"secrets"`
	}
	if err := json.Unmarshal(raw, &doc); err != nil || len(doc.Secrets) != 1 || doc.Secrets["console-2"] != "battery staple" {
		t.Errorf("secrets are %v, %v: the one that was replaced should be gone", doc.Secrets, err)
	}
	// What comes back from the box has no values, and what is kept stays.
	back := parse(t, strings.Replace(string(raw), `"battery staple"`, `{"set": true}`, 1))
	if _, err := back.Delete("uplinks", "lan0"); err != nil {
		t.Fatal(err)
	}
	if raw, err = back.Document(); err != nil || !strings.Contains(string(raw), `"secrets":{"console-2":{"set":true}}`) {
		t.Errorf("got %s, %v", raw, err)
	}
	// A document that was not redacted is not shown either.
	leak := parse(t, `{"state": {"flows": [{"id": "s", "outputs": [{"id": "o", "protocol": "SRT", "srt": {"passphrase": "correct horse", "pasphrase": "correct horse"}}]}]}}`)
	if text := show(t, leak) + strings.Join(Compare(back, leak), ""); strings.Contains(text, "horse") {
		t.Errorf("shown is %s", text)
	}
}

func TestPointer(t *testing.T) {
	tree := parse(t, stage)
	for pointer, want := range map[string]string{
		"/state/flows/0/outputs/1/rtmp/destinations/0/url": "flows stage outputs cdn rtmp destinations 1 url",
		"/state/flows/0/outputs/0/srt/key_length":          "flows stage outputs hub srt key_length",
		"/state/uplinks/1/addresses/1":                     "uplinks wan0 addresses 192.0.2.10/24",
		"/state/uplinks/7/name":                            "uplinks 8 name",
		"/state/regions/a~1b":                              "regions a/b",
		"/state/flows/x/y":                                 "flows x y",
		"/state":                                           "",
		"/version":                                         "",
		"":                                                 "",
	} {
		if got := strings.Join(tree.Pointer(pointer), " "); got != want {
			t.Errorf("%s is %q, want %q", pointer, got, want)
		}
	}
	line, at, width := tree.Line(strings.Fields("flows stage outputs cdn rtmp destinations 1 url"))
	if line != "flows stage outputs cdn rtmp destinations 1 url rtmp://a.example.com/app" || line[at:at+width] != "rtmp://a.example.com/app" {
		t.Errorf("%q: marked is %q", line, line[at:at+width])
	}
	if line, at, width = tree.Line([]string{"flows", "stage", "failover"}); line[at:at+width] != "failover" {
		t.Errorf("%q: marked is %q", line, line[at:at+width])
	}
	wide := parse(t, `{"state": {"regions": {"서울": "wan0"}}}`)
	if _, at, _ = wide.Line([]string{"regions", "서울"}); at != len("regions ")+4+1 {
		t.Errorf("wide characters: marked is column %d", at)
	}
	if line, _, _ := tree.Line(strings.Fields("flows stage outputs hub srt passphrase")); line != "flows stage outputs hub srt passphrase (set)" {
		t.Errorf("got %q", line)
	}
}

// What steers a terminal is not sent to one.
func TestShownIsClean(t *testing.T) {
	tree := parse(t, `{"state": {"regions": {"\u001b[2J": "\u0007"}, "flows": [{"id": "\u001b]0;x", "name": "a\u0000b\u009b"}], "un\u001bknown": "\u001b"}}`)
	text := show(t, tree) + strings.Join(Compare(parse(t, `{}`), tree), "") + strings.Join(Compare(tree, parse(t, `{}`)), "")
	if i := strings.IndexFunc(text, func(r rune) bool { return r < ' ' && r != '\n' || 0x7f <= r && r < 0xa0 }); i >= 0 {
		t.Errorf("a control character is shown: %q", text)
	}
	line, _, _ := tree.Line(tree.Pointer("/state/flows/0/name"))
	if strings.ContainsAny(line, "\x00\x1b") {
		t.Errorf("a control character is shown: %q", line)
	}
}

func TestLimits(t *testing.T) {
	s := load(t)
	if _, err := s.Parse(append([]byte("{}"), bytes.Repeat([]byte(" "), MaxDocument-1)...)); err == nil {
		t.Error("a document of more than 256 KiB is read")
	}
	if _, err := s.Parse([]byte(`{"state": {"x": ` + strings.Repeat("[", maxDepth) + strings.Repeat("]", maxDepth) + `}}`)); err == nil {
		t.Error("a document that is too deep is read")
	}
	if _, err := Load([]byte(strings.Repeat("[", maxNesting+1))); err == nil || !strings.Contains(err.Error(), "nests") {
		t.Errorf("a schema that is too deep: %v", err)
	}
	for name, raw := range map[string]string{
		"no state":      `{}`,
		"lost":          `{"properties": {"state": {"$ref": "#/$defs/x"}}}`,
		"in a circle":   `{"properties": {"state": {"$ref": "#/$defs/x"}}, "$defs": {"x": {"$ref": "#/$defs/x"}}}`,
		"not an object": `{"properties": {"state": {"type": "string"}}}`,
		"no pattern":    `{"properties": {"state": {"type": "object", "properties": {"a": {"type": "string", "pattern": "("}}}}}`,
	} {
		if _, err := Load([]byte(raw)); err == nil {
			t.Errorf("%s: the schema is taken", name)
		}
	}
	tree := parse(t, `{}`)
	if _, err := tree.Set(slices.Repeat([]string{"a"}, maxWords+1)...); err == nil || !strings.Contains(err.Error(), "words") {
		t.Errorf("a line of too many words: %v", err)
	}
	if _, err := tree.Set("device", "hostname", strings.Repeat("a", maxWord+1)); err == nil || !strings.Contains(err.Error(), "bytes") {
		t.Errorf("a word that is too long: %v", err)
	}
	// Most of it at once: each change that is taken writes all of it.
	name, value := strings.Repeat("n", 60), strings.Repeat("\u2028", 32)
	most := map[string]string{}
	for i := range MaxDocument / 280 {
		most[fmt.Sprintf("%s%04d", name, i)] = value
	}
	regions, err := json.Marshal(most)
	if err != nil {
		t.Fatal(err)
	}
	tree = parse(t, `{"state": {"regions": `+string(regions)+`}}`)
	for i := 0; ; i++ {
		if i == 1<<16 {
			t.Fatal("a document grows without end")
		}
		_, err := tree.Set("regions", fmt.Sprintf("%s.%03d", name, i), value)
		if err == nil {
			continue
		}
		if !strings.Contains(err.Error(), "use at most 262144") {
			t.Fatal(err)
		}
		break
	}
	if _, err := tree.Document(); err != nil {
		t.Errorf("the last change that was taken is too large: %v", err)
	}
}
