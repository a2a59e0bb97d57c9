package provisioning

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"sluice/device/control"
	"sluice/device/uplink"
	"sluice/provisioning/config"
	"sluice/provisioning/store"
	"sluice/relay/relaytest"
)

// Version 7 of the fleet is in force; every other document gets its exact
// answer, and changes what it should.
func TestVersionRules(t *testing.T) {
	owned := func(state string) string {
		return `{"schema":"sluice.config/v1","version":8,"client_token":"t8","state":` + state + `}`
	}
	conflict := func(version, pointer, message string) string {
		return `{"client_token":"t` + version + `","code":409,"current_version":7,"errors":[{"code":"InvalidParameter.State","message":"` + message +
			`","pointer":"` + pointer + `"}],"message":"` + message + `","version":` + version + `}`
	}
	cases := []struct {
		name, document  string
		topic, answer   string
		version         float64 // in force afterwards
		desired         float64 // seen afterwards
		appliedTo, told int     // documents given to the Engine; answers
	}{
		{
			name: "the same again", document: document(7, "a", ""), topic: "config/accepted",
			answer: `{"client_token":"t7","status":"unchanged","version":7}`, version: 7, desired: 7,
		},
		{
			name: "the same, spaced otherwise", document: strings.ReplaceAll(document(7, "a", ""), ",", " ,\n"), topic: "config/accepted",
			answer: `{"client_token":"t7","status":"unchanged","version":7}`, version: 7, desired: 7,
		},
		{
			name: "the same, with a base_version that was in force before it", document: document(7, "a", `"base_version":6,`), topic: "config/accepted",
			answer: `{"client_token":"t7","status":"unchanged","version":7}`, version: 7, desired: 7,
		},
		{
			name: "the same version, another content", document: document(7, "b", ""), topic: "config/rejected",
			answer: conflict("7", "/version", "version 7 is in force with another content: publish a higher version"), version: 7, desired: 7,
		},
		{
			name: "a lower version", document: document(6, "b", ""), topic: "config/rejected",
			answer: conflict("6", "/version", "version 6 is below 7, which is in force: publish a higher version"), version: 7, desired: 6,
		},
		{
			name: "a lower version, the same content", document: document(6, "a", ""), topic: "config/rejected",
			answer: conflict("6", "/version", "version 6 is below 7, which is in force: publish a higher version"), version: 7, desired: 6,
		},
		{
			name: "the next", document: document(8, "b", ""), topic: "config/accepted",
			answer: `{"client_token":"t8","status":"applied","version":8}`, version: 8, desired: 8, appliedTo: 1,
		},
		{
			name: "a higher version, the same content", document: document(900, "a", ""), topic: "config/accepted",
			answer: `{"client_token":"t900","status":"applied","version":900}`, version: 900, desired: 900, appliedTo: 1,
		},
		{
			name: "the right base", document: document(8, "b", `"base_version":7,`), topic: "config/accepted",
			answer: `{"client_token":"t8","status":"applied","version":8}`, version: 8, desired: 8, appliedTo: 1,
		},
		{
			name: "an older base", document: document(8, "b", `"base_version":6,`), topic: "config/rejected",
			answer:  conflict("8", "/base_version", "base_version is 6, and version 7 is in force: read that one and edit it"),
			version: 7, desired: 8,
		},
		{
			name: "a base yet to come", document: document(9, "b", `"base_version":8,`), topic: "config/rejected",
			answer:  conflict("9", "/base_version", "base_version is 8, and version 7 is in force: read that one and edit it"),
			version: 7, desired: 9,
		},
		{
			name: "what the command line owns", document: owned(`{"device":{"management":{"uplinks":["wan0"]}},"uplinks":[{"name":"wan0","match":{"interface":"eth7"}},{"name":"lan0","match":{"interface":"eth9"}}]}`),
			topic: "config/rejected",
			answer: `{"client_token":"t8","code":403,"current_version":7,"errors":[` +
				`{"code":"OperationDenied","message":"the command line gives lan0 to interface lo: leave match out, or give the same","pointer":"/state/uplinks/1/match"},` +
				`{"code":"OperationDenied","message":"the command line reaches the broker through [lan0]: leave uplinks out, or give the same","pointer":"/state/device/management/uplinks"}],` +
				`"message":"the command line of the box owns what the document would change","version":8}`, version: 7, desired: 8,
		},
		{
			name: "another role on a NIC of the command line", document: owned(`{"uplinks":[{"name":"wan0","match":{"interface":"lo"}}]}`),
			topic: "config/rejected",
			answer: `{"client_token":"t8","code":403,"current_version":7,"errors":[` +
				`{"code":"OperationDenied","message":"the command line gives interface lo to lan0: give wan0 another NIC","pointer":"/state/uplinks/0/match"}],` +
				`"message":"the command line of the box owns what the document would change","version":8}`, version: 7, desired: 8,
		},
		{
			name: "what the command line owns, unchanged", document: owned(`{"device":{"management":{"uplinks":["lan0"]}},"uplinks":[{"name":"lan0"}]}`),
			topic: "config/accepted", answer: `{"client_token":"t8","status":"applied","version":8}`, version: 8, desired: 8, appliedTo: 1,
		},
		{
			name: "faults", document: strings.Replace(document(8, "", ""), `"port":9100`, `"port":0`, 1), topic: "config/rejected",
			answer: "", version: 7, desired: 8,
		},
		{name: "not JSON", document: `{"version":8,`, topic: "config/rejected", answer: "", version: 7},
		{
			name: "too large", document: `{"x":"` + strings.Repeat("x", config.MaxDocument) + `"}`, topic: "config/rejected",
			answer: `{"code":413,"current_version":7,"errors":[{"code":"InvalidParameter","message":"the document has 262152 bytes: use at most 262144","pointer":""}],` +
				`"message":"the document has 262152 bytes: use at most 262144"}`, version: 7, desired: 7,
		},
		{name: "empty", document: "", version: 7, desired: 7},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := startBox(t, "", func(o *Options) {
					o.LocalUplinks = []uplink.Local{{Name: "lan0", Interface: "lo"}}
					o.BrokerUplinks = []string{"lan0"}
				})
				b.publish(document(7, "a", ""))
				if got := timeless(b.fleet.last("config/accepted")); got != `{"client_token":"t7","status":"applied","version":7}` {
					t.Fatalf("version 7: %s", got)
				}
				before := b.engine.count()
				told := len(b.fleet.on("config/accepted")) + len(b.fleet.on("config/rejected"))
				b.publishLater(c.document)

				answers := len(b.fleet.on("config/accepted")) + len(b.fleet.on("config/rejected")) - told
				if want := 1; c.document != "" && answers != want || c.document == "" && answers != 0 {
					t.Errorf("%d answers", answers)
				}
				if c.topic != "" {
					got := timeless(b.fleet.last(c.topic))
					if c.answer != "" && got != c.answer {
						t.Errorf("answer\n%s\nwant\n%s", got, c.answer)
					}
					if c.answer == "" && (field(t, got, "code") != 400.0 || field(t, got, "errors", 0) == nil) {
						t.Errorf("answer %s", got)
					}
				}
				if n := b.engine.count() - before; n != c.appliedTo {
					t.Errorf("the Engine was given %d documents, want %d", n, c.appliedTo)
				}
				reported := b.fleet.last("config/reported")
				if v := field(t, reported, "version"); v != c.version {
					t.Errorf("version %v in force", v)
				}
				if d := field(t, reported, "desired_version"); c.desired != 0 && d != c.desired {
					t.Errorf("desired_version %v, want %v", d, c.desired)
				}
			})
		})
	}
}

