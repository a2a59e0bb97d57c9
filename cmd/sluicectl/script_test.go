package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sluice/provisioning/config"
)

// Every command works on the box at hand and on one behind a broker alike.
func TestCommandsOverBothTransports(t *testing.T) {
	for name, run := range map[string]func(*realBox) func(string, ...string) result{
		"socket": func(r *realBox) func(string, ...string) result { return r.local },
		"broker": func(r *realBox) func(string, ...string) result { return r.remote },
	} {
		t.Run(name, func(t *testing.T) { script(t, run(startBox(t))) })
	}
}

func script(t *testing.T, ctl func(stdin string, args ...string) result) {
	p := ports(t, 4)
	document := fmt.Sprintf(`{"schema": "sluice.config/v1", "state": {"flows": [{"id": "stage", "name": "Main stage",
		"inputs": [{"id": "enc", "protocol": "RTP", "rtp": {"port": %d}}], "outputs": []}]}}`, p[0])
	ctl(document, "apply", "-").wants(t, 0, "Version 1 is in force.")
	ctl("", "flows").wants(t, 0, "stage/enc", "RTP")

	// An output is added, looked at, changed, switched, removed.
	wall := fmt.Sprintf("%d", p[1])
	ctl("", "output", "add", "stage", "wall", "--protocol", "SRT", "--mode", "listener", "--port", wall, "--set", "srt.latency_ms=200").
		wants(t, 0, "Version 2 is in force.", "Play: srt://127.0.0.1:"+wall)
	ctl("", "output", "add", "stage", "wall", "--protocol", "SRT").wants(t, 1, "has an output wall already")
	ctl("", "output", "add", "stage/hub", "--protocol", "srt", "--mode", "caller", "--to", fmt.Sprintf("127.0.0.1:%d", p[2]), "--key-length", "20").
		wants(t, 1, "refused: 1 fault", "/state/flows/0/outputs/1/srt/key_length", "use 16, 24 or 32")
	ctl("", "output", "add", "stage/tv", "--protocol", "RTP", "--to", fmt.Sprintf("127.0.0.1:%d", p[3]), "--disabled").
		wants(t, 0, "Version 3 is in force.")
	eventually(t, "the states of the outputs", func() bool {
		r := ctl("", "outputs", "stage")
		return strings.Contains(r.out, "waiting") && strings.Contains(r.out, "disabled") && r.status == 0
	})
	ctl("", "output", "set", "stage/wall", "name=Monitor wall", "max_viewers=8", "allow=127.0.0.0/8;::1/128", "srt.latency_ms=null").
		wants(t, 0, "Version 4 is in force.")
	reported := func() config.Reported {
		var r config.Reported
		check(t, json.Unmarshal([]byte(ctl("", "get", "reported").out), &r))
		return r
	}
	// The box fills in defaults: what was taken away is back at its own.
	for _, want := range []string{`"name":"Monitor wall"`, `"max_viewers":8`, `"allow":["127.0.0.0/8","::1/128"]`, `"latency_ms":120`} {
		var compact strings.Builder
		check(t, json.NewEncoder(&compact).Encode(reported().State))
		if !strings.Contains(compact.String(), want) {
			t.Errorf("%s is not in force: %s", want, compact.String())
		}
	}
	ctl("", "output", "set", "stage/wall", "max_viewers=9").wants(t, 0, "Version 5 is in force.")
	ctl("", "output", "set", "stage/wall", "max_viewers=many").wants(t, 1, "/state/flows/0/outputs/0/max_viewers")
	ctl("", "output", "set", "stage/wall", "latency=1").wants(t, 2, `no field "latency"`)
	ctl("", "output", "set", "stage/none", "name=x").wants(t, 1, "flow stage has no output none")
	ctl("", "output", "set", "none/wall", "name=x").wants(t, 1, "there is no flow none: the box has stage")
	ctl("", "output", "enable", "stage/tv").wants(t, 0, "Version 6")
	ctl("", "output", "disable", "stage/tv", "stage/wall").wants(t, 0, "Version 7")
	eventually(t, "both outputs disabled", func() bool { return strings.Count(ctl("", "outputs").out, "disabled") == 2 })
	ctl("", "output", "rm", "stage", "tv").wants(t, 0, "Version 8")
	if out := ctl("", "outputs").out; strings.Contains(out, "stage/tv") {
		t.Errorf("a removed output is listed:\n%s", out)
	}
	ctl("", "output", "kick", "stage/wall", "--session", "nobody").wants(t, 1, "nobody")

	// A document with a stale base is refused, and says which one is in force.
	ctl(`{"schema": "sluice.config/v1", "version": 9, "base_version": 3, "state": {}}`, "apply", "-").wants(t, 1, "refused", "Version 8 is in force. Somebody else may have changed it")
	ctl("not json", "apply", "-").wants(t, 1, "is not JSON")

	// One that must be confirmed goes back, or stays.
	ctl("", "commits").wants(t, 0, "No commit is pending.")
	ctl("", "confirm").wants(t, 1, "no commit is pending")
	ctl("", "apply", "--confirm", "1s", "-").wants(t, 2, "10s to 24h")
	ctl("not json", "apply", "--confirm", "1m", "-").wants(t, 1, "is not JSON")
	pending := func(name string, version int) string {
		state := strings.Replace(string(reported().State), `"name": "`, `"name": "`+name, 1)
		doc := fmt.Sprintf(`{"schema": "sluice.config/v1", "version": %d, "state": %s}`, version, state)
		ctl(doc, "apply", "--confirm", "1m", "-").wants(t, 0, fmt.Sprintf("Version %d is in force until it is confirmed", version))
		var all config.Commits
		check(t, json.Unmarshal([]byte(ctl("", "commits", "--json").out), &all))
		if all.Pending == nil || all.Pending.Version != uint64(version) {
			t.Fatalf("pending is %+v", all.Pending)
		}
		ctl("", "commits").wants(t, 0, fmt.Sprintf("Version %d goes back at ", version), all.Pending.ID)
		return all.Pending.ID
	}
	for _, name := range []string{"saved", "fleet"} {
		if r := ctl("", "get", name); r.status != 0 && !strings.Contains(r.err, "on its own socket alone") {
			t.Errorf("get %s: %+v", name, r)
		}
	}
	id := pending("New ", 9)
	ctl("", "cancel", "another").wants(t, 1, `"another" is not pending`)
	ctl("", "output", "enable", "stage/wall").wants(t, 1, "confirm or cancel it first").lacks(t, "Somebody else")
	ctl("", "cancel", id).wants(t, 0, "Version 8 is in force again.")
	eventually(t, "version 8 is in force again", func() bool { r := reported(); return r.Version == 8 && r.Status == "rolled_back" })
	// One that was cancelled is not tried again, and nobody else is to blame.
	cancelled := fmt.Sprintf(`{"schema": "sluice.config/v1", "version": 10, "commit": {"id": "try", "rollback_s": 60}, "state": %s}`, reported().State)
	ctl(cancelled, "apply", "-").wants(t, 0, "until it is confirmed")
	ctl("", "cancel", "try").wants(t, 0, "Version 8 is in force again.")
	ctl(cancelled, "apply", "-").wants(t, 1, "refused: version 10 was taken back by ").lacks(t, "Somebody else")
	pending("New ", 11)
	ctl("", "confirm").wants(t, 0, "Version 11 stays in force.")
	eventually(t, "version 11 is kept", func() bool { r := reported(); return r.Version == 11 && r.Status == "applied" })

	ctl("", "status").wants(t, 0, "Box       test-box, amd64, sluiced 1.2.3", "version 11, applied", "lan0    lo   ready", "stage/wall")
	ctl("", "uplinks").wants(t, 0, "127.0.0.1")
	ctl("", "test", "link", "lan0").wants(t, 0, "link through lan0 (lo): ok")
	ctl("", "test", "link", "wan9").wants(t, 1, "not configured")
	ctl("", "test", "dns", "lan0", "127.0.0.1", "--json").wants(t, 0, `"ok": true`)
	ctl("", "test", "srt", "lan0", "127.0.0.1", "1").wants(t, 1, "failed", "refused")
	ctl("", "test", "tcp", "lan0", "127.0.0.1", "x").wants(t, 2, "no port")
	ctl("", "test", "output", "stage/wall").wants(t, 1, "output through lan0: failed: wall listens")
	ctl("", "test", "output", "stage").wants(t, 2, "FLOW/OUTPUT")
	ctl("", "test", "output", "stage/none").wants(t, 1, "not found")
	ctl("", "test", "ntp", "lan0", "127.0.0.1").wants(t, 1, "failed")
	ctl("", "test", "multicast", "lan0", "127.0.0.1", "5004").wants(t, 1, "address of a group")
	ctl("", "test", "fleet").wants(t, 0, "ok: the session with the broker is up since ", "  fleet through lan0 (lo): ok: 127.0.0.1 accepts connections at port ")
	ctl("", "explain", "stage/wall").wants(t, 0, "stage/wall is disabled: it is not enabled.\n")
	ctl("", "explain", "stage/none").wants(t, 1, "not found")
	ctl("", "identify", "5").wants(t, 1, "nothing on this box can show where it is")
	ctl("", "identify", "soon").wants(t, 2, "no time")
	ctl("", "reboot").wants(t, 1, "nothing on this box can start it again")
	file := filepath.Join(t.TempDir(), "bundle.tar.gz")
	ctl("", "support-bundle", "-o", file).wants(t, 0, file+": ", " bytes.")
	if info, err := os.Stat(file); err != nil || info.Size() < 1000 || info.Mode().Perm() != 0o600 {
		t.Errorf("the bundle: %v, %v", info, err)
	}
	if r := ctl("", "support-bundle", "-o", "-"); r.status != 0 || !strings.HasPrefix(r.out, "\x1f\x8b") {
		t.Errorf("to standard output: status %d, %.20q", r.status, r.out)
	}
	ctl("", "outputs", "stage/wall").wants(t, 0, "Monitor wall", "disabled")
	ctl("", "outputs", "none").wants(t, 1, "there is no flow none")
	ctl("", "input").wants(t, 0, "Input      stage/enc, RTP\nState      waiting\nNote       no media comes in\n")
	ctl("", "input", "none").wants(t, 1, "there is no flow none")
	ctl("", "srt").wants(t, 0, "The box has no SRT connections.")
	ctl("", "srt", "stage/wall").wants(t, 0, "stage/wall has no SRT connections.")
	ctl("", "srt", "stage/none").wants(t, 1, "flow stage has no input or output none")
	for _, name := range []string{"desired", "reported", "state", "telemetry", "info", "status", "schema"} {
		if r := ctl("", "get", name); r.status != 0 || !json.Valid([]byte(r.out)) {
			t.Errorf("get %s: %d\n%s%s", name, r.status, r.out, r.err)
		}
	}
	for _, args := range [][]string{{"status"}, {"uplinks"}, {"flows"}, {"outputs"}, {"outputs", "stage/wall"}, {"input"}, {"input", "stage/enc"}, {"srt"}} {
		if r := ctl("", append(args, "--json")...); r.status != 0 || !json.Valid([]byte(r.out)) {
			t.Errorf("%v --json: %d\n%s%s", args, r.status, r.out, r.err)
		}
	}
	ctl("", "__complete", "output", "rm", "").wants(t, 0, "stage/wall")
	ctl("", "__complete", "output", "add", "").wants(t, 0, "stage")
	ctl("", "__complete", "input", "").wants(t, 0, "stage\nstage/enc\n")
	ctl("", "__complete", "srt", "").wants(t, 0, "stage\nstage/wall\n") // and not stage/enc, which is RTP
	ctl("", "__complete", "output", "set", "stage/wall", "srt.").wants(t, 0, "srt.latency_ms=")
}

