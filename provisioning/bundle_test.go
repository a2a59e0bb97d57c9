package provisioning

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sluice/device/control"
	"sluice/provisioning/config"
	"sluice/provisioning/mqtt"
	"sluice/relay/relaytest"
)

// unpacked returns the files of a bundle by their names, and its size.
func unpacked(t *testing.T, answer string) (files map[string]string, size int) {
	t.Helper()
	var r struct {
		Data struct {
			Name, Base64 string
			Size         int
		}
		Error *config.ResponseError
	}
	if err := json.Unmarshal([]byte(answer), &r); err != nil || r.Error != nil {
		t.Fatalf("%v %v", err, r.Error)
	}
	raw, err := base64.StdEncoding.DecodeString(r.Data.Base64)
	if err != nil || len(raw) != r.Data.Size || !strings.HasPrefix(r.Data.Name, "sluice-box-") || !strings.HasSuffix(r.Data.Name, ".tar.gz") {
		t.Fatalf("%s: %d bytes of %d, %v", r.Data.Name, len(raw), r.Data.Size, err)
	}
	zipped, err := gzip.NewReader(bytes.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	archive, files := tar.NewReader(zipped), map[string]string{}
	for {
		h, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return files, len(raw)
		}
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(archive)
		if err != nil {
			t.Fatal(err)
		}
		files[strings.TrimPrefix(h.Name, "sluice-box/")] = string(body)
	}
}

// A bundle holds all that there is to tell, and no secret of any kind.
func TestBundleHoldsNoSecret(t *testing.T) {
	everything, err := os.ReadFile("config/testdata/good/everything.json")
	if err != nil {
		t.Fatal(err)
	}
	var whole map[string]any
	if err := json.Unmarshal(everything, &whole); err != nil {
		t.Fatal(err)
	}
	plant(whole)
	delete(whole, "commit")
	delete(whole, "base_version")
	whole["version"] = 5
	raw, _ := json.Marshal(whole)
	synctest.Test(t, func(t *testing.T) {
		var b *box
		b = startBox(t, "", func(o *Options) {
			o.Broker, o.LocalUplinks = nil, nil
			o.LogTail = func(n int) []string {
				all := strings.Split(b.log.String(), "\n")
				return all[max(0, len(all)-n):]
			}
		})
		first, by := b.firstPassword(t), control.Caller{UID: 7}
		if status, answer := b.edit(string(raw)); status != 200 {
			t.Fatalf("%d %s", status, answer)
		}
		// Everything that goes wrong with secrets goes wrong.
		b.edit(strings.ReplaceAll(string(raw), `"planted-by-name"`, `"planted"`))
		b.edit(string(raw[:len(raw)-9]))
		b.publishLater(strings.Replace(document(99, "a", ""), `"port":9100`, `"port":9100,"passphrase":"planted"`, 1))
		b.publishLater(withSecret(100, "-----BEGIN AGE ENCRYPTED FILE-----\nplanted"))
		b.put(t, by, 0, draftOf("x", `,"passphrase":"planted-candidate"`))
		b.loginAs(t, by, "eve", "planted-guess")
		time.Sleep(time.Second)
		_, session := b.loginAs(t, by, "anna", first)
		b.local(control.Caller{UID: 7, Session: session}, "console-password", `{"password":"planted-new"}`)
		b.local(by, "log-tail", `{"planted":1}`)
		time.Sleep(15 * time.Second)

		_, answer := b.local(by, "support-bundle", `{}`)
		files, _ := unpacked(t, answer)
		for name, want := range map[string]string{
			"info.json": `"model": "test"`, "reported.json": `"set": true`, "state.json": `"flows"`, "telemetry.json": `"uplinks"`, "commits.json": `"digest"`,
			"fleet.json": `"broker": "mqtts://broker.example.com"`, "clock.json": `"synchronized"`, "candidate.json": `"revision": 1`, "desired.json": `"set": true`,
			"events.ndjson": `"type":"login_failed"`, "log.txt": "local edit refused", "network.txt": "127.0.0.1/8", "network.json": `"routes"`,
			"sockets.txt": "", "kernel.txt": "MemTotal", "goroutines.txt": "provisioning.(*Agent).loop", "version.txt": "go1.",
		} {
			if body, ok := files[name]; !ok || !strings.Contains(body, want) {
				t.Errorf("%s lacks %q: %.300s", name, want, body)
			}
		}
		identity, _ := b.store.Get(identityName)
		for name, body := range files {
			for _, secret := range []string{"planted", first, session, string(identity), "argon2id$", "AGE-SECRET"} {
				if i := strings.Index(body, secret); i >= 0 {
					t.Errorf("%s tells a secret: ...%s...", name, body[max(0, i-200):min(len(body), i+60)])
				}
			}
		}
		if _, ok := files["console.json"]; ok {
			t.Error("the console's document is in it")
		}
	})
}

