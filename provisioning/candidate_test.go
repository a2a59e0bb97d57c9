package provisioning

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sluice/device/control"
	"sluice/provisioning/config"
	"sluice/provisioning/store"
)

// draftOf is a candidate document with one output of that name, and what else
// its srt object is to hold.
func draftOf(output, more string) string {
	return fmt.Sprintf(`{"schema":"sluice.config/v1","state":{"uplinks":[{"name":"lan0","match":{"interface":"lo"},"default":true}],`+
		`"flows":[{"id":"f","name":"F","inputs":[{"id":"i","protocol":"RTP","rtp":{"port":5004}}],`+
		`"outputs":[{"id":"o","name":%q,"protocol":"SRT","srt":{"mode":"listener","port":9100%s}}]}]}}`, output, more)
}

// candidateIs returns the document candidate.
func (b *box) candidateIs(t *testing.T) (revision float64, changed bool, body string) {
	t.Helper()
	raw, _ := b.Document("candidate")
	changed, _ = field(t, string(raw), "changed").(bool)
	return field(t, string(raw), "revision").(float64), changed, string(raw)
}

// put changes the candidate and returns the status and the new revision.
func (b *box) put(t *testing.T, by control.Caller, revision int, document string) (int, int) {
	t.Helper()
	status, answer := b.local(by, "candidate-put", fmt.Sprintf(`{"revision":%d,"document":%s}`, revision, document))
	n, _ := field(t, answer, "data", "revision").(float64)
	return status, int(n)
}

// The box has one candidate: it is begun from what is in force, survives a
// restart, is committed as it is, and then it is gone.
func TestCandidate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := startBox(t, "", nil)
		b.publish(strings.Replace(document(7, "a", ""), `"port":9100`, `"port":9100,"passphrase":"planted-first"`, 1))
		by := control.Caller{UID: 7, PID: 8}
		revision, changed, body := b.candidateIs(t)
		if revision != 0 || changed || field(t, body, "document", "state", "flows", 0, "outputs", 0, "name") != "a" || field(t, body, "document", "version") != nil {
			t.Errorf("without a candidate: %s", body)
		}
		// What is shown can be edited and given back: the secret stays.
		shown, _ := json.Marshal(field(t, body, "document"))
		status, n := b.put(t, by, 0, strings.Replace(string(shown), `"name":"a"`, `"name":"b"`, 1))
		if status != 200 || n != 1 {
			t.Fatalf("put: %d, revision %d", status, n)
		}
		if revision, changed, body = b.candidateIs(t); revision != 1 || !changed || field(t, body, "by") != "user 7" || field(t, body, "base_version") != 7.0 {
			t.Errorf("changed: %s", body)
		}
		// Who saw an older one, or another one, changes nothing.
		for _, seen := range []int{0, 2} {
			if status, _ := b.put(t, by, seen, draftOf("x", "")); status != 409 {
				t.Errorf("by who saw %d: %d", seen, status)
			}
		}
		if got := b.engine.last().Flows[0].Outputs[0].Name; got != "a" {
			t.Errorf("a candidate is in force: %s", got)
		}
		b.stop()
		b = startBox(t, b.dir, nil)
		if _, _, again := b.candidateIs(t); again != body {
			t.Errorf("after a restart\n%s\nwas\n%s", again, body)
		}
		_, session := b.loginAs(t, by, "anna", b.firstPassword(t))
		by.Session = session
		status, answer := b.local(by, "candidate-commit", `{"comment":"the wall"}`)
		if status != 200 || field(t, answer, "data", "accepted", "version") != 8.0 {
			t.Fatalf("commit: %d %s", status, answer)
		}
		o := b.engine.last().Flows[0].Outputs[0]
		if o.Name != "b" || o.SRT.Passphrase.Reveal() != "planted-first" {
			t.Errorf("in force: %s %q", o.Name, o.SRT.Passphrase.Reveal())
		}
		if revision, changed, body = b.candidateIs(t); revision != 0 || changed || field(t, body, "document", "state", "flows", 0, "outputs", 0, "name") != "b" {
			t.Errorf("after the commit: %s", body)
		}
		commits, _ := b.Document("commits")
		if field(t, string(commits), "commits", 0, "comment") != "the wall" || field(t, string(commits), "commits", 0, "by") != "anna" {
			t.Errorf("commits %s", commits)
		}
		// A new candidate is not taken for the old one.
		if status, n := b.put(t, by, 0, draftOf("c", "")); status != 200 || n < 3 {
			t.Errorf("a new one: %d, revision %d", status, n)
		}
		if status, _ := b.put(t, by, 1, draftOf("x", "")); status != 409 {
			t.Errorf("by who saw the old one: %d", status)
		}
		if status, answer := b.local(by, "candidate-discard", `{}`); status != 200 {
			t.Errorf("discard: %d %s", status, answer)
		}
		if status, answer := b.local(by, "candidate-commit", `{}`); status != 404 {
			t.Errorf("commit of none: %d %s", status, answer)
		}
		stored, err := os.ReadFile(filepath.Join(b.dir, candidateName))
		if err != nil || strings.Contains(string(stored), "flows") {
			t.Errorf("what was discarded is kept: %s %v", stored, err)
		}
	})
}

