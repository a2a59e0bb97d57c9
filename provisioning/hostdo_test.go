package provisioning

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"

	"sluice/device/control"
	"sluice/device/system"
	"sluice/provisioning/config"
	"sluice/provisioning/mqtt"
)

// doer is a host that notes what it was asked to do, and when.
type doer struct {
	mu         sync.Mutex
	there, err error
	done       []system.Action
	at         []time.Time
	ended      int
}

func (*doer) Set(context.Context, system.Settings) error { return nil }

func (h *doer) There() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.there
}

func (h *doer) Do(_ context.Context, a system.Action) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.done, h.at = append(h.done, a), append(h.at, time.Now())
	return h.err
}

// end is what has the daemon end.
func (h *doer) end() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.ended++
}

// did returns what was done so far.
func (h *doer) did() (done []system.Action, at []time.Time, ended int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.done), slices.Clone(h.at), h.ended
}

// fail has the host fail from now on.
func (h *doer) fail(there, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.there, h.err = there, err
}

// The answer is given before the box starts again, at the box and from afar.
func TestReboot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &doer{}
		b := startBox(t, "", func(o *Options) { o.Host = h })
		begin := time.Now()
		if status, answer := b.local(control.Caller{UID: 7}, "reboot", `{}`); status != 200 {
			t.Fatalf("%d %s", status, answer)
		}
		if done, _, _ := h.did(); len(done) != 0 {
			t.Fatalf("before the answer: %v", done)
		}
		time.Sleep(time.Minute)
		done, at, _ := h.did()
		if len(done) != 1 || done[0] != (system.Action{Name: system.Reboot}) || at[0].Sub(begin) < rebootPause {
			t.Fatalf("done %v at %v", done, at)
		}
		b.receiveRequest(mqtt.Message{Topic: "sluice/v1/box/request/reboot", Payload: []byte(fmt.Sprintf(
			`{"transaction":"1","expires":"%s"}`, time.Now().Add(time.Minute).UTC().Format(time.RFC3339)))})
		time.Sleep(time.Minute)
		done, at, _ = h.did()
		if on := b.fleet.on("response/reboot"); len(on) != 1 || !strings.Contains(on[0].body, `"status":"ok"`) || len(done) != 2 || !on[0].at.Before(at[1]) {
			t.Errorf("from afar: %v, done %v at %v", on, done, at)
		}
		// Nothing that takes seconds holds it up.
		for i := range slowWorkers + 1 {
			b.receiveRequest(mqtt.Message{Topic: "sluice/v1/box/request/input-inspect", Payload: []byte(fmt.Sprintf(
				`{"transaction":"%d","expires":"%s","data":{"flow":"f"}}`, i, time.Now().Add(time.Minute).UTC().Format(time.RFC3339)))})
		}
		begin = time.Now()
		b.local(control.Caller{}, "reboot", `{}`)
		time.Sleep(time.Minute)
		if done, at, _ = h.did(); len(done) != 3 || at[2].Sub(begin) != rebootPause {
			t.Errorf("while others take their time: done %v at %v", done, at)
		}
		h.fail(nil, errors.New("systemctl: not now"))
		b.local(control.Caller{}, "reboot", `{}`)
		time.Sleep(time.Minute)
		if e := b.eventsOf(t, "reboot_failed"); len(e) != 1 || !strings.Contains(e[0], "not now") {
			t.Errorf("a host that fails: %v", e)
		}
		h.fail(system.ErrNoHost, nil)
		if status, answer := b.local(control.Caller{}, "reboot", `{}`); status != 501 || !strings.Contains(answer, "nothing on this box") {
			t.Errorf("without a host: %d %s", status, answer)
		}
	})
}

func TestIdentify(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &doer{}
		b := startBox(t, "", func(o *Options) { o.Host = h })
		for data, want := range map[string]int{`{}`: 200, `{"seconds":30}`: 200, `{"seconds":0}`: 400, `{"seconds":999999}`: 400, `{"secs":3}`: 400} {
			if status, answer := b.local(control.Caller{}, "identify", data); status != want {
				t.Errorf("%s: %d %s", data, status, answer)
			}
		}
		if done, _, _ := h.did(); len(done) != 2 || done[0].Seconds+done[1].Seconds != someIdentify+30 || done[0].Name != system.Identify {
			t.Errorf("done %v", done)
		}
		h.fail(nil, fmt.Errorf("%w: nobody took it", system.ErrNoHost))
		if status, answer := b.local(control.Caller{}, "identify", `{}`); status != 501 {
			t.Errorf("without a host: %d %s", status, answer)
		}
	})
}