func TestWatch(t *testing.T) {
	box := startBox(t)
	for name, flags := range map[string][]string{
		"socket": {"--control", box.socket}, "broker": {"--broker", box.broker, "--device", device},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			var out, errs screen
			c := &command{in: strings.NewReader(""), out: &out, err: &errs, width: 80}
			done := make(chan int, 1)
			go func() { done <- c.run(ctx, append(flags, "watch")) }()
			eventually(t, "the uplink is shown", func() bool { return strings.Contains(out.String(), "lan0") })
			p := ports(t, 2)
			box.local(fmt.Sprintf(`{"schema": "sluice.config/v1", "state": {"flows": [{"id": "%s", "name": "x",
				"inputs": [{"id": "enc", "protocol": "RTP", "rtp": {"port": %d}}],
				"outputs": [{"id": "wall", "name": "Wall", "protocol": "SRT", "srt": {"mode": "listener", "port": %d}}]}]}}`, name, p[0], p[1]), "apply", "-").
				wants(t, 0)
			eventually(t, "the new output is shown", func() bool {
				return strings.Contains(out.String(), name+"/wall") && strings.Contains(out.String(), "from local")
			})
			cancel()
			if status := <-done; status != 0 {
				t.Errorf("status %d\n%s", status, &errs)
			}
		})
	}
}

