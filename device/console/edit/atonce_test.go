package edit

import (
	"strings"
	"testing"
)

// What the box would not take is refused where it is typed, and no password in
// a URL is repeated.
func TestAtOnce(t *testing.T) {
	for _, c := range []struct{ line, wrong string }{
		{"device management broker url mqtts://fleet.example.com", ""},
		{"device management broker url mqtt://192.0.2.1:1884/", ""},
		{"device management broker url wss://[2001:db8::1]/mqtt", ""},
		{"device management broker url fleet.example.com", "url begins with"},
		{"device management broker url fleet.example.com:8883", "url begins with"},
		{"device management broker url https://fleet.example.com", "url begins with"},
		{"device management broker url mqtts://", "url begins with"},
		{"device management broker url mqtts://:8883", "url begins with"},
		{"device management broker url mqtts://fleet.example.com/mqtt", "url has a path"},
		{"device management broker url mqtts://fleet.example.com:70000", "url has a port"},
		{"device management broker url mqtts://box:planted@fleet.example.com", "no user and no password"},
		{"device management broker url mqtts://planted@fleet.example.com", "no user and no password"},
		{"device management broker url box:planted@fleet.example.com", "url begins with"},
		{"device management broker url mqtts://box:pl%anted@fleet.example.com", "no user and no password"},
		{"device ntp pool.ntp.org 192.0.2.1 2001:db8::1 ntp_1.lan.", ""},
		{"device ntp pool.ntp.org http://x", `ntp is "http://x": use an IP address or a DNS name`},
		{"device ntp -x", `ntp is "-x`},
		{"device ntp x..y", `ntp is "x..y`},
		{"device ntp 192.0.2.300", `ntp is "192.0.2.300`},
		{"device ntp 0.0.0.0", `ntp is "0.0.0.0`},
		{"device ntp fe80::1%eth0", `ntp is "fe80::1%eth0`},
		{"device ntp " + strings.Repeat("x", 64), `ntp is "x`},
	} {
		_, err := parse(t, `{}`).Set(strings.Fields(c.line)...)
		switch {
		case c.wrong == "" && err != nil:
			t.Errorf("%s: %v", c.line, err)
		case c.wrong != "" && (err == nil || !strings.Contains(err.Error(), c.wrong)):
			t.Errorf("%s: %v, want %q", c.line, err, c.wrong)
		case err != nil && (strings.Contains(err.Error(), "planted") || strings.Contains(err.Error(), "pl%")):
			t.Errorf("%s: it is repeated: %v", c.line, err)
		}
	}
}
