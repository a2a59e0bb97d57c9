package system

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// blinkEvery is the half of one blink.
const blinkEvery = 250 * time.Millisecond

// act does what is wanted once.
func (a *Applier) act(ctx context.Context, action Action) error {
	if action.Name == Reboot {
		a.log.Warn("the box starts again, as was wanted")
		_, err := a.run(ctx, "systemctl", "--no-block", "reboot")
		return err
	}
	return a.lights.start(ctx, time.Duration(action.Seconds)*time.Second)
}

// lights make the box be found among others: its LEDs blink, and those of its
// NICs.
type lights struct {
	root   string
	log    *slog.Logger
	nic    func(name string) error // blinks a NIC's light for a second; nil: the kernel does
	cancel context.CancelFunc
	done   chan struct{} // closed when none blinks any more; nil: none ever did
}

var errNoLight = errors.New("this box has no light that could blink")

// start has them blink for so long, from now on.
func (l *lights) start(ctx context.Context, d time.Duration) error {
	l.stop()
	ctx, l.cancel = context.WithTimeout(ctx, d)
	l.done = make(chan struct{})
	var all sync.WaitGroup
	found := 0
	for _, led := range l.leds() {
		was, err := led.take()
		if err != nil {
			l.log.Warn("a light cannot be switched", "led", string(led), "error", err)
			continue
		}
		found++
		all.Go(func() { led.blink(ctx, was) })
	}
	nics := l.nics()
	first := make(chan error, len(nics)) // of each, within a second
	for _, nic := range nics {
		all.Go(func() {
			err := l.blinkNIC(nic)
			first <- err
			for err == nil && ctx.Err() == nil {
				err = l.blinkNIC(nic)
			}
		})
	}
	for range nics {
		if err := <-first; err == nil || errors.Is(err, unix.EBUSY) {
			found++
		}
	}
	done := l.done
	go func() { // joined by stop
		all.Wait()
		close(done)
	}()
	if found == 0 {
		l.stop()
		return errNoLight
	}
	return nil
}

// on tells whether any blinks.
func (l *lights) on() bool {
	if l.done == nil {
		return false
	}
	select {
	case <-l.done:
		return false
	default:
		return true
	}
}

// stop leaves the lights as they were.
func (l *lights) stop() {
	if l.done != nil {
		l.cancel()
		<-l.done
	}
}

// A led is the directory of one.
type led string

// Names of LEDs by what they are for, the best first: those to find a box by,
// those that are for anybody, and of a board that has neither, its activity.
var ledNames = []*regexp.Regexp{
	regexp.MustCompile(`(?i)ident|locate|(^|[:_-])uid([:_-]|$)`),
	regexp.MustCompile(`(?i)user|usr`),
	regexp.MustCompile(`(?i)^(act|led0)$`),
}

func (l *lights) leds() (found []led) {
	all, _ := filepath.Glob(filepath.Join(l.root, "sys/class/leds/*"))
	for _, names := range ledNames {
		for _, dir := range all {
			if names.MatchString(filepath.Base(dir)) {
				found = append(found, led(dir))
			}
		}
		if len(found) > 0 {
			break
		}
	}
	return found
}

// lit is what an LED showed before.
type lit struct{ trigger, brightness, most string }

func (d led) read(name string) string {
	text, _ := os.ReadFile(filepath.Join(string(d), name))
	return strings.TrimSpace(string(text))
}

func (d led) write(name, value string) error {
	return os.WriteFile(filepath.Join(string(d), name), []byte(value), 0o644)
}

// take switches off what the LED shows by itself.
func (d led) take() (lit, error) {
	was := lit{brightness: d.read("brightness"), most: d.read("max_brightness")}
	if was.most == "" || was.most == "0" {
		was.most = "1"
	}
	// "none timer [heartbeat]": the one in brackets is in use.
	if _, rest, ok := strings.Cut(d.read("trigger"), "["); ok {
		was.trigger, _, _ = strings.Cut(rest, "]")
	}
	if was.trigger == "" {
		return was, d.write("brightness", was.most)
	}
	return was, d.write("trigger", "none")
}

// blink does it without the trigger "timer", which not every kernel has.
func (d led) blink(ctx context.Context, was lit) {
	every := time.NewTicker(blinkEvery)
	defer every.Stop()
	for bright := true; ctx.Err() == nil; bright = !bright {
		value := "0"
		if bright {
			value = was.most
		}
		_ = d.write("brightness", value)
		select {
		case <-ctx.Done():
		case <-every.C:
		}
	}
	_ = d.write("brightness", was.brightness)
	if was.trigger != "" && was.trigger != "none" {
		_ = d.write("trigger", was.trigger)
	}
}

// nics returns those that are devices.
func (l *lights) nics() (names []string) {
	all, _ := filepath.Glob(filepath.Join(l.root, "sys/class/net/*/device"))
	for _, device := range all {
		names = append(names, filepath.Base(filepath.Dir(device)))
	}
	return names
}

func (l *lights) blinkNIC(name string) error {
	if l.nic != nil {
		return l.nic(name)
	}
	return identifyNIC(name)
}

// identifyNIC has a NIC blink for a second, or says at once that it cannot:
// ethtool_phys_id in the kernel's net/ethtool/ioctl.c.
func identifyNIC(name string) error {
	const physID = 0x1c // ETHTOOL_PHYS_ID
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	value := struct{ cmd, seconds uint32 }{physID, 1}
	request := struct {
		name [unix.IFNAMSIZ]byte
		data unsafe.Pointer
		_    [16]byte // the rest of struct ifreq
	}{data: unsafe.Pointer(&value)}
	copy(request.name[:unix.IFNAMSIZ-1], name)
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.SIOCETHTOOL, uintptr(unsafe.Pointer(&request))); errno != 0 {
		return fmt.Errorf("%s: %w", name, errno)
	}
	return nil
}