// An incomplete candidate is kept as it is, and not committed.
func TestCandidateWithFaults(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := startBox(t, "", nil)
		by := control.Caller{UID: 7}
		if _, answer := b.local(by, "candidate-check", `{}`); field(t, answer, "data", "rejected") != nil {
			t.Errorf("check of none: %s", answer)
		}
		if status, _ := b.put(t, by, 0, `{"state":{"flows":[{"id":"f"}]}}`); status != 200 {
			t.Fatalf("put: %d", status)
		}
		_, answer := b.local(by, "candidate-check", `{}`)
		if field(t, answer, "data", "rejected", "code") != 400.0 || field(t, answer, "data", "rejected", "errors", 0, "pointer") == nil {
			t.Errorf("check: %s", answer)
		}
		status, answer := b.local(by, "candidate-commit", `{}`)
		if revision, _, _ := b.candidateIs(t); status != 200 || field(t, answer, "data", "rejected", "code") != 400.0 || revision != 1 {
			t.Errorf("commit: %d %s, revision %v", status, answer, revision)
		}
		if _, n := b.put(t, by, 1, draftOf("a", "")); n != 2 {
			t.Fatalf("revision %d", n)
		}
		before := b.engine.count()
		if _, answer := b.local(by, "candidate-check", `{}`); field(t, answer, "data", "rejected") != nil || b.engine.count() != before {
			t.Errorf("check: %s, applied %d times", answer, b.engine.count()-before)
		}
		if _, answer := b.local(by, "candidate-commit", `{"confirm_s":5}`); field(t, answer, "data", "rejected", "errors", 0, "pointer") != "/commit/rollback_s" {
			t.Errorf("too short: %s", answer)
		}
		if status, answer := b.local(by, "candidate-commit", `{"comment":"two\nlines"}`); status != 400 {
			t.Errorf("two lines: %d %s", status, answer)
		}
		_, answer = b.local(by, "candidate-commit", `{"confirm_s":60}`)
		if field(t, answer, "data", "accepted", "status") != config.StatusPendingConfirm {
			t.Fatalf("to be confirmed: %s", answer)
		}
		time.Sleep(61 * time.Second)
		if got := b.inForce.Load().origin; got != config.OriginFactory {
			t.Errorf("not confirmed, and in force: %s", got)
		}
		b.local(by, "candidate-discard", `{}`) // it went back
		for _, data := range []string{`{"revision":0}`, `{"document":{}}`, `{"revision":0,"document":[]}`, `{"revision":-1,"document":{}}`, `{"revision":0,"document":{},"x":1}`, `{"revision":0,"document":{"secrets":{"a":{"set":true}}}}`} {
			if status, answer := b.local(by, "candidate-put", data); status != 400 {
				t.Errorf("%s: %d %s", data, status, answer)
			}
		}
		if r, _ := b.perform(t.Context(), "candidate-put", config.Request{}, nil); r.Error == nil || r.Error.Code != 404 {
			t.Errorf("by the fleet: %v", r)
		}
	})
}

