package endpoint

import (
	"net/netip"
	"strings"
	"testing"
)

func TestCheckHost(t *testing.T) {
	for host, good := range map[string]bool{
		"hub.example.com": true, "hub": true, "hub.example.com.": true, "a_b.example": true, "10.0.0.1": true, "2001:db8::1": true,
		"xn--3e0b707e": true, "3com": true, strings.Repeat("a", 63) + ".x": true,
		"": false, ".": false, "a..b": false, "-a.b": false, "a-.b": false, "10.0.0": false, "256.1.1.1": false, "[::1]": false,
		"fe80::1%eth0": false, "0.0.0.0": false, "::": false, "a b": false, "a/b": false, "a:80": false, "도시.kr": false,
		strings.Repeat("a", 64) + ".x": false, strings.Repeat("a.", 127) + "aa": false,
	} {
		if wrong := CheckHost(host); (wrong == "") != good {
			t.Errorf("%q: %q", host, wrong)
		}
	}
}

func TestCheckURL(t *testing.T) {
	for url, good := range map[string]bool{
		"rtmp://a.example.com/app": true, "rtmps://[2001:db8::1]:443/app/inst": true, "rtmp://10.0.0.1:1935/live": true,
		"": false, "a.example.com/app": false, "http://a.example.com/app": false, "rtmp:///app": false, "rtmp://a.example.com": false,
		"rtmp://a.example.com/": false, "rtmp://user@a.example.com/app": false, "rtmp://u:p@a.example.com/app": false, "rtmp://a:0/app": false,
		"rtmp://a:65536/app": false, "rtmp://a:/app": false, "rtmp://a/app#x": false, "rtmp://a b/app": false, "rtmp://256.1.1.1/app": false,
	} {
		wrong := CheckURL(url, "rtmp", "rtmps")
		if (wrong == "") != good {
			t.Errorf("%q: %q", url, wrong)
		}
		if strings.Contains(wrong, "u:p") {
			t.Errorf("%q is quoted: %q", url, wrong)
		}
	}
}

func TestAllow(t *testing.T) {
	for text, want := range map[string]string{
		"203.3.3.3/28": "203.3.3.0/28", " 10.0.0.1 ": "10.0.0.1/32", "2001:db8::1": "2001:db8::1/128", "::ffff:10.0.0.1/104": "10.0.0.0/8", "0.0.0.0/0": "0.0.0.0/0",
	} {
		p, err := ParseAllow(text)
		if err != nil || p.String() != want {
			t.Errorf("%q is %v, %v, want %s", text, p, err, want)
		}
	}
	for _, text := range []string{"", "10.0.0.0/33", "10.0.0", "fe80::1%eth0", "fe80::/10%eth0", "::ffff:0:0/90", "x", "10.0.0.0/08"} {
		if p, err := ParseAllow(text); err == nil {
			t.Errorf("%q is %v", text, p)
		}
	}
	l := AllowList{netip.MustParsePrefix("10.0.0.0/8")}
	if !l.Contains(netip.MustParseAddr("::ffff:10.1.1.1")) || l.Contains(netip.MustParseAddr("11.0.0.1")) || !AllowList(nil).Contains(netip.MustParseAddr("11.0.0.1")) {
		t.Error("Contains")
	}
}
