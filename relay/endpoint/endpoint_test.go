package endpoint

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"reflect"
	"strings"
	"testing"
)

func TestParseAllow(t *testing.T) {
	for in, want := range map[string]string{
		"203.0.113.0/28":      "203.0.113.0/28",
		"203.3.3.3/28":        "203.3.3.0/28", // host bits are masked
		" 192.0.2.1 ":         "192.0.2.1/32",
		"2001:db8::1":         "2001:db8::1/128",
		"2001:db8::1/32":      "2001:db8::/32",
		"::ffff:192.0.2.1":    "192.0.2.1/32",
		"::ffff:10.1.0.0/104": "10.0.0.0/8",
		"0.0.0.0/0":           "0.0.0.0/0",
		"":                    "",
		"example.com":         "",
		"192.0.2.1/33":        "",
		"192.0.2":             "",
		"fe80::1%eth0":        "",
		"192.0.2.1-192.0.2.":  "",
	} {
		p, err := ParseAllow(in)
		if (err != nil) != (want == "") || err == nil && p.String() != want {
			t.Errorf("%q: %v, %v; want %q", in, p, err, want)
		}
	}
}

func TestAllowListContains(t *testing.T) {
	l := AllowList{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("2001:db8::/32")}
	for addr, want := range map[string]bool{
		"10.1.2.3": true, "11.0.0.1": false, "::ffff:10.1.2.3": true,
		"2001:db8::9": true, "2001:db8::9%eth0": true, "2001:db9::1": false,
	} {
		if got := l.Contains(netip.MustParseAddr(addr)); got != want {
			t.Errorf("%s: %v", addr, got)
		}
	}
	if !(AllowList)(nil).Contains(netip.MustParseAddr("192.0.2.1")) {
		t.Error("an empty list does not allow everyone")
	}
}

// A secret is looked for in everything that prints, logs or marshals it.
func TestSecretIsNeverShown(t *testing.T) {
	const plain = "battery staple"
	s := NewSecret(plain)
	holder := struct {
		Key Secret  `json:"key,omitzero"`
		Ref *Secret `json:"ref"`
	}{s, &s}
	var out bytes.Buffer
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		fmt.Fprintf(&out, verb+"\n", s)
		fmt.Fprintf(&out, verb+"\n", holder)
	}
	slog.New(slog.NewTextHandler(&out, nil)).Info("text", "secret", s, "holder", holder)
	slog.New(slog.NewJSONHandler(&out, nil)).Info("json", "secret", s, "holder", holder)
	if err := json.NewEncoder(&out).Encode(holder); err != nil {
		t.Fatal(err)
	}
	fmt.Fprintln(&out, fmt.Errorf("with %v: %w", s, io.EOF))
	for _, form := range []string{plain, "battery", fmt.Sprintf("%x", plain)} {
		if strings.Contains(out.String(), form) {
			t.Errorf("%q is shown in\n%s", form, out.String())
		}
	}
	if !strings.Contains(out.String(), `{"key":{"set":true},"ref":{"set":true}}`) {
		t.Errorf("JSON does not tell that it is set:\n%s", out.String())
	}
	if s.Reveal() != plain || NewSecret("").IsSet() {
		t.Error("the value is not kept")
	}
	if none, _ := json.Marshal(struct {
		Key Secret `json:"key,omitzero"`
	}{}); string(none) != "{}" {
		t.Errorf("an absent secret is %s", none)
	}
}

func TestExplain(t *testing.T) {
	cause := errors.New("connection refused")
	err := fmt.Errorf("output hub: %w", Fail(Refused, cause, "bad_secret", "peer %s refused us", "x"))
	phase, why := Explain(err)
	if phase != Refused || why.Code != "bad_secret" || why.Message != "peer x refused us: connection refused" {
		t.Errorf("%v, %+v", phase, why)
	}
	if !errors.Is(err, cause) {
		t.Error("the cause is lost")
	}
	if phase, why := Explain(io.EOF); phase != Connecting || why.Code != "failed" || why.Message != "EOF" {
		t.Errorf("of another error: %v, %+v", phase, why)
	}
}

func TestLedger(t *testing.T) {
	var l Ledger
	if got := l.Dropped(); len(got) != 0 {
		t.Errorf("a new ledger has dropped %v", got)
	}
	names := map[string]bool{}
	for d := range drops {
		l.Drop(d, uint64(d)+1)
		names[d.String()] = true
	}
	if len(names) != int(drops) {
		t.Errorf("reasons share names: %v", names)
	}
	l.Drop(DropOverrun, 9)
	want := map[string]uint64{"overrun": 10, "queue_full": 2, "too_late": 3, "write_failed": 4, "wrong_format": 5, "session_closed": 6}
	if got := l.Dropped(); !reflect.DeepEqual(got, want) {
		t.Errorf("dropped %v, want %v", got, want)
	}
}
