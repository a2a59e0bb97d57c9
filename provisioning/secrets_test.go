package provisioning

import (
	"bytes"
	"encoding/json"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"filippo.io/age"
	"filippo.io/age/armor"

	"sluice/provisioning/mqtt"
)

// sealed encrypts as a fleet manager does.
func sealed(t *testing.T, to age.Recipient, text string) string {
	t.Helper()
	var b bytes.Buffer
	a := armor.NewWriter(&b)
	w, err := age.Encrypt(a, to)
	if err != nil {
		t.Fatal(err)
	}
	w.Write([]byte(text))
	w.Close()
	a.Close()
	return b.String()
}

func withSecret(version int, sealed string) string {
	armored, _ := json.Marshal(sealed)
	doc := strings.Replace(document(version, "a", `"secrets":{"key":`+string(armored)+`},`), `"port":9100`, `"port":9100,"passphrase":{"secret":"key"}`, 1)
	return doc
}

// A secret sealed to the recipient that info tells is opened by this box, and
// still is after a restart; one sealed to another box is a fault.
func TestSealedSecrets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := startBox(t, "", nil)
		info, _ := b.Document("info")
		told := field(t, string(info), "age_recipient").(string)
		recipient, err := age.ParseX25519Recipient(told)
		if err != nil {
			t.Fatal(err)
		}
		b.publish(withSecret(1, sealed(t, recipient, "planted-sealed\n")))
		if got := b.engine.last().Flows[0].Outputs[0].SRT.Passphrase.Reveal(); got != "planted-sealed" {
			t.Errorf("passphrase %q; %s", got, b.fleet.last("config/rejected"))
		}
		other, _ := age.GenerateX25519Identity()
		b.publishLater(withSecret(2, sealed(t, other.Recipient(), "planted-sealed")))
		if got := b.fleet.last("config/rejected"); field(t, got, "errors", 0, "pointer") != "/secrets/key" {
			t.Errorf("sealed to another: %s", got)
		}
		b.stop()

		b = startBox(t, b.dir, nil)
		if got := b.engine.last().Flows[0].Outputs[0].SRT.Passphrase.Reveal(); got != "planted-sealed" {
			t.Errorf("after a restart: %q", got)
		}
		info, _ = b.Document("info")
		if got := field(t, string(info), "age_recipient"); got != told {
			t.Errorf("the box has another key after a restart: %v", got)
		}
	})
}

// Secrets in every form, in good documents and bad ones, are nowhere in what
// the box says.
func TestSecretsAreNeverTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const planted = "planted"
		b := startBox(t, "", nil)
		recipient, _ := age.ParseX25519Recipient(b.info().AgeRecipient)
		plain := strings.Replace(document(1, "a", ""), `"port":9100`, `"port":9100,"passphrase":"planted-inline"`, 1)
		b.publish(plain)
		b.publishLater(withSecret(2, "planted-by-name"))
		b.publishLater(withSecret(3, sealed(t, recipient, "planted-sealed")))
		for _, bad := range []string{
			strings.Replace(plain, `"version":1`, `"version":9,"extra":"x"`, 1),            // a fault elsewhere
			strings.Replace(plain, "planted-inline", "planted", 1),                         // too short
			strings.Replace(plain, "planted-inline", "planted"+strings.Repeat("x", 90), 1), // too long
			strings.Replace(plain, `"planted-inline"`, `["planted-inline"]`, 1),
			strings.Replace(plain, `"planted-inline"`, `{"secret":"planted-inline"}`, 1)[:300],
			plain[:len(plain)-40],
		} {
			b.publishLater(bad)
			if got := b.fleet.last("config/rejected"); got == "" {
				t.Errorf("taken: %s", bad)
			}
		}
		status, answer := b.edit(strings.Replace(plain, `"version":1,`, "", 1))
		time.Sleep(15 * time.Second) // telemetry too
		b.present(mqtt.Init)
		synctest.Wait()

		said := b.fleet.everything() + b.log.String() + answer
		for _, name := range []string{"desired", "reported", "state", "telemetry", "info", "status", "schema"} {
			body, ok := b.Document(name)
			if !ok {
				t.Errorf("there is no %s", name)
			}
			said += string(body)
		}
		if status != 200 || !strings.Contains(said, `{"set":true}`) {
			t.Errorf("the edit: %d %s", status, answer)
		}
		if i := strings.Index(said, planted); i >= 0 {
			t.Errorf("told: ...%s...", said[max(0, i-100):min(len(said), i+60)])
		}
		if strings.Contains(said, "AGE-SECRET-KEY") || !strings.Contains(said, "telemetry ") || !strings.Contains(said, "info ") {
			t.Error("the box's key was told, or something was not looked at")
		}

		// The state directory alone holds them, and nobody else reads it.
		files, err := os.ReadDir(b.dir)
		if err != nil || len(files) < 5 {
			t.Fatalf("%d files, %v", len(files), err)
		}
		for _, f := range files {
			if i, err := f.Info(); err != nil || i.Mode().Perm() != 0o600 {
				t.Errorf("%s: mode %v, %v", f.Name(), i.Mode(), err)
			}
		}
	})
}
