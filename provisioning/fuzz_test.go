package provisioning

import (
	"encoding/json"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"filippo.io/age"

	"sluice/provisioning/config"
)

// Whatever is published as a request gets one answer that is JSON, and never
// one that says ok without a transaction and a time.
func FuzzRequest(f *testing.F) {
	for _, seed := range []string{
		`{"transaction":"1","expires":"2099-01-01T00:00:00Z","data":{"flow":"f","output":"o","session":"s1"}}`,
		`{"transaction":"1","expires":"2099-01-01T00:00:00Z","data":{"lines":10}}`,
		`{"transaction":"1","expires":"2099-01-01T00:00:00Z","data":{"flow":"f","output":"o"}}`,
		`{"transaction":"1","expires":"2099-01-01T00:00:00Z","data":{"flow":"none"}}`,
		`{"transaction":"1","expires":"2099-01-01T00:00:00Z","data":{"test":"multicast","uplink":"lan0","host":"239.1.1.1","port":5004}}`,
		`{"transaction":"1","expires":"2099-01-01T00:00:00Z","data":{"test":"fleet"}}`,
		`{"transaction":"1","expires":"2099-01-01T00:00:00Z","data":{"test":"output","flow":"f","output":"o"}}`,
		`{"transaction":"1","expires":"2099-01-01T00:00:00Z","data":{"seconds":3}}`,
		`{"transaction":"1","expires":"2099-01-01T00:00:00Z","data":{"serial_number":""}}`,
		`{"transaction":"1","expires":"2099-01-01T00:00:00Z"}`,
		`{"transaction":"1","expires":"2000-01-01T00:00:00Z"}`,
		`{"transaction":1}`, `{"transaction":"1"} {}`, `[]`, `null`, ``, "\xff",
	} {
		for _, name := range []string{
			"output-kick", "flow-restart", "input-inspect", "log-tail", "output-explain", "test", "identify", "reboot", "support-bundle",
			"candidate-put", "candidate-commit", "console-login", "console-password", "factory-reset", "commit-confirm",
		} {
			f.Add(name, []byte(seed), false)
		}
		f.Add("log-tail", []byte(seed), true)
	}
	f.Fuzz(func(t *testing.T, name string, raw []byte, retained bool) {
		kept := memory{}
		a := &Agent{
			o:     Options{Engine: &fakeEngine{}, Uplinks: &fakeUplinks{}, Store: kept, Info: func() config.Info { return config.Info{} }, LogTail: func(int) []string { return nil }},
			board: newBoard(), log: slog.New(slog.DiscardHandler), client: &fakeConnection{}, login: newLogin(), seal: aKey(t),
			trials: make(chan struct{}, 1), looks: make(chan struct{}, 1), bundling: make(chan struct{}, 1), action: newActions(),
			candidate: candidate{turn: make(chan struct{}, 1)},
		}
		a.inForce.Store(factory())
		s := newActions()
		answer, _ := s.handle(t.Context(), a, action{name, raw, retained})
		body := marshal(answer)
		var r config.Response
		if err := json.Unmarshal(body, &r); err != nil {
			t.Fatalf("%v in %s", err, body)
		}
		switch {
		case r.Status == "error" && r.Error != nil && r.Error.Code >= 400 && r.Error.Message != "":
		case r.Status == "ok" && r.Error == nil && r.Transaction != "" && !retained:
		default:
			t.Errorf("%q: %s", raw, body)
		}
		if len(kept) > 0 {
			t.Errorf("%s of the fleet changed what the box keeps: %v", name, kept)
		}
	})
}

// aKey is a key as a box has it, always the same.
func aKey(t *testing.T) *identity {
	key, err := age.ParseX25519Identity("AGE-SECRET-KEY-1GQ9778VQXMMJVE8SK7J6VT8UJ4HDQAJUVSFCWCM02D8GEWQ72PVQ2Y5J33")
	if err != nil {
		t.Fatal(err)
	}
	return &identity{key}
}

// Whatever is published as a document, what is repeated of it is within bounds.
func FuzzEnvelope(f *testing.F) {
	f.Add([]byte(document(7, "a", "")))
	f.Add([]byte(`{"version":18446744073709551615,"client_token":"\ud800"}`))
	f.Add([]byte(`{"version":1e3}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		e := readEnvelope(raw)
		if len([]rune(e.ClientToken)) > 64 {
			t.Errorf("token of %d runes", len([]rune(e.ClientToken)))
		}
		answer := marshal(config.Accepted{Version: e.Version, ClientToken: e.ClientToken, Timestamp: time.Unix(0, 0)})
		if !json.Valid(answer) || strings.Contains(string(answer), `"error"`) && !strings.Contains(e.ClientToken, "error") {
			t.Errorf("%q: %s", raw, answer)
		}
	})
}

// Whatever is published as a confirmation, what is read of it is within bounds,
// and what is refused has a sentence that quotes little of it.
func FuzzConfirm(f *testing.F) {
	for _, seed := range []string{
		`{"id":"c8","action":"confirm","client_token":"t"}`, `{"id":"c8","action":"cancel"}`,
		`{"id":"","action":"confirm"}`, `{"id":1}`, `{"id":"c","action":"confirm"} {}`, `[]`, `null`, ``, "\xff",
		`{"id":"c","action":"confirm","client_token":"` + strings.Repeat("x", 65) + `"}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		c, err := readConfirm(raw)
		if len([]rune(c.ClientToken)) > 64 {
			t.Errorf("token of %d runes", len([]rune(c.ClientToken)))
		}
		if err == nil {
			if c.ID == "" || len([]rune(c.ID)) > 64 || c.Action != confirmIt && c.Action != cancelIt || len(raw) > maxConfirm {
				t.Errorf("%q: %+v", raw, c)
			}
			return
		}
		var why *refused
		if !errors.As(err, &why) || why.code < 400 || why.message == "" || len(why.message) > 400 {
			t.Errorf("%q: %v", raw, err)
		}
	})
}
