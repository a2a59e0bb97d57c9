package console

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"sluice/device/control"
)

// A memoryBox is a daemon that keeps a candidate and commits it, in memory. It
// knows no rules: faults are what the test says.
type memoryBox struct {
	mu        sync.Mutex
	now       time.Time
	documents map[string]string

	force     map[string]any // document in force, with its secrets in their place
	version   int
	candidate map[string]any // nil: none
	secrets   map[string]string
	revision  int
	base      int // version that the candidate was begun on
	by        string
	stored    []map[string]any // newest first; 0 is in force
	before    map[string]any   // what a pending commit goes back to
	pending   map[string]any
	comments  []string

	user    string                     // who asks, for by
	refuses string                     // whatever the candidate is
	faults  func(state string) []fault // of a candidate; nil: none
	how     func(confirm int) string   // explicit, session or "" for a commit; nil: by confirm
	asked   []string                   // names of requests
	hook    func(name string)          // called before a request is carried out, without the lock
}

var _ Client = (*memoryBox)(nil)

const boxInfo = `{"device": "sluice-0042", "serial_number": "SL-0042", "model": "SL-4", "version": "0.9", "interfaces": [
	{"name": "enp1s0", "mac": "02:00:5e:00:00:01", "path": "pci-0000:01:00.0", "driver": "igc", "speed_mbps": 1000, "carrier": true},
	{"name": "enp2s0", "mac": "02:00:5e:00:00:02", "path": "pci-0000:02:00.0", "driver": "igc", "speed_mbps": 0, "carrier": false}]}`

// newMemoryBox returns a box with a state in force.
func newMemoryBox(t testing.TB, state string) *memoryBox {
	t.Helper()
	schema, err := os.ReadFile("../../docs/config.schema.json")
	check(t, err)
	b := &memoryBox{
		now: time.Date(2026, 11, 26, 10, 0, 0, 0, time.UTC), version: 7, user: "anna",
		documents: map[string]string{
			"schema": string(schema), "info": boxInfo,
			"fleet": `{"broker": "", "state": "init"}`,
			"state": `{"uplinks": [], "flows": [], "alarms": []}`, "telemetry": `{}`, "status": `{"state": "ready"}`,
		},
	}
	check(t, json.Unmarshal([]byte(state), &b.force))
	b.stored = []map[string]any{b.force}
	return b
}

func (b *memoryBox) SetSession(s string) {}

func encoded(v any) json.RawMessage {
	raw, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return raw
}

func deepCopy(v map[string]any) map[string]any {
	var out map[string]any
	if err := json.Unmarshal(encoded(v), &out); err != nil {
		panic(err)
	}
	return out
}

// apart takes the secrets out of a state, and names them.
func apart(state map[string]any) (map[string]any, map[string]string) {
	out, secrets := deepCopy(state), map[string]string{}
	var walk func(v any)
	walk = func(v any) {
		switch v := v.(type) {
		case map[string]any:
			for name, below := range v {
				if s, text := below.(string); text && isSecretName(name) {
					called := fmt.Sprintf("draft-%d", len(secrets)+1)
					secrets[called], v[name] = s, map[string]any{"secret": called}
					continue
				}
				walk(below)
			}
		case []any:
			for _, below := range v {
				walk(below)
			}
		}
	}
	walk(out)
	return out, secrets
}

func isSecretName(name string) bool {
	return name == "passphrase" || name == "password" || name == "stream_key"
}

// redacted hides secrets that are in their place.
func redacted(v any) any {
	switch v := v.(type) {
	case map[string]any:
		out := map[string]any{}
		for name, below := range v {
			if _, text := below.(string); text && isSecretName(name) {
				below = map[string]any{"set": true}
			}
			out[name] = redacted(below)
		}
		return out
	case []any:
		out := make([]any, len(v))
		for i := range v {
			out[i] = redacted(v[i])
		}
		return out
	}
	return v
}