// A candidate that asks for what is in force makes no version.
func TestCandidateUnchanged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := startBox(t, "", nil)
		b.publish(document(7, "a", ""))
		if status, _ := b.put(t, control.Caller{}, 0, draftOf("a", `,"latency_ms":120`)); status != 200 {
			t.Fatalf("put: %d", status)
		}
		if _, changed, body := b.candidateIs(t); changed {
			t.Errorf("changed: %s", body)
		}
		if _, answer := b.local(control.Caller{}, "candidate-commit", `{}`); field(t, answer, "data", "accepted", "status") != "unchanged" || b.inForce.Load().version() != 7 {
			t.Errorf("commit: %s, version %d", answer, b.inForce.Load().version())
		}
		if revision, _, _ := b.candidateIs(t); revision != 0 {
			t.Errorf("it is still there: %v", revision)
		}
	})
}

// Nor does an edit at the box, in whatever form it says so, unless it is to be
// confirmed.
func TestEditUnchanged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := startBox(t, "", nil)
		b.publish(strings.Replace(document(7, "a", ""), `"port":9100`, `"port":9100,"passphrase":"planted-first"`, 1))
		keep := `,"passphrase":{"set":true},"latency_ms":120`
		for _, c := range []struct {
			edit, status string
			version      float64
		}{
			{draftOf("a", keep), "unchanged", 7},
			{strings.Replace(draftOf("a", keep), `"state"`, `"base_version":7,"state"`, 1), "unchanged", 7},
			{draftOf("b", keep), "applied", 8},
			{draftOf("b", keep), "unchanged", 8},
			{draftOf("b", `,"passphrase":"planted-second"`), "applied", 9},
			{strings.Replace(draftOf("b", keep), `"state"`, `"commit":{"id":"x","rollback_s":60},"state"`, 1), "pending_confirm", 10},
		} {
			events := len(b.eventsOf(t, "local_edit"))
			status, answer := b.edit(c.edit)
			if status != 200 || field(t, answer, "status") != c.status || field(t, answer, "version") != c.version {
				t.Errorf("%s: %d %s", c.edit, status, answer)
			}
			if told := len(b.eventsOf(t, "local_edit")) > events; told == (c.status == "unchanged") {
				t.Errorf("%s: told %t", c.status, told)
			}
		}
	})
}

// A candidate that was begun on another version than is in force is refused,
// until it is taken over or what is in force is its own again.
func TestCandidateOutdated(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := startBox(t, "", nil)
		by := control.Caller{UID: 7}
		b.publish(document(7, "a", ""))
		if status, _ := b.put(t, by, 0, draftOf("mine", "")); status != 200 {
			t.Fatalf("put: %d", status)
		}
		b.publishLater(document(8, "theirs", ""))
		b.put(t, by, 1, draftOf("mine too", "")) // goes on with it
		b.stop()
		b = startBox(t, b.dir, nil)
		for _, name := range []string{"candidate-check", "candidate-commit"} {
			_, answer := b.local(by, name, `{}`)
			if field(t, answer, "data", "rejected", "code") != 409.0 || field(t, answer, "data", "rejected", "errors", 0, "pointer") != "/base_version" ||
				field(t, answer, "data", "rejected", "message") != "the candidate was begun on version 7, and version 8 is in force now (fleet)" {
				t.Errorf("%s: %s", name, answer)
			}
		}
		if got := b.engine.last().Flows[0].Outputs[0].Name; got != "theirs" {
			t.Errorf("in force: %s", got)
		}
		revision, _, body := b.candidateIs(t)
		status, answer := b.local(by, "candidate-put", fmt.Sprintf(`{"revision":%v,"base_version":8,"document":%s}`, revision, draftOf("mine too", "")))
		if status != 200 {
			t.Fatalf("%d %s, of %s", status, answer, body)
		}
		if _, answer := b.local(by, "candidate-commit", `{}`); field(t, answer, "data", "accepted", "version") != 9.0 {
			t.Errorf("taken over: %s", answer)
		}
		// What is made of a stored one is for what is in force then.
		b.put(t, by, 0, draftOf("x", ""))
		b.publishLater(document(10, "theirs", ""))
		b.local(by, "candidate-rollback", `{"n":1}`)
		if _, answer := b.local(by, "candidate-commit", `{}`); field(t, answer, "data", "accepted", "version") != 11.0 {
			t.Errorf("rolled back: %s", answer)
		}
	})
}