// Who types the password where the name belongs, and fails, has told it to
// nobody: neither the fleet, nor the log, nor who gets the bundle.
func TestNameOfFailedLoginIsNotTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var b *box
		b = startBox(t, "", func(o *Options) {
			o.LogTail = func(int) []string { return strings.Split(b.log.String(), "\n") }
		})
		first, by := b.firstPassword(t), control.Caller{UID: 7, PID: 8}
		for _, password := range []string{"", "anna", "x"} {
			if status, _ := b.loginAs(t, by, first, password); status != 401 {
				t.Fatalf("login: %d", status)
			}
			time.Sleep(10 * time.Second)
		}
		// Nor is it the name of a session, though it is the right password.
		if status, session := b.loginAs(t, by, first, first); status != 400 || session != "" {
			t.Errorf("password and name are the same: %d", status)
		}
		told := b.eventsOf(t, "login_failed")
		if len(told) != 3 || field(t, told[2], "data", "line") != "ttyS1" || field(t, told[2], "data", "failures") != 3.0 {
			t.Errorf("events %v", told)
		}
		_, answer := b.local(by, "support-bundle", `{}`)
		files, _ := unpacked(t, answer)
		files["what is published"], files["the log"] = b.fleet.everything(), b.log.String()
		for name, body := range files {
			if i := strings.Index(body, first); i >= 0 {
				t.Errorf("%s tells the password: ...%s...", name, body[max(0, i-200):min(len(body), i+60)])
			}
		}
	})
}

// However much there is to tell, a bundle has its size, and says what was cut;
// for the fleet it is smaller.
func TestBundleIsBounded(t *testing.T) {
	relaytest.TakesSeconds(t)
	synctest.Test(t, func(t *testing.T) {
		noise := rand.NewChaCha8([32]byte{1})
		b := startBox(t, "", func(o *Options) {
			o.LogTail = func(n int) (lines []string) {
				for range n {
					line := make([]byte, 2<<10) // of all lines: more than there is room for
					noise.Read(line)
					lines = append(lines, base64.StdEncoding.EncodeToString(line))
				}
				return append(lines, "the last line")
			}
		})
		for range maxKept + 7 {
			line := make([]byte, 4<<10)
			noise.Read(line)
			b.event(config.SeverityInfo, "noise", "test", hex.EncodeToString(line), nil)
		}
		b.event(config.SeverityInfo, "noise", "test", "the last event", nil)
		if n := len(b.events.newest()); n != maxKept {
			t.Errorf("%d events are kept", n)
		}
		_, answer := b.local(control.Caller{}, "support-bundle", `{}`)
		files, size := unpacked(t, answer)
		if size > maxBundle || len(files["log.txt"]) != maxFile || !strings.HasSuffix(files["log.txt"], "the last line\n") || !strings.Contains(files["log.txt"], "bytes in all") ||
			!strings.Contains(files["events.ndjson"], "the last event") {
			t.Errorf("%d bytes, a log of %d", size, len(files["log.txt"]))
		}
		if len(files["kernel.txt"]) < 100 || len(files["goroutines.txt"]) < 100 {
			t.Error("there was no room for what comes last")
		}
		b.receiveRequest(mqtt.Message{Topic: "sluice/v1/box/request/support-bundle", Payload: []byte(fmt.Sprintf(
			`{"transaction":"1","expires":"%s"}`, time.Now().Add(time.Minute).UTC().Format(time.RFC3339)))})
		synctest.Wait()
		sent := b.fleet.last("response/support-bundle")
		if _, _ = unpacked(t, sent); len(sent) > 8<<20 {
			t.Errorf("%d bytes are sent", len(sent))
		}
		if small, err := b.bundle(now(), 2<<20); err != nil || len(small) > 2<<20 || len(small) < 1<<19 {
			t.Errorf("with room for 2 MiB: %d bytes, %v", len(small), err)
		}
		afar, here := (&call{}).roomForBundle(), (&call{by: &control.Caller{}}).roomForBundle()
		if base64.StdEncoding.EncodedLen(afar) > 8<<20-1000 || here != 8<<20 {
			t.Errorf("room for %d from afar, for %d here", afar, here)
		}
		b.bundling <- struct{}{}
		if status, _ := b.local(control.Caller{}, "support-bundle", `{}`); status != 429 {
			t.Errorf("two at a time: %d", status)
		}
		<-b.bundling
	})
	for _, most := range []int{0, 10, 45, 100, 1000} {
		for _, tail := range []bool{true, false} {
			body := bundleFile{body: bytes.Repeat([]byte("x"), 500), tail: tail}.fit(most)
			if len(body) > most || most == 1000 && len(body) != 500 || most == 100 && !bytes.Contains(body, []byte("[500 bytes in all")) {
				t.Errorf("of %d, %v: %q", most, tail, body)
			}
		}
	}
}