// Of documents that come faster than one a second, the newest is applied when
// its turn comes, and those that it overtook are told so.
func TestOneApplyASecondNewestWins(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := startBox(t, "", nil)
		began := time.Now()
		for v := 1; v <= 5; v++ {
			b.publish(document(v, "a", ""))
		}
		if n := b.engine.last().Flows[0].Outputs[0]; b.engine.count() != 2 || n.Name != "a" { // the empty one at start, and 1
			t.Fatalf("%d applied", b.engine.count())
		}
		time.Sleep(990 * time.Millisecond)
		synctest.Wait()
		if b.engine.count() != 2 {
			t.Fatal("the second was applied within a second of the first")
		}
		time.Sleep(20 * time.Millisecond)
		synctest.Wait()
		var got []string
		for _, m := range b.fleet.on("config/accepted") {
			got = append(got, timeless(m.body))
		}
		want := []string{
			`{"client_token":"t1","status":"applied","version":1}`,
			`{"client_token":"t2","status":"superseded","version":2}`,
			`{"client_token":"t3","status":"superseded","version":3}`,
			`{"client_token":"t4","status":"superseded","version":4}`,
			`{"client_token":"t5","status":"applied","version":5}`,
		}
		if !slices.Equal(got, want) {
			t.Errorf("answers\n%s", strings.Join(got, "\n"))
		}
		accepted := b.fleet.on("config/accepted")
		if d := accepted[4].at.Sub(began); d != time.Second {
			t.Errorf("the newest was applied after %v", d)
		}
		// What is refused or unchanged costs no turn.
		time.Sleep(time.Second)
		b.publish(document(5, "a", ""))
		b.publish(document(4, "a", ""))
		b.publish(document(6, "b", ""))
		if b.inForce.Load().version() != 6 {
			t.Error("version 6 had to wait for documents that were not applied")
		}
	})
}