// Who asks for a commit that there is not is told how far he can go back.
func TestCandidateRollbackTooFar(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := startBox(t, "", nil)
		for n, want := range []string{
			"there is no commit 7: nothing was committed yet", "there is no commit 7: 0 is the only one", "there is no commit 7: the oldest is 1",
		} {
			if _, answer := b.local(control.Caller{}, "candidate-rollback", `{"n":7}`); field(t, answer, "error", "message") != want {
				t.Errorf("%d stored: %s", n, answer)
			}
			b.publishLater(document(7+n, "a", ""))
		}
	})
}

// An older configuration comes back as a candidate, with its secrets, which
// nobody sees.
func TestCandidateRollback(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := startBox(t, "", nil)
		for i, name := range []string{"first", "second", "third"} {
			b.publishLater(strings.Replace(document(7+i, name, ""), `"port":9100`, `"port":9100,"passphrase":"planted-`+name+`"`, 1))
		}
		by := control.Caller{UID: 7}
		status, answer := b.local(by, "candidate-rollback", `{"n":2}`)
		if status != 200 {
			t.Fatalf("%d %s", status, answer)
		}
		_, changed, body := b.candidateIs(t)
		secret, _ := field(t, body, "document", "state", "flows", 0, "outputs", 0, "srt", "passphrase", "secret").(string)
		if !changed || field(t, body, "document", "state", "flows", 0, "outputs", 0, "name") != "first" || secret == "" || field(t, body, "document", "secrets", secret, "set") != true {
			t.Errorf("candidate %s", body)
		}
		// It is edited before it is committed.
		shown, _ := json.Marshal(field(t, body, "document"))
		if status, _ := b.put(t, by, 1, strings.Replace(string(shown), `"name":"first"`, `"name":"first again"`, 1)); status != 200 {
			t.Fatalf("put: %d", status)
		}
		time.Sleep(b.o.ApplyEvery)
		if status, answer := b.local(by, "candidate-commit", `{}`); status != 200 || field(t, answer, "data", "accepted") == nil {
			t.Fatalf("%d %s", status, answer)
		}
		o := b.engine.last().Flows[0].Outputs[0]
		if o.Name != "first again" || o.SRT.Passphrase.Reveal() != "planted-first" {
			t.Errorf("in force: %s %q", o.Name, o.SRT.Passphrase.Reveal())
		}
		for data, want := range map[string]int{`{}`: 400, `{"n":-1}`: 400, `{"n":4}`: 404, `{"n":0}`: 200} {
			if status, answer := b.local(by, "candidate-rollback", data); status != want {
				t.Errorf("%s: %d %s", data, status, answer)
			}
		}
		if said := b.fleet.everything() + b.log.String() + body + answer; strings.Contains(said, "planted") {
			t.Errorf("told: %s", said)
		}
	})
}