func TestUsage(t *testing.T) {
	for _, c := range []struct {
		args   string
		status int
		text   string
	}{
		{"--help", 0, "Show and change what a box relays"},
		{"--version", 0, "sluicectl "},
		{"version", 0, "sluicectl "},
		{"output --help", 0, "Add, change, remove"},
		{"completion bash", 0, "bash completion"},
		{"", 0, "Usage:"},
		{"nonsense", 2, "unknown command"},
		{"--nonsense", 2, "unknown flag"},
		{"status extra", 2, "unknown command"},
		{"srt stage wall", 2, "2 arguments: give at most FLOW, FLOW/INPUT or FLOW/OUTPUT"},
		{"input stage enc", 2, "2 arguments: give at most FLOW or FLOW/INPUT"},
		{"get nonsense", 2, "there is no document"},
		{"get", 2, "the name of one document"},
		{"output nonsense", 2, "there is no command"},
		{"outputs stage wall", 2, "give at most FLOW or FLOW/OUTPUT"},
		{"test", 0, "Does an SRT listener answer?"},
		{"test nonsense", 2, `there is no command "nonsense" in sluicectl test`},
		{"test tcp wan0", 2, "1 argument: give UPLINK HOST PORT"},
		{"test fleet wan0", 2, "1 argument: give none"},
		{"output add", 2, "FLOW and OUTPUT"},
		{"output add stage wall", 2, "--protocol"},
		{"output add stage wall --protocol RTP --to nonsense", 2, "HOST:PORT"},
		{"output rm wall", 2, "not FLOW/OUTPUT"},
		{"output kick stage/wall", 2, "--session"},
		{"output set stage/wall", 2, "field=value"},
		{"--device x status", 2, "--broker"},
		{"--broker mqtt://127.0.0.1:1 status", 2, "--device"},
		{"--broker mqtt://127.0.0.1:1 --device ../x status", 2, "a-z"},
		{"--broker http://127.0.0.1 --device x status", 2, "scheme"},
		{"--control /nonexistent/socket status", 1, "is sluiced running?"},
		{"--broker mqtt://127.0.0.1:1 --device x --timeout 300ms status", 1, "broker"},
		{"apply /nonexistent", 1, "no such file"},
	} {
		sluicectl(t.Context(), "", strings.Fields(c.args)...).wants(t, c.status, c.text)
	}
}

