package provisioning

import (
	"context"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"sluice/device/control"
	"sluice/relay/relaytest"
)

// A box that was told of its broker at the box, and may be told of another by
// the fleet: with one where nobody listens it comes back to the old one, and
// says so there; with one that is there it stays, and says so there.
func TestMosquittoIsReplacedByAnother(t *testing.T) {
	relaytest.TakesSeconds(t)
	first, second := newMosquitto(t), newMosquitto(t)
	b := startRealBox(t, filepath.Join(t.TempDir(), "state"), "", "", func(o *Options) {
		o.SessionWindow = 3 * time.Second
	})
	at := func(version int, port string) string {
		broker := fmt.Sprintf(`"broker":{"url":"mqtt://127.0.0.1:%s","username":"box","password":%q}`, port, boxPassword)
		return strings.Replace(document(version, "a", ""), `"state":{`, `"state":{"device":{"management":{`+broker+`,"allow_fleet":true}},`, 1)
	}
	<-b.Ready()
	fleet := first.listen(t)
	status, answer := b.Apply(context.Background(), []byte(at(0, first.port)), control.Caller{UID: 1000})
	if status != 200 || !strings.Contains(string(answer), `"status":"pending_confirm"`) {
		t.Fatalf("%d %s", status, answer)
	}
	// What happened before there was a broker is told, too.
	fleet.hears(t, "event", has(`"type":"commit_pending"`, `"version":1`))
	fleet.hears(t, "event", has(`"type":"commit_confirmed"`, `"by":"the session with the broker"`))
	fleet.hears(t, "config/reported", has(`"version":1`, `"origin":"local"`, `"status":"applied"`))
	fleet.hears(t, "status", has(`"state":"ready"`))

	began := time.Now()
	nobody := strconv.Itoa(relaytest.FreePort(t))
	first.pub(t, "config/desired", at(2, nobody), "-r")
	fleet.hears(t, "config/rejected", has(`"code":408`, `"version":2`, `"current_version":1`, `"client_token":"t2"`, "refused"))
	if took := time.Since(began); took < 3*time.Second {
		t.Errorf("the box went back after %v", took)
	}
	fleet.hears(t, "config/reported", has(`"version":1`, `"desired_version":2`, `"status":"rolled_back"`))
	fleet.hears(t, "config/rejected", has(`"code":409`, `"version":2`, "went back")) // as it is retained
	var states []string
	for _, h := range fleet.all() {
		if h.topic == "status" && strings.Contains(h.body, `"state":"disconnected"`) {
			states = append(states, h.body)
		}
		if h.topic == "status" && strings.Contains(h.body, `"state":"lost"`) {
			t.Error("the session with the old broker broke, rather than ended")
		}
	}
	if len(states) != 1 {
		t.Errorf("the box left its broker %d times", len(states))
	}

	other := second.listen(t)
	first.pub(t, "config/desired", at(3, second.port), "-r")
	other.hears(t, "status", has(`"state":"ready"`))
	other.hears(t, "info", has(`"device":"box"`))
	other.hears(t, "config/reported", has(`"version":3`, `"status":"applied"`))
	other.hears(t, "config/accepted", has(`"version":3`, `"client_token":"t3"`, `"status":"applied"`))
	other.hears(t, "event", has(`"type":"commit_confirmed"`, `"version":3`))
	// It stays there.
	second.pub(t, "config/desired", strings.Replace(at(4, second.port), `"name":"a"`, `"name":"b"`, 1), "-r")
	other.hears(t, "config/accepted", has(`"version":4`, `"status":"applied"`))
	if got := b.inForceName(); got != "b" {
		t.Errorf("in force: %q", got)
	}
	body, _ := b.Document("fleet")
	if !has(`"broker":"mqtt://127.0.0.1:`+second.port, `"via":"default uplink"`, `"state":"ready"`, `"owned_locally":[]`)(string(body)) {
		t.Errorf("fleet %s", body)
	}
	if strings.Contains(b.log.String(), "planted") || !onlyDesired(fleet, other) {
		t.Errorf("a password was told:\n%s", b.log)
	}
}

// onlyDesired tells whether the fleet's own documents alone hold a password.
func onlyDesired(all ...*listener) bool {
	for _, l := range all {
		for _, h := range l.all() {
			if h.topic != "config/desired" && strings.Contains(h.body, "planted") {
				return false
			}
		}
	}
	return true
}
