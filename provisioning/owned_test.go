package provisioning

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sluice/provisioning/mqtt"
)

// managing is a document with that in device.management, and two uplinks.
func managing(version int, management string) string {
	return fmt.Sprintf(`{"schema":"sluice.config/v1","version":%d,"client_token":"t%d","state":{"device":{"management":{%s}},`+
		`"uplinks":[{"name":"lan0","match":{"interface":"lo"},"default":true},{"name":"wan0","match":{"interface":"eth7"}}]}}`, version, version, management)
}

const (
	brokerA = `"broker":{"url":"mqtts://a.example.com","username":"box","password":"planted-a"}`
	brokerB = `"broker":{"url":"mqtts://b.example.com"}`
)

// What was set at the box, the fleet keeps by not mentioning it, and may say
// again, but not otherwise, unless the box allows it.
func TestLocallyOwned(t *testing.T) {
	const denied = "403"
	for name, c := range map[string]struct {
		local, fleet string
		answer       string // code and pointer, or what is in force then
		owned        string
	}{
		"left out":         {brokerA + `,"uplinks":["wan0"]`, ``, "a.example.com [wan0] false", "[broker uplinks]"},
		"the same":         {brokerA + `,"uplinks":["wan0"]`, `"broker":{"url":"mqtts://a.example.com","username":"box","password":{"set":true}},"uplinks":["wan0"],"allow_fleet":false`, "a.example.com [wan0] false", "[broker uplinks]"},
		"another broker":   {brokerA, brokerB, denied + " /broker", "[broker]"},
		"another password": {brokerA, strings.Replace(brokerA, "planted-a", "planted-b", 1), denied + " /broker", "[broker]"},
		"another uplink":   {`"uplinks":["wan0"]`, `"uplinks":["lan0"]`, denied + " /uplinks", "[uplinks]"},
		"allowing itself":  {brokerA, `"allow_fleet":true`, denied + " /allow_fleet", "[broker]"},
		"allowed, another": {brokerA + `,"allow_fleet":true`, brokerB, "b.example.com [] true", "[]"},
		"allowed, another with the password of the first": {brokerA + `,"allow_fleet":true`, `"broker":{"url":"mqtts://b.example.com","username":"box","password":{"set":true}}`, "400 /broker/password", "[]"},
		"allowed, the same host":                          {brokerA + `,"allow_fleet":true`, `"broker":{"url":"mqtts://A.example.com:8884","username":"box","password":{"set":true}}`, "A.example.com:8884 [] true", "[]"},
		"allowed, left out":                               {brokerA + `,"allow_fleet":true`, ``, "a.example.com [] true", "[]"},
		"what was not set there":                          {brokerA, `"uplinks":["wan0"]`, "a.example.com [wan0] false", "[broker]"},
		"nothing was set":                                 {``, brokerB + `,"uplinks":["wan0"]`, "b.example.com [wan0] false", "[]"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := startBox(t, "", func(o *Options) { o.Broker, o.StateDir = nil, "/state" })
				if status, answer := b.edit(managing(0, c.local)); status != 200 {
					t.Fatalf("%d %s", status, answer)
				}
				b.publishLater(managing(8, c.fleet))
				got := ""
				if r := b.fleet.last("config/rejected"); r != "" {
					got = fmt.Sprint(field(t, r, "code"), " ", strings.TrimPrefix(field(t, r, "errors", 0, "pointer").(string), managementAt))
					if strings.Contains(r, "planted") {
						t.Errorf("a secret is told: %s", r)
					}
				} else {
					m := managementOf(b.inForce.Load().document)
					url := ""
					if m.Broker != nil {
						url = strings.TrimPrefix(m.Broker.URL, "mqtts://")
					}
					got = fmt.Sprint(url, " ", m.Uplinks, " ", m.AllowFleet)
				}
				if got != c.answer {
					t.Errorf("%s, want %s", got, c.answer)
				}
				if owned := fmt.Sprint(b.ownedLocally()); owned != c.owned {
					t.Errorf("owned are %s, want %s", owned, c.owned)
				}
				// And a restart knows it still.
				b.stop()
				b = startBox(t, b.dir, func(o *Options) { o.Broker, o.StateDir = nil, "/state" })
				if owned := fmt.Sprint(b.ownedLocally()); owned != c.owned {
					t.Errorf("after a restart, owned are %s, want %s", owned, c.owned)
				}
			})
		})
	}
}

