package provisioning

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sluice/device/system"
	"sluice/device/uplink"
)

// hosting is a document that asks for all that a host can be.
func hosting(version int, name string) string {
	return fmt.Sprintf(`{"schema":"sluice.config/v1","version":%d,"client_token":"t%d","state":{"device":{"hostname":%q,"ntp":["192.0.2.123"]},"uplinks":[`+
		`{"name":"lan0","addresses":["10.0.0.1/8"]},{"name":"wan0","match":{"mac":"02:00:5e:00:00:02"},"dhcp4":true,"default":true},`+
		`{"name":"wan1","match":{"path":"pci-0"}}]}}`, version, version, name)
}

// The host is what the document asks, at once and after a restart, and what it
// was where a document goes back.
func TestHostIsAsTheDocumentAsks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &fakeHost{}
		prepare := func(o *Options) { o.Host = h }
		b := startBox(t, "", prepare)
		b.publish(hosting(7, "van"))
		b.fleet.last("config/accepted")
		want := system.Settings{
			Hostname: "van", NTP: []string{"192.0.2.123"},
			Links: []system.Link{
				{Name: "lan0", Match: uplink.Match{Interface: "lo"}, Addresses: prefixes("10.0.0.1/8")},
				{Name: "wan0", Match: uplink.Match{MAC: "02:00:5e:00:00:02"}, DHCP4: true, Default: true},
			},
		}
		if got := h.asked(); len(got) != 2 || !reflect.DeepEqual(got[0], system.Settings{}) || !reflect.DeepEqual(got[1], want) {
			t.Fatalf("asked for\n%+v\nwant nothing, and then\n%+v", got, want)
		}
		if got := field(t, b.fleet.last("config/reported"), "status"); got != "applied" {
			t.Errorf("reported is %v", got)
		}
		b.publishLater(strings.Replace(hosting(8, "van"), `"device"`, `"regions":{},"device"`, 1))
		if n := len(h.asked()); n != 2 {
			t.Errorf("the same was asked for again: %d times", n)
		}
		b.stop()
		h.forget()
		b = startBox(t, b.dir, prepare)
		if got := h.asked(); len(got) != 1 || !reflect.DeepEqual(got[0], want) {
			t.Errorf("after a restart: %+v", got)
		}
		b.fleet.live(false)
		b.publishLater(strings.Replace(hosting(9, "other"), "10.0.0.1/8", "10.0.0.2/8", 1))
		if got := h.asked(); len(got) != 2 || got[1].Hostname != "other" || got[1].Links[0].Addresses[0] != prefixes("10.0.0.2/8")[0] {
			t.Errorf("the next: %+v", got)
		}
		time.Sleep(121 * time.Second)
		if got := h.asked(); len(got) != 3 || !reflect.DeepEqual(got[2], want) {
			t.Errorf("after it went back: %+v", got)
		}
		// The name alone needs no session.
		b.publishLater(hosting(10, "third"))
		if got := field(t, b.fleet.last("config/reported"), "status"); got != "applied" {
			t.Errorf("reported is %v", got)
		}
	})
}

// What the host does not do is told where the document asks for it.
func TestHostThatDoesNotDoIt(t *testing.T) {
	for name, c := range map[string]struct {
		err      error
		document string
		degraded bool
	}{
		"nobody does it":               {fmt.Errorf("%w: no unit", system.ErrNoHost), hosting(7, "van"), true},
		"nobody has to":                {fmt.Errorf("%w: no unit", system.ErrNoHost), document(7, "a", ""), false},
		"it fails":                     {errors.New("networkd would not reload"), hosting(7, "van"), true},
		"it fails to take things back": {errors.New("networkd would not reload"), document(7, "a", ""), true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := &fakeHost{err: c.err}
				b := startBox(t, "", func(o *Options) { o.Host, o.Broker = h, nil }) // nothing is to be confirmed
				b.publish(c.document)
				time.Sleep(2 * time.Second)
				want := "applied"
				if c.degraded {
					want = "degraded"
				}
				if got := field(t, b.fleet.last("config/reported"), "status"); got != want {
					t.Errorf("reported is %v, want %s", got, want)
				}
				if got := field(t, b.fleet.last("config/accepted"), "status"); got != "applied" {
					t.Errorf("the answer is %v", got)
				}
				state := b.fleet.last("state")
				if alarmed := strings.Contains(state, "network_not_applied") && strings.Contains(state, c.err.Error()); alarmed != c.degraded {
					t.Errorf("state %s", state)
				}
				// It is asked again, and does it then.
				h.mu.Lock()
				h.err = nil
				h.mu.Unlock()
				time.Sleep(hostAgain + 3*time.Second)
				if got := field(t, b.fleet.last("config/reported"), "status"); got != "applied" {
					t.Errorf("later, reported is %v", got)
				}
				if state := b.fleet.last("state"); strings.Contains(state, "network_not_applied") {
					t.Errorf("later, state %s", state)
				}
			})
		})
	}
}

