package fleet

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sluice/provisioning/mqtt"
)

const stateBody = `{"timestamp":"2026-11-23T09:00:00Z","version":7,"uplinks":[],"flows":[{"id":"stage",
 "inputs":[{"id":"enc-a","state":"receiving","reason":null,"since":"2026-11-23T09:00:00Z","active":true}],
 "outputs":[{"id":"hub","state":"rejected","reason":{"code":"refused","message":"wrong passphrase"},"since":"2026-11-23T09:00:00Z","viewers":0}]}],
 "alarms":[{"code":"x","subject":"flow/stage","since":"2026-11-23T09:00:00Z","message":"look here"}]}`

func get(t *testing.T, h http.Handler, path string) (int, string, http.Header) {
	t.Helper()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest("GET", path, nil))
	return w.Code, w.Body.String(), w.Header()
}

func TestPageListsBoxes(t *testing.T) {
	var b Boxes
	h := Handler(&b)
	if _, body, _ := get(t, h, "/"); !strings.Contains(body, "No box has been heard of") {
		t.Errorf("an empty page:\n%s", body)
	}
	for topic, body := range map[string]string{
		"sluice/v1/van-3/status":          `{"state":"ready","timestamp":"2026-11-23T09:00:00Z"}`,
		"sluice/v1/van-3/info":            `{"model":"Edge 4","version":"1.2.3"}`,
		"sluice/v1/van-3/state":           stateBody,
		"sluice/v1/van-3/config/reported": `{"schema":"sluice.config/v1","version":7,"status":"applied","origin":"fleet","state":{}}`,
		"sluice/v1/attic/status":          `{"state":"lost"}`,
	} {
		if !b.Receive(topic, []byte(body)) {
			t.Errorf("%s is not taken", topic)
		}
	}
	status, body, header := get(t, h, "/")
	if status != 200 || !strings.Contains(header.Get("Content-Security-Policy"), "default-src 'none'") {
		t.Errorf("%d %v", status, header)
	}
	for _, want := range []string{
		"2 boxes", ">van-3</a>", `<span class="good">ready`, "Edge 4", "sluiced 1.2.3", "document 7, applied, from fleet",
		"stage ← enc-a", `<span class="good">receiving`, "stage → hub", `<span class="bad">rejected`, "wrong passphrase",
		"look here", ">attic</a>", `<span class="bad">lost`,
	} {
		if !strings.Contains(body, want) {
			t.Errorf("the page lacks %q:\n%s", want, body)
		}
	}
	if strings.Index(body, "attic") > strings.Index(body, "van-3") {
		t.Error("the boxes are not sorted")
	}

	var list []boxDocument
	_, body, _ = get(t, h, "/api/v1/boxes")
	if err := json.Unmarshal([]byte(body), &list); err != nil || len(list) != 2 || list[1].ID != "van-3" || list[1].State != nil {
		t.Errorf("the list: %v\n%s", err, body)
	}
	var one boxDocument
	_, body, _ = get(t, h, "/api/v1/boxes/van-3")
	if err := json.Unmarshal([]byte(body), &one); err != nil || !strings.Contains(string(one.State), "wrong passphrase") || one.Reported == nil {
		t.Errorf("one box: %v\n%s", err, body)
	}
	for _, path := range []string{"/api/v1/boxes/nobody", "/api/v1/boxes/..%2f", "/nothing"} {
		if status, _, _ := get(t, h, path); status != 404 {
			t.Errorf("%s: %d", path, status)
		}
	}
	b.Receive("sluice/v1/attic/status", nil)
	if len(b.List()) != 1 {
		t.Error("a cleared box stays")
	}
}

// Whatever a box publishes is text on the page, never markup.
func TestHostilePayloads(t *testing.T) {
	var b Boxes
	for _, refused := range []struct{ topic, body string }{
		{"sluice/v1/<script>/status", `{}`},
		{"sluice/v1/../status", `{}`},
		{"sluice/v1/" + strings.Repeat("a", 64) + "/status", `{}`},
		{"sluice/v1/box", `{}`},
		{"sluice/v1/box/config/desired", `{}`},
		{"other/box/status", `{}`},
		{"sluice/v1/box/status", `not json`},
		{"sluice/v1/box/status", `{"state":7}`},
		{"sluice/v1/box/state", `{"flows":{}}`},
		{"sluice/v1/box/info", `{"model":"` + strings.Repeat("x", maxBody) + `"}`},
		{"sluice/v1/box/state", strings.Repeat("[", 100000)},
	} {
		if b.Receive(refused.topic, []byte(refused.body)) {
			t.Errorf("%s %.20s is taken", refused.topic, refused.body)
		}
	}
	evil := `<script>alert(1)</script>\" onload=\"x`
	for topic, body := range map[string]string{
		"sluice/v1/box/status":          `{"state":"` + evil + `"}`,
		"sluice/v1/box/info":            `{"model":"` + evil + `","version":"` + evil + `"}`,
		"sluice/v1/box/state":           `{"flows":[{"id":"` + evil + `","outputs":[{"id":"` + evil + `","state":"` + evil + `","reason":{"message":"` + evil + `"}}]}],"alarms":[{"subject":"` + evil + `","message":"` + evil + `"}]}`,
		"sluice/v1/box/config/reported": `{"schema":"x","status":"` + evil + `","origin":"` + evil + `"}`,
	} {
		if !b.Receive(topic, []byte(body)) {
			t.Fatalf("%s is not taken", topic)
		}
	}
	_, body, _ := get(t, Handler(&b), "/")
	if strings.Contains(body, "<script") || strings.Contains(body, `" onload="`) || !strings.Contains(body, "&lt;script&gt;") {
		t.Errorf("not escaped:\n%s", body)
	}
	_, body, header := get(t, Handler(&b), "/api/v1/boxes/box")
	if header.Get("Content-Type") != "application/json" || strings.Contains(body, "<script") {
		t.Errorf("the API: %v\n%s", header, body)
	}
}

