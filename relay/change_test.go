package relay

import (
	"net/netip"
	"testing"
	"time"

	"sluice/relay/endpoint"
	"sluice/relay/media"
	"sluice/relay/relaytest"
	"sluice/relay/rtmp"
	"sluice/relay/rtp"
	"sluice/relay/srt"
)

func TestOutputChange(t *testing.T) {
	call := func(change func(*srt.Config)) Output {
		o := caller("a", "x.example")
		o.SRT.StreamID = "publish"
		change(o.SRT)
		return o
	}
	send := func(change func(*rtp.OutputConfig)) Output {
		o := Output{ID: "a", Name: "a", Protocol: RTP, Enabled: true, RTP: &rtp.OutputConfig{
			Destinations: []rtp.Destination{{Host: "192.0.2.7", Port: 5004}}, TTL: 16, Encapsulation: rtp.EncapsulationRTP,
		}}
		change(o.RTP)
		return o
	}
	push := func(change func(*rtmp.OutputConfig)) Output {
		o := Output{ID: "a", Name: "a", Protocol: RTMPPush, Enabled: true, RTMP: &rtmp.OutputConfig{
			Destinations: []rtmp.Destination{{URL: "rtmp://x.example/app", StreamKey: endpoint.NewSecret("k")}}, ChunkSize: 4096,
		}}
		change(o.RTMP)
		return o
	}
	samePush := func(*rtmp.OutputConfig) {}
	same := func(*srt.Config) {}
	sameRTP := func(*rtp.OutputConfig) {}
	there := []srt.Destination{{Host: "y.example", Port: 7000}}
	labelled := call(same)
	labelled.Name, labelled.Description, labelled.Region = "b", "words", "eu"
	labelled.MaxViewers, labelled.Enabled = 9, false
	labelled.Allow = endpoint.AllowList{netip.MustParsePrefix("10.0.0.0/8")}
	marked := call(func(c *srt.Config) { c.Destinations = there })
	marked.DSCP = 34
	moved := call(func(c *srt.Config) { c.Destinations = there })
	moved.Uplink = "wan1"
	for _, c := range []struct {
		name     string
		old, new Output
		want     change
	}{
		{"equal", call(same), call(same), inPlace},
		{"labels and access", call(same), labelled, inPlace},
		{"destination", call(same), call(func(c *srt.Config) { c.Destinations = there }), handover},
		{"stream id", call(same), call(func(c *srt.Config) { c.StreamID = "other" }), handover},
		{"destination and passphrase", call(same), call(func(c *srt.Config) { c.Destinations, c.Passphrase = there, endpoint.NewSecret("battery staple") }), handover},
		{"passphrase of the same stream at the same place", call(same), call(func(c *srt.Config) { c.Passphrase = endpoint.NewSecret("battery staple") }), replace},
		{"second destination at first, the same stream", call(same), call(func(c *srt.Config) {
			c.Destinations = append(there, srt.Destination{Host: "x.example", Port: 7000})
		}), replace},
		{"latency", call(same), call(func(c *srt.Config) { c.LatencyMS = 500 }), replace},
		{"destination and latency", call(same), call(func(c *srt.Config) { c.Destinations, c.LatencyMS = there, 500 }), replace},
		{"destination and DSCP", call(same), marked, replace},
		{"destination and uplink", call(same), moved, replace},
		{"caller to listener", call(same), listener("a", 1), replace},
		{"port of a listener", listener("a", 1), listener("a", 2), replace},
		{"passphrase of a listener", listener("a", 1), func() Output {
			o := listener("a", 1)
			o.SRT.Passphrase = endpoint.NewSecret("battery staple")
			return o
		}(), replace},
		{"protocol", call(same), send(sameRTP), replace},
		{"RTP destination", send(sameRTP), send(func(c *rtp.OutputConfig) { c.Destinations = []rtp.Destination{{Host: "192.0.2.8", Port: 5004}} }), handover},
		{"RTP destination added", send(sameRTP), send(func(c *rtp.OutputConfig) {
			c.Destinations = []rtp.Destination{{Host: "192.0.2.7", Port: 5004}, {Host: "192.0.2.8", Port: 5004}}
		}), replace},
		{"RTP uplink of a destination", send(sameRTP), send(func(c *rtp.OutputConfig) { c.Destinations[0].Uplink = "wan1" }), replace},
		{"RTP TTL", send(sameRTP), send(func(c *rtp.OutputConfig) { c.TTL = 1 }), replace},
		{"RTMP server", push(samePush), push(func(c *rtmp.OutputConfig) { c.Destinations[0].URL = "rtmp://y.example/app" }), handover},
		{"RTMP stream key", push(samePush), push(func(c *rtmp.OutputConfig) { c.Destinations[0].StreamKey = endpoint.NewSecret("l") }), handover},
		{"RTMP password of the same stream", push(samePush), push(func(c *rtmp.OutputConfig) { c.Destinations[0].Password = endpoint.NewSecret("p") }), replace},
		{"RTMP server added", push(samePush), push(func(c *rtmp.OutputConfig) {
			c.Destinations = append(c.Destinations, rtmp.Destination{URL: "rtmp://y.example/app", StreamKey: endpoint.NewSecret("k")})
		}), replace},
		{"RTMP chunk size", push(samePush), push(func(c *rtmp.OutputConfig) { c.ChunkSize = 8192 }), replace},
		{"RTMP players' port", player("a", 1935, false, "a"), player("a", 1936, false, "a"), replace},
	} {
		if got := outputChange(c.old, c.new); got != c.want {
			t.Errorf("%s: %d, want %d", c.name, got, c.want)
		}
	}
}