// What is in force survives everything: restarts with and without a broker,
// the same document again, and its absence.
func TestRemembersWithoutBroker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := startBox(t, "", nil)
		b.publish(document(7, "wall", ""))
		reported := timeless(b.fleet.last("config/reported"))
		b.stop()

		b = startBox(t, b.dir, func(o *Options) { o.Broker = nil })
		if b.engine.count() != 1 || b.engine.last().Flows[0].Outputs[0].Name != "wall" {
			t.Fatalf("the Engine was given %+v", b.engine.applied)
		}
		if len(b.uplinks.set) != 1 || b.uplinks.set[0].Name != "lan0" {
			t.Errorf("uplinks %+v", b.uplinks.set)
		}
		if got := timeless(b.fleet.last("config/reported")); got != reported {
			t.Errorf("reported\n%s\nbefore the restart\n%s", got, reported)
		}
		b.publish(document(7, "wall", ""))
		if got := timeless(b.fleet.last("config/accepted")); got != `{"client_token":"t7","status":"unchanged","version":7}` {
			t.Errorf("the same document again: %s", got)
		}
		b.publish("")
		if b.engine.count() != 1 {
			t.Errorf("the Engine was disturbed: %d documents", b.engine.count())
		}
		b.stop()

		b = startBox(t, b.dir, nil)
		if b.engine.count() != 1 || b.engine.last().Flows[0].Outputs[0].Name != "wall" {
			t.Error("a second restart forgot it")
		}
	})
}

// failingStore cannot be written while it fails.
type failingStore struct {
	*store.Store
	fail  atomic.Bool
	saves atomic.Int64 // that were tried
}

func (s *failingStore) Save(r store.Record) error {
	s.saves.Add(1)
	if s.fail.Load() {
		return errors.New("no space left on device")
	}
	return s.Store.Save(r)
}

func TestWhatCannotBeStoredDoesNotComeIntoForce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s *failingStore
		b := startBox(t, "", func(o *Options) {
			s = &failingStore{Store: o.Store.(*store.Store)}
			o.Store = s
		})
		b.publish(document(1, "a", ""))
		s.fail.Store(true)
		b.publishLater(document(2, "b", ""))
		want := `{"client_token":"t2","code":507,"current_version":1,"errors":[],"message":"the state directory cannot be written: nothing was changed","version":2}`
		if got := timeless(b.fleet.last("config/rejected")); got != want {
			t.Errorf("answer\n%s\nwant\n%s", got, want)
		}
		if b.engine.count() != 2 || b.engine.last().Flows[0].Outputs[0].Name != "a" {
			t.Error("it came into force")
		}
		s.fail.Store(false)
		b.publishLater(document(2, "b", ""))
		if b.engine.last().Flows[0].Outputs[0].Name != "b" {
			t.Error("it did not come into force once it could be stored")
		}
	})
}

