package main

import (
	"strings"
	"testing"
	"time"
)

func TestConsoleUsage(t *testing.T) {
	for _, c := range []struct {
		args, want string
		status     int
	}{
		{"console", "--tty is needed", exitUsage},
		{"console --tty /dev/null --speed 0", "use 300 to 4000000", exitUsage},
		{"console --tty /dev/null", "/dev/null: not a serial port", exitFailed},
		{"console --tty /dev/null ttyS1", "", exitUsage},
		{"console --tty /dev/null --broker mqtt://127.0.0.1", "works on the box alone", exitUsage},
		{"shell --device van-3", "works on the box alone", exitUsage},
		{"shell now", "", exitUsage},
	} {
		var out, errs screen
		cmd := &command{in: strings.NewReader(""), out: &out, err: &errs, now: time.Now}
		if status := cmd.run(t.Context(), strings.Fields(c.args)); status != c.status || !strings.Contains(errs.String(), c.want) {
			t.Errorf("%s: %d, %s", c.args, status, &errs)
		}
	}
}

// The daemon takes no line with a longer name, and no other characters.
func TestLineNames(t *testing.T) {
	for tty, want := range map[string]string{
		"/dev/ttyS1":  "ttyS1",
		"/dev/pts/3":  "pts/3",
		"/run/x/ttyS": "ttyS",
		"/dev/serial/by-id/usb-FTDI_FT232R_USB_UART_A50285BI-if00-port0": "32R_USB_UART_A50285BI-if00-port0",
	} {
		if got := lineName(tty); got != want || len(got) > maxLineName {
			t.Errorf("%s: %s, want %s", tty, got, want)
		}
	}
}

func TestUserNames(t *testing.T) {
	for uid, want := range map[int]string{0: "root", 1_999_999_999: "uid 1999999999"} {
		if got := userName(uid); got != want {
			t.Errorf("%d: %s, want %s", uid, got, want)
		}
	}
}