// What is owned must still lead somewhere under the fleet's document.
func TestOwnedUplinkMustExist(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := startBox(t, "", nil)
		if status, answer := b.edit(managing(0, `"uplinks":["wan0"]`)); status != 200 {
			t.Fatalf("%d %s", status, answer)
		}
		b.publishLater(document(8, "a", ""))
		got := b.fleet.last("config/rejected")
		if got == "" || field(t, got, "code") != 403.0 || field(t, got, "errors", 0, "pointer") != "/state/uplinks" || !strings.Contains(got, "wan0") {
			t.Errorf("answer %s", got)
		}
		// An edit that leaves it out gives it up.
		if status, answer := b.edit(document(0, "b", "")); status != 200 {
			t.Fatalf("%d %s", status, answer)
		}
		b.publishLater(document(9, "a", ""))
		b.saysIs(t, "9 applied 9 a")
	})
}

// A document may not name another broker than the command line does, whoever
// sends it.
func TestBrokerOfTheCommandLine(t *testing.T) {
	for management, pointer := range map[string]string{
		`"broker":{"url":"mqtt://fleet.example.com:1883","username":"box"}`:                "",
		`"broker":{"url":"mqtt://fleet.example.com:1884","username":"box"}`:                "url",
		`"broker":{"url":"mqtt://fleet.example.com"}`:                                      "username",
		`"broker":{"url":"mqtt://fleet.example.com","username":"box","password":"secret"}`: "password",
	} {
		synctest.Test(t, func(t *testing.T) {
			b := startBox(t, "", func(o *Options) { o.Broker.Username = "box" })
			status, answer := b.edit(managing(0, management))
			b.publishLater(managing(8, management))
			if pointer == "" {
				if status != 200 || b.fleet.last("config/rejected") != "" {
					t.Errorf("%s: %d %s; %s", management, status, answer, b.fleet.last("config/rejected"))
				}
				return
			}
			want := managementAt + "/broker/" + pointer
			if status != 403 || field(t, answer, "errors", 0, "pointer") != want {
				t.Errorf("%s: %d %s", management, status, answer)
			}
			if r := b.fleet.last("config/rejected"); r == "" || field(t, r, "errors", 0, "pointer") != want {
				t.Errorf("%s: the fleet is told %s", management, r)
			}
		})
	}
}

// The broker of the document is used from the moment on at which it is in
// force, is remembered, and left where the document goes back.
func TestBrokerOfTheDocument(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		prepare := func(o *Options) {
			o.Broker, o.StateDir = nil, "/state"
			o.Dial = func(string) mqtt.DialFunc { return nil }
		}
		b := startBox(t, "", prepare)
		fleet := func(path ...any) any { body, _ := b.Document("fleet"); return field(t, string(body), path...) }
		if fleet("broker") != "" || fleet("state") != "disconnected" {
			body, _ := b.Document("fleet")
			t.Errorf("fleet %s", body)
		}
		if _, ok := b.Document("status"); ok {
			t.Error("a box without a broker tells of its session")
		}
		edit := managing(0, strings.Replace(brokerA, `"}`, `","ca_file":"ca.pem"}`, 1)+`,"uplinks":["wan0"]`)
		if status, answer := b.edit(edit); status != 200 || !strings.Contains(answer, `"applied"`) {
			t.Fatalf("%d %s", status, answer)
		}
		is := func(what string) {
			t.Helper()
			c := last(b.fleet.brokers())
			if c.Broker != "mqtts://a.example.com" || c.Username != "box" || c.Password.Reveal() != "planted-a" ||
				c.CAFile != filepath.Join("/state", "ca.pem") || c.ClientID != "box" || c.Presence == nil || c.Dialers()[0].Name != "wan0" {
				t.Errorf("%s: the broker is %+v", what, c)
			}
		}
		is("at once")
		b.stop()
		b = startBox(t, b.dir, prepare)
		is("after a restart")
		if fleet("broker") != "mqtts://a.example.com" || fleet("owned_locally", 1) != "uplinks" || fleet("desired_version") != 1.0 {
			body, _ := b.Document("fleet")
			t.Errorf("fleet %s", body)
		}
		for _, name := range []string{"desired", "saved", "commits", "fleet", "reported"} {
			if body, ok := b.Document(name); !ok || strings.Contains(string(body), "planted") {
				t.Errorf("%s: %s", name, body)
			}
		}
		b.fleet.live(false)
		if status, answer := b.edit(managing(0, brokerB)); status != 200 || !strings.Contains(answer, `"pending_confirm"`) {
			t.Fatalf("%d %s", status, answer)
		}
		if c := last(b.fleet.brokers()); c.Broker != "mqtts://b.example.com" || c.Username != "" {
			t.Errorf("the broker is %+v", c)
		}
		body, _ := b.Document("saved")
		if !strings.Contains(string(body), "a.example.com") {
			t.Errorf("saved is %s", body)
		}
		time.Sleep(121 * time.Second)
		is("after it went back")
		if strings.Contains(b.log.String(), "planted") || strings.Contains(b.fleet.everything(), "planted") {
			t.Error("a secret was told")
		}
	})
}
