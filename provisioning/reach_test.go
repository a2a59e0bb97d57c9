package provisioning

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/ipv4"

	"sluice/device/uplink"
	"sluice/provisioning/config"
	"sluice/provisioning/mqtt"
	"sluice/relay/endpoint"
	"sluice/relay/relaytest"
)

// loopback is an uplink whose NIC is lo.
type loopback struct{ *relaytest.Uplink }

func (loopback) Interface() string { return "lo" }

// What a group receives is counted, by who sent it; what is sent to the port
// and not to the group is not.
func TestHear(t *testing.T) {
	u := loopback{relaytest.NewUplink("lan0", netip.MustParseAddr("127.0.0.1"))}
	free, err := net.ListenUDP("udp4", nil)
	if err != nil {
		t.Fatal(err)
	}
	port := uint16(free.LocalAddr().(*net.UDPAddr).Port)
	lo, err := net.InterfaceByName("lo")
	if err != nil {
		t.Fatal(err)
	}
	err = ipv4.NewPacketConn(free).JoinGroup(lo, &net.UDPAddr{IP: net.IPv4(239, 255, 7, 9)})
	relaytest.EmulatorLacks(t, "setsockopt(MCAST_JOIN_GROUP)", err)
	free.Close()
	group := netip.AddrPortFrom(netip.MustParseAddr("239.255.7.9"), port)

	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	var v config.TestResult
	if err := hear(ctx, u, group, &v); err == nil || !strings.Contains(err.Error(), "nothing came") || v.Packets == nil || *v.Packets != 0 {
		t.Fatalf("an empty group: %v, %+v", err, v)
	}

	ctx, cancel = context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	sending := make(chan struct{})
	var sources []string
	for range 2 {
		c, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		p := ipv4.NewPacketConn(c)
		if err := p.SetMulticastInterface(lo); err != nil {
			t.Fatal(err)
		}
		sources = append(sources, c.LocalAddr().String())
		go func() {
			for range 40 { // until it was surely heard
				c.WriteToUDPAddrPort(make([]byte, 1316), group)
				c.WriteToUDPAddrPort(make([]byte, 7), netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), port))
				select {
				case <-ctx.Done():
					sending <- struct{}{}
					return
				case <-time.After(10 * time.Millisecond):
				}
			}
			cancel()
			sending <- struct{}{}
		}()
	}
	v = config.TestResult{}
	err = hear(ctx, u, group, &v)
	<-sending
	<-sending
	if err != nil || v.Packets == nil || *v.Packets < 10 || *v.Bytes != 1316**v.Packets || len(v.Sources) != 2 ||
		!strings.Contains(fmt.Sprint(v.Sources), sources[0]) || !strings.Contains(fmt.Sprint(v.Sources), sources[1]) || !strings.Contains(v.Message, "and 1 others") {
		t.Errorf("%v, %+v", err, v)
	}

	taken, err := net.ListenUDP("udp4", &net.UDPAddr{Port: int(port)})
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	if err := hear(t.Context(), u, group, &v); err == nil || !strings.Contains(err.Error(), "already in use") || !strings.Contains(err.Error(), "input") {
		t.Errorf("a port that is taken: %v", err)
	}
	u.Down()
	if err := hear(t.Context(), u, group, &v); err == nil || !strings.Contains(err.Error(), "no carrier") {
		t.Errorf("an uplink that is down: %v", err)
	}
}