// A reset needs the serial number, forgets everything, and has the box, or at
// least the daemon, started again.
func TestFactoryReset(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &doer{}
		prepare := func(o *Options) {
			o.Host, o.End = h, h.end
			o.Info = func() config.Info { return config.Info{SerialNumber: "SN-7"} }
		}
		b := startBox(t, "", prepare)
		by := control.Caller{UID: 7, PID: 8}
		b.publish(document(7, "a", ""))
		b.put(t, by, 0, draftOf("b", ""))
		first, recipient := b.firstPassword(t), b.info().AgeRecipient
		b.loginAs(t, by, "anna", first)
		for _, data := range []string{`{}`, `{"serial_number":"sn-7"}`, `{"serial_number":""}`} {
			if status, answer := b.local(by, "factory-reset", data); status != 409 || strings.Contains(answer, "SN-7") {
				t.Errorf("%s: %d %s", data, status, answer)
			}
		}
		if r, _ := b.perform(t.Context(), "factory-reset", config.Request{Data: []byte(`{"serial_number":"SN-7"}`)}, nil); r.Error == nil || r.Error.Code != 404 {
			t.Errorf("from afar: %v", r)
		}
		if status, answer := b.local(by, "factory-reset", `{"serial_number":"SN-7"}`); status != 200 || b.inForce.Load().version() != 7 {
			t.Fatalf("%d %s", status, answer)
		}
		b.publishLater(document(8, "late", "")) // what still runs writes again
		b.present(mqtt.Init)
		time.Sleep(time.Minute)
		if done, _, ended := h.did(); len(done) != 1 || done[0].Name != system.Reboot || ended != 0 || len(b.eventsOf(t, "factory_reset")) != 1 {
			t.Errorf("done %v, ended %d, %v", done, ended, b.eventsOf(t, "factory_reset"))
		}
		b.stop()
		b = startBox(t, b.dir, prepare)
		if f := b.inForce.Load(); f.origin != config.OriginFactory || b.firstPassword(t) == first || b.firstPassword(t) == "" || b.info().AgeRecipient == recipient {
			t.Errorf("after the reset: %s, password %q, key %s", f.origin, b.firstPassword(t), b.info().AgeRecipient)
		}
		if revision, _, _ := b.candidateIs(t); revision != 0 || b.presence.bdSeq != 0 {
			t.Errorf("candidate at %v, bd_seq %d", revision, b.presence.bdSeq)
		}
		if _, err := os.Stat(filepath.Join(b.dir, resetName)); err == nil {
			t.Error("it would be reset again")
		}
		// Without a host the daemon ends.
		h.fail(system.ErrNoHost, nil)
		b.local(by, "factory-reset", `{"serial_number":"SN-7"}`)
		time.Sleep(time.Minute)
		if done, _, ended := h.did(); ended != 1 || len(done) != 1 {
			t.Errorf("ended %d, done %v", ended, done)
		}
	})
}

func TestClock(t *testing.T) {
	run := t.TempDir()
	at := time.Date(2026, 11, 25, 1, 2, 3, 0, time.UTC)
	for name, c := range map[string]struct {
		t        unix.Timex
		state    int
		err      error
		timesync bool
		want     string
	}{
		"never set":    {t: unix.Timex{Status: staUnsync}, state: timeError, want: `"synchronized":false,"server":"","offset_ms":null,"source":"none"`},
		"not yet":      {t: unix.Timex{Status: staUnsync}, timesync: true, want: `"synchronized":false,"server":"","offset_ms":null,"source":"timesyncd"`},
		"by timesyncd": {t: unix.Timex{Status: offsetKnown | staNano, Offset: -1_500_000}, timesync: true, want: `"synchronized":true,"server":"","offset_ms":-1.5,"source":"timesyncd"`},
		"in us":        {t: unix.Timex{Status: offsetKnown, Offset: 250}, timesync: true, want: `"synchronized":true,"server":"","offset_ms":0.25,"source":"timesyncd"`},
		"by steps":     {t: unix.Timex{}, want: `"synchronized":true,"server":"","offset_ms":null,"source":"none"`},
		"error alone":  {t: unix.Timex{Status: offsetKnown}, state: timeError, want: `"synchronized":false,"server":"","offset_ms":null,"source":"none"`},
		"forbidden":    {err: unix.EPERM, want: `"synchronized":false,"server":"","offset_ms":null,"source":"none"`},
	} {
		dir := filepath.Join(run, name)
		if c.timesync {
			if err := os.MkdirAll(filepath.Join(dir, "timesync"), 0o700); err != nil {
				t.Fatal(err)
			}
		}
		k := kernelClock{func(x *unix.Timex) (int, error) {
			if x.Modes != 0 {
				t.Errorf("%s: the clock is changed: modes %#x", name, x.Modes)
			}
			*x = c.t
			return c.state, c.err
		}, dir}
		if got := string(marshal(k.document(at))); got != `{"time":"2026-11-25T01:02:03Z",`+c.want+`}` {
			t.Errorf("%s: %s", name, got)
		}
	}
	if d := newKernelClock().document(at); d.Time != at {
		t.Errorf("the box's own: %+v", d)
	}
}
