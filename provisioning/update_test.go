package provisioning

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"sluice/device/system"
	"sluice/provisioning/config"
	"sluice/provisioning/mqtt"
)

// fakeUpdater installs in 10 s, or fails as it is told.
type fakeUpdater struct {
	mu   sync.Mutex
	urls []string
	err  error
}

func (u *fakeUpdater) Install(ctx context.Context, wanted system.Update, _ system.DialFunc, progress func(int)) error {
	u.mu.Lock()
	u.urls = append(u.urls, wanted.URL)
	err := u.err
	u.mu.Unlock()
	for percent := 0; percent <= 100; percent += 50 {
		progress(percent)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(5 * time.Second):
		}
	}
	return err
}

func (u *fakeUpdater) tried() []string {
	u.mu.Lock()
	defer u.mu.Unlock()
	return slices.Clone(u.urls)
}

const bundle = `"url":"https://updates.example.com/sluice.raucb"`

func (b *box) wish(body string) {
	b.receiveUpdate(mqtt.Message{Topic: "sluice/v1/box/update/desired", Payload: []byte(body), Retained: true})
	synctest.Wait()
}

// A life is one start of the daemon, on a box that was started as boot says
// and runs that version.
func (u *fakeUpdater) life(t *testing.T, dir, boot, version string, h Host) *box {
	return startBox(t, dir, func(o *Options) {
		o.SystemBootID, o.Updater, o.Host = boot, u, h
		o.Info = func() config.Info { return config.Info{Version: version} }
	})
}

func (b *box) updateIs(t *testing.T, state, message string) {
	t.Helper()
	body := b.fleet.last("update/reported")
	if body == "" {
		t.Fatalf("nothing is reported, want %s", state)
	}
	told, _ := field(t, body, "message").(string)
	if field(t, body, "state") != state || !strings.Contains(told, message) {
		t.Errorf("reported %s, want %s with %q", body, state, message)
	}
}

func TestUpdate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		u, h := &fakeUpdater{}, &fakeReboot{}
		b := u.life(t, "", "first", "1", h)
		wish := `{"version":"2",` + bundle + `,"reboot":true}`
		b.wish(wish)
		b.updateIs(t, "installing", "")
		time.Sleep(7 * time.Second)
		synctest.Wait()
		if got := field(t, b.fleet.last("update/reported"), "progress_percent"); got != 50.0 {
			t.Errorf("progress %v", got)
		}
		time.Sleep(10 * time.Second)
		synctest.Wait()
		b.updateIs(t, "installed", "starts again")
		if h.n != 1 {
			t.Errorf("the box was started again %d times", h.n)
		}
		b.stop()

		b = u.life(t, b.dir, "second", "2", h)
		b.wish(wish) // as it does at every connection
		b.updateIs(t, "current", "")
		if n := len(u.tried()); n != 1 || h.n != 1 {
			t.Errorf("installed %d times, started again %d times", n, h.n)
		}
	})
}

// A box that comes back with its old firmware does not install the new one for
// ever, and says why.
func TestUpdateThatDoesNotStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		u, h := &fakeUpdater{}, &fakeReboot{}
		wish := `{"version":"2",` + bundle + `}`
		b := u.life(t, "", "first", "1", h)
		b.wish(wish)
		time.Sleep(time.Minute)
		synctest.Wait()
		b.updateIs(t, "installed", "next start of the box")
		if h.n != 0 {
			t.Error("it was started again, and nobody asked for that")
		}
		b.wish(wish) // the session is a new one, the box is not
		b.updateIs(t, "installed", "next start of the box")
		b.stop()

		for _, boot := range []string{"second", "third"} {
			b = u.life(t, b.dir, boot, "1", h)
			b.wish(wish)
			b.updateIs(t, "failed", "it runs 1")
			b.stop()
		}
		if n := len(u.tried()); n != 1 {
			t.Errorf("it was installed %d times", n)
		}
		b = u.life(t, b.dir, "third", "1", h)
		b.wish(`{"version":"2",` + bundle + `,"client_token":"again"}`)
		b.updateIs(t, "installing", "")
		if n := len(u.tried()); n != 2 {
			t.Errorf("another wish was installed %d times", n-1)
		}
	})
}

// What a power cut breaks off is begun again, but not for ever.
func TestUpdateIsBrokenOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		u, dir := &fakeUpdater{}, ""
		for i := range maxTries + 2 {
			b := u.life(t, dir, fmt.Sprint(i), "1", nil)
			b.wish(`{"version":"2",` + bundle + `}`)
			if i < maxTries {
				b.updateIs(t, "installing", "")
			} else {
				b.updateIs(t, "failed", "broken off")
			}
			b.stop()
			dir = b.dir
		}
		if n := len(u.tried()); n != maxTries {
			t.Errorf("begun %d times, want %d", n, maxTries)
		}
	})
}

func TestUpdateFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		u := &fakeUpdater{err: errors.New("signature verification failed")}
		b := u.life(t, "", "first", "1", nil)
		for range 2 {
			b.wish(`{"version":"2",` + bundle + `}`)
			time.Sleep(time.Minute)
			synctest.Wait()
			b.updateIs(t, "failed", "signature verification failed")
		}
		if n := len(u.tried()); n != 1 {
			t.Errorf("tried %d times", n)
		}
		if !strings.Contains(b.fleet.everything(), "update_failed") {
			t.Error("no event tells of it")
		}
		u.mu.Lock()
		u.err = system.ErrNoHost
		u.mu.Unlock()
		b.wish(`{"version":"3",` + bundle + `}`)
		time.Sleep(time.Minute)
		synctest.Wait()
		b.updateIs(t, "refused", "no other slot")
	})
}

func TestWishesThatAreRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		u := &fakeUpdater{}
		b := u.life(t, "", "first", "1", nil)
		for _, c := range []struct{ wish, message string }{
			{`{`, "cannot be read"},
			{`{"version":"2","url":"https://a/b","colour":"red"}`, "colour"},
			{`{"url":"https://a/b"}`, "version is missing"},
			{`{"version":"2"}`, "url is not one"},
			{`{"version":"2","url":"file:///etc/shadow"}`, "url is not one"},
			{`{"version":"2","url":"https://me:hunter2@a/b"}`, "holds a user"},
			{`{"version":"` + strings.Repeat("2", maxUpdate) + `",` + bundle + `}`, "bytes"},
		} {
			b.wish(c.wish)
			b.updateIs(t, "refused", c.message)
		}
		if len(u.tried()) > 0 {
			t.Errorf("installed %q", u.tried())
		}
		if strings.Contains(b.fleet.everything(), "hunter2") {
			t.Error("a password was told")
		}
		b.wish("") // cleared
		if n := len(b.fleet.on("update/reported")); n != 7 {
			t.Errorf("%d reports", n)
		}
	})
}

func FuzzUpdateDesired(f *testing.F) {
	f.Add([]byte(`{"version":"2",` + bundle + `,"reboot":true,"client_token":"a"}`))
	f.Add([]byte(`{"version":"2","url":"http://[::1"}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		u, err := readUpdate(raw)
		if err == nil && (u.Version == "" || !strings.HasPrefix(strings.ToLower(u.URL), "http")) {
			t.Errorf("%+v is taken", u)
		}
	})
}