// A damaged newest document gives way to the one before it, and the box says
// so until something is stored again.
func TestStoreFallbackIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := startBox(t, "", nil)
		b.publish(document(1, "a", ""))
		b.publishLater(document(2, "b", ""))
		b.stop()
		files, err := filepath.Glob(filepath.Join(b.dir, "config-*"))
		if err != nil || len(files) != 2 {
			t.Fatal(files, err)
		}
		if err := os.Truncate(files[1], 100); err != nil {
			t.Fatal(err)
		}

		b = startBox(t, b.dir, nil)
		if b.engine.last().Flows[0].Outputs[0].Name != "a" {
			t.Fatal("the one before it is not in force")
		}
		event := b.fleet.on("event")[0].body
		if field(t, event, "type") != "store_fallback" || field(t, event, "severity") != "error" || field(t, event, "data", "version") != 1.0 {
			t.Errorf("event %s", event)
		}
		if got := field(t, b.fleet.last("state"), "alarms", 0, "code"); got != "store_fallback" {
			t.Errorf("state %s", b.fleet.last("state"))
		}
		b.publishLater(document(2, "b", "")) // it comes again, retained
		time.Sleep(2 * time.Second)
		if b.engine.last().Flows[0].Outputs[0].Name != "b" {
			t.Error("the fleet's document did not come into force again")
		}
		if got := field(t, b.fleet.last("state"), "alarms", 0); got != nil {
			t.Errorf("the alarm stands: %v", got)
		}
	})
}

func TestLocalEdits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := startBox(t, "", nil)
		fleets := strings.Replace(document(7, "a", ""), `"port":9100`, `"port":9100,"passphrase":"planted-passphrase"`, 1)
		b.publish(fleets)

		// What is read is edited and sent back; the secret stays what it was.
		body, _ := b.Document("desired")
		edited := strings.Replace(string(body), `"name":"a"`, `"name":"b"`, 1)
		edited = strings.Replace(edited, `"version":7`, `"base_version":7`, 1)
		status, answer := b.edit(edited)
		if status != 200 || answer != `{"status":"applied","version":8}` {
			t.Fatalf("%d %s", status, answer)
		}
		out := b.engine.last().Flows[0].Outputs[0]
		if out.Name != "b" || out.SRT.Passphrase.Reveal() != "planted-passphrase" {
			t.Errorf("in force: %q with passphrase set %t", out.Name, out.SRT.Passphrase.IsSet())
		}
		reported := b.fleet.last("config/reported")
		if field(t, reported, "origin") != "local" || field(t, reported, "version") != 8.0 || field(t, reported, "desired_version") != 8.0 {
			t.Errorf("reported %s", reported)
		}
		event := b.fleet.last("event")
		if field(t, event, "type") != "local_edit" || field(t, event, "data", "uid") != 1000.0 || field(t, event, "data", "pid") != 42.0 {
			t.Errorf("event %s", event)
		}

		// Another edit of what was read then: its base is no longer in force.
		late := strings.Replace(edited, `"name":"b"`, `"name":"c"`, 1)
		if status, answer = b.edit(late); status != 409 || field(t, answer, "errors", 0, "pointer") != "/base_version" {
			t.Errorf("%d %s", status, answer)
		}
		// The same edit again is in force already.
		if status, answer = b.edit(edited); status != 200 || answer != `{"status":"unchanged","version":8}` {
			t.Errorf("%d %s", status, answer)
		}
		if status, answer = b.edit(`{"schema":"sluice.config/v1","state":{"flows":[{}]}}`); status != 400 || field(t, answer, "current_version") != 8.0 {
			t.Errorf("%d %s", status, answer)
		}

		// The fleet's retained document comes again, and must be higher.
		b.publishLater(fleets)
		if got := b.fleet.last("config/rejected"); field(t, got, "code") != 409.0 || field(t, got, "current_version") != 8.0 {
			t.Errorf("answer %s", got)
		}
		reported = b.fleet.last("config/reported")
		if field(t, reported, "version") != 8.0 || field(t, reported, "desired_version") != 7.0 {
			t.Errorf("reported %s", reported)
		}
		b.publishLater(document(9, "c", ""))
		if field(t, b.fleet.last("config/reported"), "origin") != "fleet" {
			t.Error("a higher version of the fleet was not taken")
		}
	})
}