// A candidate that is damaged, or cannot be stored, is none: the box goes on.
func TestCandidateIsLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := startBox(t, "", nil)
		if status, _ := b.put(t, control.Caller{}, 0, draftOf("a", "")); status != 200 {
			t.Fatalf("put: %d", status)
		}
		b.stop()
		if err := os.WriteFile(filepath.Join(b.dir, candidateName), []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
		b = startBox(t, b.dir, nil)
		if revision, _, body := b.candidateIs(t); revision != 0 || !strings.Contains(b.log.String(), "the candidate is lost") {
			t.Errorf("damaged: %s", body)
		}
		os.RemoveAll(b.dir)
		if status, _ := b.put(t, control.Caller{}, 0, draftOf("a", "")); status != 507 {
			t.Errorf("without a state directory: %d", status)
		}
		if revision, _, _ := b.candidateIs(t); revision != 0 {
			t.Errorf("what was not stored is there: %v", revision)
		}
	})
}

// No secret of any kind is in any answer about a candidate, right or wrong as
// it may be.
func TestCandidateSecretsAreNeverTold(t *testing.T) {
	everything, err := os.ReadFile("config/testdata/good/everything.json")
	if err != nil {
		t.Fatal(err)
	}
	var whole map[string]any
	if err := json.Unmarshal(everything, &whole); err != nil {
		t.Fatal(err)
	}
	planted := plant(whole)
	if planted < 6 {
		t.Fatalf("only %d secrets", planted)
	}
	raw, _ := json.Marshal(map[string]any{"schema": whole["schema"], "state": whole["state"], "secrets": whole["secrets"]})
	synctest.Test(t, func(t *testing.T) {
		b := startBox(t, "", func(o *Options) { o.Broker, o.LocalUplinks = nil, nil })
		said, revision := "", 0
		ask := func(name, data string) {
			_, answer := b.local(control.Caller{}, name, data)
			said += name + " " + answer + "\n"
			_, _, body := b.candidateIs(t)
			said += body + "\n"
			revision = int(field(t, body, "revision").(float64))
		}
		for _, document := range []string{
			string(raw),
			strings.Replace(string(raw), `"RTMP"`, `"RTPM"`, 1), // keys of what has no protocol
			strings.ReplaceAll(string(raw), `"passphrase"`, `"pass_phrase"`),
			strings.ReplaceAll(string(raw), `"planted`, `"planted`+strings.Repeat("x", 600)),
			draftOf("a", `,"passphrase":"planted"`),
			draftOf("a", `,"passphrase":["planted-inline"]`),
			draftOf("a", `,"passphrase":{"secret":"planted name"}`),
			strings.Replace(draftOf("a", ""), `"protocol":"SRT","srt":{"mode":"listener","port":9100}`, `"rtmp":{"stream_key":"planted?key=value"}`, 1),
			strings.Replace(draftOf("a", ""), `"srt":{"mode":"listener","port":9100}`, `"srt":"planted"`, 1),
			strings.Replace(draftOf("a", ""), `"SRT","srt":{"mode":"listener","port":9100}`, `"RTMP_PUSH","rtmp":{"destinations":[{"url":"rtmp://me:planted@example.com/x","stream_key":"planted"}]}`, 1),
			`{"secrets":{"a":"planted","b":["planted"]}}`, `{"state":"planted"}`, `["planted"]`, `"planted"`, `{"schema":"planted"}`,
		} {
			ask("candidate-put", fmt.Sprintf(`{"revision":%d,"document":%s}`, revision, document))
			ask("candidate-check", `{}`)
			time.Sleep(2 * time.Second)
			ask("candidate-commit", `{}`)
		}
		ask("candidate-rollback", `{"n":0}`)
		time.Sleep(2 * time.Second)
		for _, name := range []string{"desired", "saved", "reported", "state", "info", "commits", "fleet", "console", "status"} {
			body, _ := b.Document(name)
			said += string(body) + "\n"
		}
		if !strings.Contains(said, `"accepted":{`) || !strings.Contains(said, `"rejected":{`) || strings.Count(said, `"set":true`) < 20 {
			t.Errorf("something was not tried: %d %d %d", strings.Count(said, `"accepted":{`), strings.Count(said, `"rejected":{`), strings.Count(said, `"set":true`))
		}
		said += b.fleet.everything() + b.log.String()
		if i := strings.Index(said, "planted"); i >= 0 {
			t.Errorf("told: ...%s...", said[max(0, i-300):min(len(said), i+60)])
		}
	})
}