func (b *memoryBox) Document(_ context.Context, name string) (json.RawMessage, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	whole := func(state any) json.RawMessage {
		return encoded(map[string]any{"schema": "sluice.config/v1", "version": b.version, "state": redacted(state)})
	}
	switch name {
	case "desired":
		return whole(b.force), nil
	case "reported":
		return encoded(map[string]any{"version": b.version, "status": "applied", "origin": "local", "state": redacted(b.force)}), nil
	case "console":
		name := "van-3"
		if d, ok := b.force["device"].(map[string]any); ok && d["hostname"] != nil {
			name = fmt.Sprint(d["hostname"])
		}
		return encoded(map[string]any{"name": name, "serial_number": "SL-0042", "model": "SL-4", "version": "0.9"}), nil
	case "saved":
		return whole(b.stored[0]), nil
	case "saved-1":
		if len(b.stored) > 1 {
			return whole(b.stored[1]), nil
		}
	case "candidate":
		state, secrets, base := b.candidate, b.secrets, b.base
		if state == nil {
			base = b.version
			state, secrets = apart(b.force)
		}
		names := map[string]any{}
		for n := range secrets {
			names[n] = map[string]any{"set": true}
		}
		document := map[string]any{"schema": "sluice.config/v1", "state": redacted(state), "secrets": names}
		return encoded(map[string]any{"revision": b.revision, "changed": b.candidate != nil, "by": b.by, "base_version": base, "document": document}), nil
	case "commits":
		return encoded(map[string]any{"pending": b.pending, "commits": []any{}}), nil
	}
	if d, ok := b.documents[name]; ok {
		return json.RawMessage(d), nil
	}
	return nil, fmt.Errorf("%w %q", control.ErrNoDocument, name)
}

