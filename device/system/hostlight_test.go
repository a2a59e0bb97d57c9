package system

import (
	"errors"
	"maps"
	"path/filepath"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"

	"sluice/relay/relaytest"
)

// shine is what the LED shows now.
func (b *fakeBox) shine(t *testing.T, name string) string {
	t.Helper()
	return b.content(t, "sys/class/leds/"+name)["sys/class/leds/"+name+"/brightness"]
}

// The light that is for it blinks for as long as was asked, and shows what it
// showed before afterwards. Meanwhile settings are made.
func TestIdentify(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newFakeBox(t)
		for _, name := range []string{"beaglebone:green:usr0", "server:blue:locate", "mmc0::"} {
			b.put(t, "sys/class/leds/"+name+"/brightness", "3\n")
			b.put(t, "sys/class/leds/"+name+"/max_brightness", "255\n")
			b.put(t, "sys/class/leds/"+name+"/trigger", "none timer [heartbeat] mmc0\n")
		}
		before := b.content(t, "sys/class/leds")
		const led = "server:blue:locate"
		h := b.host(t)
		for _, again := range []string{"heartbeat", "heartbeat"} {
			if err := h.Do(t.Context(), Action{Name: Identify, Seconds: 4}); err != nil {
				t.Fatal(err)
			}
			blinks, last := 0, ""
			for range 20 {
				time.Sleep(100 * time.Millisecond)
				synctest.Wait()
				if is := b.shine(t, led); is != last {
					blinks, last = blinks+1, is
				}
			}
			if blinks < 4 {
				t.Errorf("it blinked %d times within 2 s", blinks)
			}
			for _, other := range []string{"beaglebone:green:usr0", "mmc0::"} {
				if is := b.shine(t, other); is != "3\n" {
					t.Errorf("%s shows %q", other, is)
				}
			}
			if err := h.Set(t.Context(), Settings{Hostname: "ob-van-" + again}); err != nil {
				t.Errorf("settings, while it blinks: %v", err)
			}
			if !b.lights.on() {
				t.Error("it stopped for settings")
			}
			time.Sleep(4 * time.Second)
			synctest.Wait()
			after := maps.Clone(before)
			after["sys/class/leds/"+led+"/brightness"], after["sys/class/leds/"+led+"/trigger"] = "3", again
			if got := b.content(t, "sys/class/leds"); !maps.Equal(got, after) {
				t.Errorf("afterwards they show %q", got)
			}
			b.put(t, "sys/class/leds/"+led+"/trigger", "none timer [heartbeat] mmc0\n")
		}
	})
}

// NICs that can blink do, for as long as was asked; where nothing can, that is
// told.
func TestIdentifyNIC(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newFakeBox(t)
		b.put(t, "sys/class/net/eth0/device/vendor", "")
		b.put(t, "sys/class/net/wg0/mtu", "")
		var blinks atomic.Int64
		b.lights.nic = func(nic string) error {
			if nic != "eth0" {
				t.Errorf("%s is no device", nic)
			}
			time.Sleep(time.Second)
			blinks.Add(1)
			return nil
		}
		if err := b.act(t.Context(), Action{Name: Identify, Seconds: 5}); err != nil {
			t.Fatal(err)
		}
		<-b.lights.done
		if n := blinks.Load(); n < 5 || n > 6 { // the last one may have just begun
			t.Errorf("it blinked for %d s", n)
		}
		b.lights.nic = func(string) error { return unix.EOPNOTSUPP }
		if err := b.act(t.Context(), Action{Name: Identify, Seconds: 5}); !errors.Is(err, errNoLight) {
			t.Errorf("nothing can blink: %v", err)
		}
		if b.lights.on() {
			t.Error("nothing blinks on")
		}
	})
}

// The kernel is asked in its own form: it knows the NIC, and that it cannot.
func TestIdentifyAsksKernel(t *testing.T) {
	for nic, want := range map[string]error{"lo": unix.EOPNOTSUPP, "no-such-nic": unix.ENODEV} {
		err := identifyNIC(nic)
		if errors.Is(err, unix.EPERM) {
			t.Skip("it takes CAP_NET_ADMIN")
		}
		if errors.Is(err, unix.ENOSYS) {
			relaytest.EmulatorLacks(t, "ioctl(SIOCETHTOOL)", err)
		}
		if !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", nic, err, want)
		}
	}
	if nics := (&lights{root: filepath.Join(t.TempDir(), "none")}).nics(); len(nics) > 0 {
		t.Errorf("there are %q", nics)
	}
}