// plant puts a secret into every place of a document that takes one, and
// returns how many there are.
func plant(v any) (n int) {
	switch v := v.(type) {
	case []any:
		for _, item := range v {
			n += plant(item)
		}
	case map[string]any:
		for name, value := range v {
			switch {
			case name == "secrets":
				for key := range value.(map[string]any) {
					value.(map[string]any)[key] = "planted-by-name"
					n++
				}
			case name == "password", name == "passphrase", name == "stream_key" && v["port"] == nil && v["app"] == nil, name == "stream_key" && v["takeover"] != nil:
				if _, ok := value.(map[string]any); !ok {
					v[name] = "planted-inline"
				}
				n++
			default:
				n += plant(value)
			}
		}
	}
	return n
}

// Whatever is put, the answer is JSON, and what is taken is shown as JSON that
// can be put again.
func FuzzCandidatePut(f *testing.F) {
	for _, seed := range []string{
		`{"revision":0,"document":` + draftOf("a", `,"passphrase":"planted-inline"`) + `}`, `{"revision":0,"document":{}}`, `{"revision":1,"document":{}}`,
		`{"revision":0,"document":{"state":{"x":[1,null,"y",{"z":true}]},"secrets":{"a":"b"}}}`, `{"revision":1e3,"document":0}`, ``, "\xff",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		a := &Agent{o: Options{Store: memory{}}, board: newBoard(), log: slog.New(slog.DiscardHandler), candidate: candidate{turn: make(chan struct{}, 1)}, seal: &identity{}, login: newLogin()}
		a.inForce.Store(factory())
		request, err := json.Marshal(map[string]json.RawMessage{"data": data})
		if err != nil {
			return // no JSON: the server reads none
		}
		status, answer := a.Request(t.Context(), "candidate-put", request, control.Caller{})
		var r config.Response
		if json.Unmarshal(answer, &r) != nil || (status == 200) != (r.Error == nil) {
			t.Fatalf("%d %s", status, answer)
		}
		if status != 200 {
			return
		}
		shown := a.candidateDocument()
		again, err := json.Marshal(map[string]any{"data": map[string]any{"revision": shown.Revision, "document": shown.Document}})
		if err != nil {
			t.Fatalf("%v: %s", err, shown.Document)
		}
		if status, answer := a.Request(t.Context(), "candidate-put", again, control.Caller{}); status != 200 && len(shown.Document) < config.MaxDocument {
			t.Fatalf("what is shown is refused: %s\n%s", answer, shown.Document)
		}
		b := &Agent{o: a.o, log: slog.New(slog.DiscardHandler)}
		b.loadCandidate()
		if got, want := b.candidate.get(), a.candidate.get(); string(got.document.Document()) != string(want.document.Document()) || got.revision != want.revision {
			t.Fatalf("stored as\n%s\nwant\n%s", got.document.Document(), want.document.Document())
		}
	})
}

// memory is a Store of values alone, without a disk.
type memory map[string][]byte

func (m memory) Get(name string) ([]byte, error) {
	if v, ok := m[name]; ok {
		return v, nil
	}
	return nil, fs.ErrNotExist
}

func (m memory) Put(name string, value []byte) error { m[name] = value; return nil }
func (m memory) Delete(name string) error            { delete(m, name); return nil }
func (m memory) Wipe(string) error                   { clear(m); return nil }
func (m memory) Records() ([]store.Record, error)    { return nil, nil }
func (m memory) Save(store.Record) error             { return nil }

func (m memory) Load(func(store.Record) error) (*store.Record, []error, error) { return nil, nil, nil }