// Secrets come from files and leave by the document alone.
func TestSecretsAreNotShown(t *testing.T) {
	box := startBox(t)
	const passphrase, key, password = "correct horse battery", "e18c3c4dd05aef02", "login of the encoder"
	dir := t.TempDir()
	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		check(t, os.WriteFile(path, []byte(text), 0o600))
		return path
	}
	p := ports(t, 3)
	var shown []result
	do := func(r result) result { shown = append(shown, r); return r }

	do(box.remote(fmt.Sprintf(`{"schema": "sluice.config/v1", "state": {"flows": [{"id": "stage", "name": "Main stage",
		"inputs": [{"id": "enc", "protocol": "SRT", "srt": {"mode": "listener", "port": %d, "passphrase": {"secret": "enc"}}}]}]},
		"secrets": {"enc": "%s"}}`, p[0], passphrase), "apply", "-")).wants(t, 0, "Version 1")
	do(box.local("", "output", "add", "stage", "a", "--protocol", "SRT", "--mode", "listener", "--port", fmt.Sprint(p[1]),
		"--passphrase-file", file("pass", passphrase+"\n"))).wants(t, 0, "Version 2")
	eventually(t, "version 2 is published", func() bool { return strings.Contains(box.remote("", "get", "reported").out, `"version": 2,`) })
	do(box.remote(key, "output", "add", "stage", "b", "--protocol", "RTMP_PUSH", "--to", "rtmp://127.0.0.1/app",
		"--stream-key-file", "-", "--password-file", file("password", password), "--set", "rtmp.destinations.0.username=u")).wants(t, 0, "Version 3")
	// A secret stays when something else is edited, and can be changed.
	do(box.remote("", "output", "set", "stage/a", "max_viewers=3")).wants(t, 0, "Version 4")
	do(box.local("", "output", "set", "stage/a", "--passphrase-file", file("short", "short"))).wants(t, 1, "/srt/passphrase")

	do(box.local("", "output", "set", "stage/a", "srt.passphrase="+passphrase)).wants(t, 2, "is a secret")
	do(box.local("", "output", "add", "stage", "c", "--protocol", "SRT", "--passphrase="+passphrase)).wants(t, 2, "unknown flag")
	do(box.local("", "output", "set", "stage/a", passphrase)).wants(t, 2, "not field=value")
	do(box.local("", "output", "set", "stage/a", "--ask-passphrase")).wants(t, 1, "no terminal")
	do(box.local("", "--broker", "mqtt://me:"+key+"@127.0.0.1", "--device", device, "status")).wants(t, 2, "holds a user")
	for _, ctl := range []func(string, ...string) result{box.local, box.remote} {
		for _, args := range []string{
			"status", "uplinks", "flows", "outputs", "outputs stage/a", "status --json", "outputs --json",
			"get desired", "get reported", "get state", "get telemetry", "get info", "get status",
		} {
			do(ctl("", strings.Fields(args)...)).wants(t, 0)
		}
	}
	for _, r := range append(shown, result{out: box.log.String()}) {
		for _, secret := range []string{passphrase, key, password} {
			if strings.Contains(r.out+r.err, secret) {
				t.Errorf("a secret is shown:\n%s%s", r.out, r.err)
			}
		}
	}
	if out := box.remote("", "get", "desired").out; !strings.Contains(out, `"set": true`) {
		t.Errorf("the desired document does not say that there is a secret:\n%s", out)
	}
}

// The box forgets everything at the word of one who stands before it.
func TestFactoryReset(t *testing.T) {
	r := startBox(t)
	r.remote("", "factory-reset").wants(t, 2, "at the box itself")
	r.local("\n", "factory-reset").wants(t, 1, "nothing was typed")
	r.local("another-box\n", "factory-reset").wants(t, 1, "not the name of this box")
	r.local(device+"\n", "factory-reset").wants(t, 0, "has forgotten everything")
}