// Each destination of an output is tried through its own uplink.
func TestTryOutput(t *testing.T) {
	relaytest.TakesSeconds(t)
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	open := l.Addr().(*net.TCPAddr).Port
	raw := fmt.Sprintf(`{"schema":"sluice.config/v1","version":1,"state":{
		"uplinks":[{"name":"wan0","match":{"interface":"eth0"},"default":true},{"name":"wan1","match":{"interface":"eth1"}}],
		"flows":[{"id":"f","name":"F","inputs":[{"id":"i","protocol":"RTP","rtp":{"port":5004}}],"outputs":[
			{"id":"both","name":"1","protocol":"RTMP_PUSH","rtmp":{"destinations":[{"url":"rtmp://127.0.0.1:%d/app","stream_key":"planted-key"},{"url":"rtmp://localhost:%d/app","stream_key":"planted-key"}]}},
			{"id":"half","name":"2","protocol":"RTMP_PUSH","rtmp":{"destinations":[{"url":"rtmp://127.0.0.1:%d/app","stream_key":"planted-key"},{"url":"rtmp://127.0.0.1:1/app","stream_key":"planted-key"}]}},
			{"id":"none","name":"3","protocol":"RTMP_PUSH","rtmp":{"destinations":[{"url":"rtmp://127.0.0.1:1/app","stream_key":"planted-key"}]}},
			{"id":"legs","name":"4","protocol":"RTP","rtp":{"destinations":[{"host":"127.0.0.1","port":5006},{"host":"239.1.1.1","port":5006,"uplink":"wan1"}]}},
			{"id":"push","name":"5","protocol":"RTSP","rtsp":{"mode":"announce","url":"rtsp://127.0.0.1:%d/x"}},
			{"id":"call","name":"6","protocol":"SRT","srt":{"mode":"caller","destinations":[{"host":"127.0.0.1","port":1}]}},
			{"id":"wall","name":"7","protocol":"SRT","srt":{"mode":"listener","port":9100}},
			{"id":"page","name":"8","protocol":"RTSP","rtsp":{"mode":"serve"}}]}]}}`, open, open, open, open)
	document, err := config.Parse([]byte(raw), config.Options{})
	if err != nil {
		t.Fatal(err)
	}
	a := &Agent{trials: make(chan struct{}, 1), o: Options{Uplinks: &fakeUplinks{status: []uplink.Status{
		{Name: "wan0", Interface: "eth0", Ready: true}, {Name: "wan1", Reason: endpoint.Because("no_carrier", "wan1 has no carrier")},
	}}}}
	a.inForce.Store(&inForce{document: document})
	ask := func(output string) (config.TestResult, string) {
		t.Helper()
		r, status := a.tryNow(t.Context(), fmt.Sprintf(`{"test":"output","flow":"f","output":%q}`, output))
		var v config.TestResult
		if status != 200 {
			return v, fmt.Sprint(status, " ", r.Error.Message)
		}
		if strings.Contains(string(r.Data), "planted") {
			t.Errorf("a key is told: %s", r.Data)
		}
		if err := decode(r.Data, &v); err != nil {
			t.Fatal(err)
		}
		said := fmt.Sprint(v.OK, " ", v.Message)
		for _, r := range v.Results {
			said += fmt.Sprintf("; %v %s %s", r.OK, r.Uplink, r.Message)
		}
		return v, said
	}
	accepts := fmt.Sprintf("127.0.0.1:%d accepts connections", open)
	for output, want := range map[string]string{
		"both": "true both destinations can be reached; true wan0 " + accepts + "; true wan0 localhost (" + strings.Replace(accepts, " ", ") ", 1),
		"half": "false one of two destinations cannot be reached; true wan0 " + accepts + "; false wan0 127.0.0.1:1: connection refused",
		"none": "false 127.0.0.1:1: connection refused; false wan0 127.0.0.1:1: connection refused",
		"legs": "false one of two destinations cannot be reached; true wan0 127.0.0.1:5006 can be sent to; whether anybody receives there, it does not tell; false wan1 wan1 has no carrier",
		"push": "true " + accepts + "; true wan0 " + accepts,
		"call": "false 127.0.0.1:1: connection refused; false wan0 127.0.0.1:1: connection refused",
		"wall": "false wall listens: there is no destination to try, its peers come to the box",
		"page": "false page listens: there is no destination to try, its peers come to the box",
		"gone": "404 output f/gone: not found",
	} {
		if _, got := ask(output); got != want {
			t.Errorf("%s:\n got %s\nwant %s", output, got, want)
		}
	}
	a.trials <- struct{}{}
	if _, got := ask("none"); !strings.HasPrefix(got, "429 ") {
		t.Errorf("too many: %s", got)
	}
}

// Each way to the broker is tried, and the session is told of, not made.
func TestTryFleet(t *testing.T) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	port := l.Addr().(*net.TCPAddr).Port
	fleet := &fakeConnection{status: mqtt.Status{Connected: true, Ready: true, Via: "wan0", Since: time.Date(2026, 11, 25, 1, 2, 3, 0, time.UTC)}}
	a := &Agent{trials: make(chan struct{}, 1), client: fleet, o: Options{
		Uplinks: &fakeUplinks{status: []uplink.Status{
			{Name: "wan0", Interface: "eth0", Ready: true}, {Name: "wan1", Reason: endpoint.Because("no_carrier", "wan1 has no carrier")},
		}},
		BrokerUplinks: []string{"wan0", "wan1", "wan2"},
	}}
	a.inForce.Store(&inForce{document: &config.Document{}})
	ask := func() string {
		t.Helper()
		r, status := a.tryNow(t.Context(), `{"test":"fleet"}`)
		var v config.TestResult
		if err := decode(r.Data, &v); status != 200 || err != nil {
			t.Fatalf("%d %v", status, err)
		}
		said := fmt.Sprint(v.OK, " ", v.Message)
		for _, r := range v.Results {
			said += fmt.Sprintf("; %v %s %s", r.OK, r.Uplink, r.Message)
		}
		return said
	}
	if got, want := ask(), "false no broker is configured: the box works on its own"; got != want {
		t.Errorf("got %s", got)
	}
	a.o.Broker = &mqtt.Config{Broker: fmt.Sprintf("mqtt://127.0.0.1:%d", port)}
	want := fmt.Sprintf("true the session with the broker is up since 2026-11-25T01:02:03Z, through wan0; true wan0 127.0.0.1 accepts connections at port %d; false wan1 wan1 has no carrier; false wan2 no such uplink: \"wan2\" is not configured", port)
	if got := ask(); got != want {
		t.Errorf("got %s\nwant %s", got, want)
	}
	fleet.status = mqtt.Status{Reason: endpoint.Because("broker_refused", "the broker refuses the password")}
	a.o.Broker = &mqtt.Config{Broker: fmt.Sprintf("mqtts://127.0.0.1:%d", port)}
	a.o.BrokerUplinks = []string{"wan0"}
	go func() { // it does not speak TLS
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			c.Write([]byte("hello, who is there?"))
			c.Close()
		}
	}()
	if got := ask(); !strings.HasPrefix(got, "false there is no session with the broker: the broker refuses the password; false wan0 127.0.0.1, port ") || !strings.Contains(got, "TLS") {
		t.Errorf("got %s", got)
	}
}