func TestLocalEditGivenUpAndTooMany(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := startBox(t, "", nil)
		b.publish(document(1, "a", "")) // takes the slot
		given, cancel := context.WithCancel(context.Background())
		statuses := make(chan int, maxEdits+2)
		send := func(ctx context.Context, doc string) {
			status, _ := b.Apply(ctx, []byte(doc), control.Caller{})
			statuses <- status
		}
		go send(given, document(0, "given up", ""))
		synctest.Wait()
		cancel()
		if s := <-statuses; s != 408 {
			t.Errorf("given up: %d", s)
		}
		for range maxEdits - 1 {
			go send(context.Background(), document(0, "b", ""))
		}
		synctest.Wait()
		go send(context.Background(), document(0, "one too many", ""))
		if s := <-statuses; s != codeTooMany {
			t.Errorf("one too many: %d", s)
		}
		for range maxEdits - 1 {
			if s := <-statuses; s != 200 {
				t.Errorf("waiting: %d", s)
			}
		}
		if b.inForce.Load().version() != 2 { // all the same content
			t.Errorf("version %d", b.inForce.Load().version())
		}
	})
}

// A document close to the limit grows when its defaults are written out, and
// must still be read at the next start.
func TestLargestDocumentIsRemembered(t *testing.T) {
	relaytest.TakesSeconds(t)
	synctest.Test(t, func(t *testing.T) {
		var flows []string
		size := 0
		for f := 0; size < config.MaxDocument-9000; f++ {
			var outputs []string
			for o := range 50 {
				n := string(rune('a'+o%26)) + string(rune('a'+o/26))
				outputs = append(outputs, `{"id":"`+n+`","name":"`+n+`","protocol":"SRT","srt":{"mode":"caller","destinations":[{"host":"h","port":1}]}}`)
			}
			id := string(rune('a'+f%26)) + string(rune('a'+f/26))
			flow := `{"id":"` + id + `","name":"n","inputs":[{"id":"i","protocol":"SRT","srt":{"mode":"caller","destinations":[{"host":"h","port":1}]}}],"outputs":[` + strings.Join(outputs, ",") + `]}`
			flows = append(flows, flow)
			size += len(flow)
		}
		raw := `{"schema":"sluice.config/v1","version":1,"state":{"uplinks":[{"name":"lan0","match":{"interface":"lo"},"default":true}],"flows":[` + strings.Join(flows, ",") + `]}}`
		b := startBox(t, "", nil)
		b.publish(raw)
		if got := b.fleet.last("config/accepted"); got == "" {
			t.Fatalf("%d bytes: %s", len(raw), b.fleet.last("config/rejected"))
		}
		if doc := b.inForce.Load().document; len(stored(t, doc)) <= config.MaxDocument {
			t.Fatalf("the stored document has only %d bytes", len(stored(t, doc)))
		}
		b.stop()
		b = startBox(t, b.dir, nil)
		if n := len(b.engine.last().Flows); n != len(flows) {
			t.Errorf("%d of %d flows were remembered", n, len(flows))
		}
	})
}

func stored(t *testing.T, d *config.Document) []byte {
	t.Helper()
	b, err := d.Stored()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestReadEnvelope(t *testing.T) {
	for raw, want := range map[string]envelope{
		`{"version":7,"client_token":"t"}`: {7, "t"},
		`{"version":"7","client_token":5}`: {},
		`{"version":-1}`:                   {},
		`{"version":7`:                     {},
		`[]`:                               {},
		``:                                 {},
		`{"version":3,"client_token":"` + strings.Repeat("x", 65) + `"}`: {Version: 3},
	} {
		if got := readEnvelope([]byte(raw)); got != want {
			t.Errorf("%s: %+v", raw, got)
		}
	}
}