func TestInputChange(t *testing.T) {
	old, labelled, moved := source("a"), source("a"), source("a")
	labelled.Name, labelled.Allow = "b", endpoint.AllowList{netip.MustParsePrefix("10.0.0.0/8")}
	labelled.Program = 7 // which is of conversions
	moved.SRT.Port = 9001
	if got := inputChange(old, labelled); got != inPlace {
		t.Errorf("labels and access: %d", got)
	}
	if got := inputChange(old, moved); got != replace {
		t.Errorf("port: %d", got)
	}
}

func TestLimitsFollowTheLargestLatency(t *testing.T) {
	slow := listener("a", 1)
	slow.SRT.LatencyMS = 2000
	c := one(listener("b", 2), slow).Flows[0]
	for kind, entry := range map[media.Kind]bool{media.TS: false, media.FLV: true} {
		if got := limits(c, kind); got.Retain != 4*time.Second || got.Entry != entry {
			t.Errorf("%v: %+v, want 4 s", kind, got)
		}
	}
}

func TestPlaybackURLs(t *testing.T) {
	u := relaytest.NewUplink("lan0", netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::1"))
	check := func(name string, got []string, want ...string) {
		t.Helper()
		if len(got) != len(want) {
			t.Fatalf("%s: %q, want %q", name, got, want)
		}
		for i := range got {
			if got[i] != want[i] {
				t.Errorf("%s: %q, want %q", name, got, want)
			}
		}
	}
	check("as configured", playbackURLs(listener("a", 9100), nil, u), "srt://192.0.2.1:9100", "srt://[2001:db8::1]:9100")
	check("as the endpoint says", playbackURLs(listener("a", 9100), []endpoint.Playback{{Scheme: "rtsp", Port: 8554, Path: "/f/a"}}, u),
		"rtsp://192.0.2.1:8554/f/a", "rtsp://[2001:db8::1]:8554/f/a")
	check("RTMP", playbackURLs(player("a", 1935, false, "a"), nil, u), "rtmp://192.0.2.1:1935/live/a", "rtmp://[2001:db8::1]:1935/live/a")
	check("RTMPS", playbackURLs(player("a", 1936, true, "a"), nil, u), "rtmps://192.0.2.1:1936/live/a", "rtmps://[2001:db8::1]:1936/live/a")
	check("of a caller", playbackURLs(caller("a", "x.example"), nil, u))
	u.Advertise("stage.example.com")
	check("advertised", playbackURLs(listener("a", 9100), nil, u), "srt://stage.example.com:9100")
	check("no address", playbackURLs(listener("a", 9100), nil, relaytest.NewUplink("wan0")))
}

func TestMeter(t *testing.T) {
	var m meter
	at := time.Now()
	for i := range 50 { // 100 bytes every 200 ms
		if got := m.rate(at.Add(time.Duration(i)*200*time.Millisecond), uint64(100*i)); i > 0 && got != 4000 {
			t.Fatalf("sample %d: %d bit/s, want 4000", i, got)
		}
	}
	end := at.Add(50 * 200 * time.Millisecond)
	for range 11 {
		end = end.Add(200 * time.Millisecond)
		m.rate(end, 4900)
	}
	if got := m.rate(end, 4900); got != 0 {
		t.Errorf("%d bit/s after 2 s of silence", got)
	}
	if len(m.samples) > 13 {
		t.Errorf("%d samples are kept", len(m.samples))
	}
}