func (b *memoryBox) Request(_ context.Context, name string, body []byte) (int, json.RawMessage, error) {
	b.mu.Lock()
	hook := b.hook
	b.mu.Unlock()
	if hook != nil {
		hook(name)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.asked = append(b.asked, name)
	var r struct {
		Data struct {
			Revision int
			Document map[string]any
			Base     int `json:"base_version"`
			Confirm  int `json:"confirm_s"`
			Comment  string
			N        int
			ID       string
		} `json:"data"`
	}
	if err := json.Unmarshal(body, &r); err != nil {
		return 400, json.RawMessage(`{"status": "error", "error": {"code": 400, "message": "the request cannot be read"}}`), nil
	}
	refuse := func(code int, message string) (int, json.RawMessage, error) {
		return code, encoded(map[string]any{"status": "error", "error": map[string]any{"code": code, "message": message}}), nil
	}
	ok := func(data any) (int, json.RawMessage, error) {
		return 200, encoded(map[string]any{"status": "ok", "data": data}), nil
	}
	d := r.Data
	switch name {
	case "candidate-put":
		if d.Revision != b.revision {
			return refuse(409, fmt.Sprintf("revision is %d: the candidate's is %d", d.Revision, b.revision))
		}
		if message := b.put(d.Document); message != "" {
			return refuse(400, message)
		}
		b.by, b.base = b.user, d.Base
		return ok(map[string]any{"revision": b.revision})
	case "candidate-check":
		return ok(map[string]any{"rejected": b.rejected()})
	case "candidate-commit":
		if no := b.rejected(); no != nil {
			return ok(map[string]any{"rejected": no})
		}
		b.comments = append(b.comments, d.Comment)
		return ok(map[string]any{"accepted": b.commit(d.Confirm)})
	case "candidate-discard":
		b.candidate, b.revision = nil, 0
		return ok(map[string]any{})
	case "candidate-rollback":
		if d.N >= len(b.stored) {
			return refuse(404, fmt.Sprintf("there is no version %d back", d.N))
		}
		b.by, b.base = b.user, b.version
		b.candidate, b.secrets = apart(b.stored[d.N])
		b.revision++
		return ok(map[string]any{})
	case "commit-confirm", "commit-cancel":
		if b.pending == nil || d.ID != "" && d.ID != b.pending["id"] {
			return refuse(404, "nothing is pending")
		}
		if name == "commit-cancel" {
			b.force = b.before
		} else {
			b.stored = append([]map[string]any{b.force}, b.stored...)
		}
		b.pending = nil
		return ok(map[string]any{})
	}
	return refuse(501, "this build cannot do "+name)
}

// Apply is not what the configuration is changed by here.
func (b *memoryBox) Apply(context.Context, []byte) (int, json.RawMessage, error) {
	return 501, json.RawMessage(`{"code": 501, "message": "this box cannot"}`), nil
}

func (b *memoryBox) put(document map[string]any) string {
	if b.candidate == nil {
		_, b.secrets = apart(b.force)
	}
	secrets := map[string]string{}
	given, _ := document["secrets"].(map[string]any)
	for name, v := range given {
		if s, ok := v.(string); ok {
			secrets[name] = s
		} else if s, ok := b.secrets[name]; ok {
			secrets[name] = s
		} else {
			return "the secret " + name + " is to be kept, and there is none: give it"
		}
	}
	b.candidate, _ = document["state"].(map[string]any)
	b.secrets = secrets
	b.revision++
	return ""
}

func (b *memoryBox) rejected() any {
	state := b.candidate
	if state == nil {
		state = b.force
	} else if b.base != b.version {
		message := fmt.Sprintf("the candidate was begun on version %d, and version %d is in force now (fleet)", b.base, b.version)
		return map[string]any{"code": 409, "message": message, "current_version": b.version, "errors": []fault{{"/base_version", message}}}
	}
	if b.refuses != "" {
		return map[string]any{"code": 409, "message": b.refuses, "errors": []fault{{"/version", b.refuses}}}
	}
	if b.faults == nil {
		return nil
	}
	faults := b.faults(string(encoded(state)))
	if len(faults) == 0 {
		return nil
	}
	message := fmt.Sprintf("%d faults", len(faults))
	if len(faults) == 1 {
		message = "1 fault"
	}
	return map[string]any{"code": 400, "message": message, "errors": faults}
}

// resolved puts secrets in their places.
func (b *memoryBox) resolved(v any) any {
	switch v := v.(type) {
	case map[string]any:
		if name, ok := v["secret"].(string); ok {
			return b.secrets[name]
		}
		for name, below := range v {
			v[name] = b.resolved(below)
		}
	case []any:
		for i := range v {
			v[i] = b.resolved(v[i])
		}
	}
	return v
}

func (b *memoryBox) commit(confirm int) any {
	how := ""
	if confirm > 0 {
		how = "explicit"
	}
	if b.how != nil {
		how = b.how(confirm)
	}
	b.before = b.force
	b.force, _ = b.resolved(deepCopy(b.candidate)).(map[string]any)
	b.version++
	b.candidate, b.secrets, b.revision = nil, nil, 0
	answer := map[string]any{"version": b.version, "status": "applied"}
	if how == "" {
		b.stored = append([]map[string]any{b.force}, b.stored...)
		return answer
	}
	by := b.now.Add(2 * time.Minute)
	if confirm > 0 {
		by = b.now.Add(time.Duration(confirm) * time.Second)
	}
	b.pending = map[string]any{"id": "c1", "version": b.version, "by": b.user, "confirm_by": by, "how": how}
	answer["status"], answer["confirm_by"] = "pending_confirm", by
	return answer
}

func (b *memoryBox) change(change func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	change()
}

// inForce is what is in force, as JSON.
func (b *memoryBox) inForce() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return string(encoded(b.force))
}

func (b *memoryBox) draft() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return string(encoded(b.candidate))
}

// configuring sits at a box in the configuration.
func configuring(t testing.TB, b *memoryBox) *seat {
	t.Helper()
	s := sit(t, Options{Client: b, Name: "anna", Now: func() time.Time { return b.now }})
	s.expect("> ")
	s.do("terminal dumb", "> ")
	s.do("configure", "# ")
	return s
}

// answered types a line and returns what is shown of it, without the line and
// carriage returns.
func (s *seat) answered(line, prompt string) string {
	s.t.Helper()
	_, out, _ := strings.Cut(s.do(line, prompt), "\n")
	out = strings.ReplaceAll(out, "\r", "")
	if i := strings.LastIndex(out, "\n"); i >= 0 && !strings.HasSuffix(out, "\n") {
		out = out[:i+1] // the box's name before the prompt
	} else if i < 0 {
		out = ""
	}
	return out
}