func TestLimits(t *testing.T) {
	var b Boxes
	for i := range maxBoxes + 10 {
		b.Receive(fmt.Sprintf("sluice/v1/box-%d/status", i), []byte(`{"state":"ready"}`))
	}
	if n := len(b.List()); n != maxBoxes {
		t.Errorf("%d boxes are kept", n)
	}

	small := Boxes{most: 1000}
	body := []byte(`{"model":"` + strings.Repeat("x", 200) + `"}`)
	taken := 0
	for range 2 { // a document that takes the place of another counts once
		taken = 0
		for i := range 10 {
			if small.Receive(fmt.Sprintf("sluice/v1/box-%d/info", i), body) {
				taken++
			}
		}
		if taken != 4 || small.total != 4*len(body) {
			t.Errorf("%d documents and %d bytes are kept of 1000", taken, small.total)
		}
	}
	for i := range 4 {
		small.Receive(fmt.Sprintf("sluice/v1/box-%d/info", i), nil)
	}
	if small.total != 0 || len(small.boxes) != 0 {
		t.Errorf("%d bytes are left", small.total)
	}
}

// serve runs a broker until stop.
func serve(t *testing.T, b *Broker, boxes *Boxes) (url string, stop func()) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	b.Log = slog.New(slog.DiscardHandler)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- b.Serve(ctx, l, boxes) }()
	return "mqtt://" + l.Addr().String(), func() {
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("Serve: %v", err)
		}
	}
}

func client(t *testing.T, cfg mqtt.Config) *mqtt.Client {
	t.Helper()
	c, err := mqtt.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); c.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-done })
	return c
}

func within(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func TestBrokerKeepsRetainedMessages(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "fleet")
	var boxes Boxes
	url, stop := serve(t, &Broker{State: dir}, &boxes)
	c := client(t, mqtt.Config{Broker: url})
	for topic, body := range map[string]string{
		"sluice/v1/van-3/status": `{"state":"ready"}`, "sluice/v1/van-3/config/desired": `{"secrets":{"a":"correct horse"}}`,
	} {
		if err := c.Publish(within(t), mqtt.Message{Topic: topic, Payload: []byte(body), QoS: 1, Retained: true}); err != nil {
			t.Fatal(err)
		}
	}
	if box, ok := boxes.Get("van-3"); !ok || box.Status.State != "ready" {
		t.Errorf("the box is %+v", box)
	}
	stop()
	if info, err := os.Stat(filepath.Join(dir, "retained.json")); err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("the file: %v %v", info, err)
	}

	var again Boxes
	url, stop = serve(t, &Broker{State: dir}, &again)
	defer stop()
	c = client(t, mqtt.Config{Broker: url})
	got := make(chan string, 1)
	c.Subscribe("sluice/v1/+/config/desired", 1, func(m mqtt.Message) { got <- string(m.Payload) })
	select {
	case body := <-got:
		if !strings.Contains(body, "correct horse") {
			t.Errorf("got %s", body)
		}
	case <-time.After(10 * time.Second):
		t.Error("the desired document is lost")
	}
	if box, _ := again.Get("van-3"); box.Status.State != "ready" {
		t.Error("the box is forgotten")
	}
}

func TestBrokerPasswords(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	for _, bad := range []string{"", "# nobody\n", "van-3\n", ":x\n", "van-3:\n"} {
		if _, err := ReadPasswords(write("bad", bad)); err == nil {
			t.Errorf("%q is accepted", bad)
		}
	}
	passwords, err := ReadPasswords(write("good", "# users\nvan-3:correct:horse\r\nother:x\n"))
	if err != nil {
		t.Fatal(err)
	}
	url, stop := serve(t, &Broker{Passwords: passwords}, &Boxes{})
	defer stop()
	right := mqtt.Config{Broker: url, Username: "van-3", PasswordFile: write("right", "correct:horse\n")}
	if err := client(t, right).AwaitReady(within(t)); err != nil {
		t.Errorf("the right password: %v", err)
	}
	for _, wrong := range []mqtt.Config{
		{Broker: url},
		{Broker: url, Username: "van-3", PasswordFile: write("wrong", "x\n")},
		{Broker: url, Username: "nobody", PasswordFile: right.PasswordFile},
	} {
		if err := client(t, wrong).AwaitReady(within(t)); err == nil || !strings.Contains(err.Error(), "refuse") {
			t.Errorf("user %q: %v", wrong.Username, err)
		}
	}
}