// A network that the host could not set is not kept, whatever session there is:
// the host might do it later.
func TestNetworkThatTheHostDoesNotSet(t *testing.T) {
	for name, c := range map[string]struct {
		err     error
		answer  string
		version uint64
	}{
		"it fails":       {errors.New("networkd would not reload"), "408 8 t8", 7},
		"nobody does it": {system.ErrNoHost, "applied 8 t8", 8},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := &fakeHost{}
				b := startBox(t, "", func(o *Options) { o.Host = h })
				b.publish(document(7, "a", ""))
				h.mu.Lock()
				h.err = c.err
				h.mu.Unlock()
				b.publishLater(strings.Replace(document(8, "b", ""), `"default":true`, `"default":true,"dhcp4":true`, 1))
				time.Sleep(122 * time.Second)
				b.answersAre(t, "applied 7 t7", c.answer)
				if v := b.inForce.Load().version(); v != c.version {
					t.Errorf("version %d is in force", v)
				}
				if got := b.fleet.last("config/rejected"); got != "" && !strings.Contains(got, c.err.Error()) {
					t.Errorf("rejected %s", got)
				}
			})
		})
	}
}

// A host that takes its time holds up neither the start nor, for long, the
// goroutine that owns the document; and no session of before confirms what it
// has not done yet.
func TestSlowHost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &fakeHost{}
		prepare := func(o *Options) { o.Host = h }
		b := startBox(t, "", prepare)
		b.publish(document(7, "a", ""))
		time.Sleep(time.Second)
		h.mu.Lock()
		h.takes = 40 * time.Second
		h.mu.Unlock()
		doc := strings.Replace(document(8, "b", ""), `"default":true`, `"default":true,"dhcp4":true`, 1)
		b.receiveDesired(message(doc))
		worst := time.Duration(0)
		for i := range 430 {
			time.Sleep(100 * time.Millisecond)
			worst = max(worst, time.Since(b.Alive()))
			if i < 390 && len(b.fleet.brokers()) > 0 {
				t.Fatal("the session is made anew before the host is as it is to be")
			}
		}
		if worst > hostTime+time.Second {
			t.Errorf("it showed no life for %v", worst)
		}
		b.answersAre(t, "applied 7 t7", "applied 8 t8")
		at := b.fleet.on("config/accepted")[1].at
		if took := at.Sub(b.fleet.on("config/accepted")[0].at); took < 40*time.Second {
			t.Errorf("it was kept after %v, before the host was done", took)
		}
		b.stop()

		began := time.Now()
		b = startBox(t, b.dir, prepare)
		<-b.Ready()
		if took := time.Since(began); took > time.Second {
			t.Errorf("the start took %v", took)
		}
		if b.engine.last().Flows[0].Outputs[0].Name != "b" {
			t.Error("media waits for the host")
		}
	})
}

// What the box has anyway needs nobody who sets it.
func TestNetworkThatIsThere(t *testing.T) {
	at, gateway := netip.MustParseAddr("192.0.2.9"), netip.MustParseAddr("192.0.2.1")
	link := system.Link{Name: "wan0", Addresses: []netip.Prefix{netip.PrefixFrom(at, 24)}, Gateway4: &gateway}
	has := uplink.Status{Name: "wan0", Interface: "eth1", Addresses: []netip.Addr{at}, Gateways: []netip.Addr{gateway}}
	own, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		change func(s *system.Settings, u *uplink.Status)
		lacks  bool
	}{
		"it is all there":        {func(*system.Settings, *uplink.Status) {}, false},
		"the NIC is not there":   {func(_ *system.Settings, u *uplink.Status) { *u = uplink.Status{Name: "wan0"} }, false},
		"the address is not":     {func(_ *system.Settings, u *uplink.Status) { u.Addresses = nil }, true},
		"the router is not":      {func(_ *system.Settings, u *uplink.Status) { u.Gateways = nil }, true},
		"it may be by DHCP":      {func(s *system.Settings, _ *uplink.Status) { s.Links[0].DHCP4 = true }, true},
		"the time is from there": {func(s *system.Settings, _ *uplink.Status) { s.NTP = []string{"192.0.2.1"} }, true},
		"it has its name":        {func(s *system.Settings, _ *uplink.Status) { s.Hostname = own }, false},
		"it has another name":    {func(s *system.Settings, _ *uplink.Status) { s.Hostname = own + "x" }, true},
	} {
		s, u := system.Settings{Links: []system.Link{link}}, has
		c.change(&s, &u)
		if got := lacks(s, []uplink.Status{u}); got != c.lacks {
			t.Errorf("%s: the box lacks something: %v", name, got)
		}
	}
}
