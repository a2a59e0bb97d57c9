package provisioning

import (
	"context"
	"encoding/json"
	"net"
	"net/netip"
	"strings"
	"testing"

	"sluice/device/uplink"
	"sluice/provisioning/config"
	"sluice/relay/endpoint"
	"sluice/relay/relaytest"
)

func TestTestRequest(t *testing.T) {
	relaytest.TakesSeconds(t)
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, open, _ := net.SplitHostPort(l.Addr().String())
	uplinks := &fakeUplinks{status: []uplink.Status{
		{Name: "wan0", Interface: "eth1", Ready: true, Addresses: []netip.Addr{netip.MustParseAddr("127.0.0.1")}},
		{Name: "wan1", Reason: endpoint.Because("no_carrier", "wan1 has no carrier")},
	}}
	a := &Agent{o: Options{Uplinks: uplinks}, trials: make(chan struct{}, 1)}
	for _, c := range []struct {
		data   string
		status int
		ok     bool
		says   string
	}{
		{`{"test": "link", "uplink": "wan0"}`, 200, true, "is ready"},
		{`{"test": "link", "uplink": "wan1"}`, 200, false, "no carrier"},
		{`{"test": "link", "uplink": "wan7"}`, 404, false, "not configured"},
		{`{"test": "dns", "uplink": "wan0", "host": "127.0.0.1"}`, 200, true, "1 addresses"},
		{`{"test": "tcp", "uplink": "wan0", "host": "127.0.0.1", "port": ` + open + `}`, 200, true, "accepts"},
		{`{"test": "tcp", "uplink": "wan0", "host": "127.0.0.1", "port": 1}`, 200, false, "refused"},
		{`{"test": "srt", "uplink": "wan0", "host": "127.0.0.1", "port": 1}`, 200, false, "refused"},
		{`{"test": "tcp", "uplink": "wan0", "host": "127.0.0.1"}`, 400, false, "port"},
		{`{"test": "ping", "uplink": "wan0"}`, 400, false, "host"},
		{`{"test": "speed", "uplink": "wan0"}`, 400, false, "link, ping"},
		{`{"test": "ntp", "uplink": "wan0"}`, 400, false, "host"},
		{`{"test": "ntp", "uplink": "wan0", "host": "127.0.0.1", "port": 1}`, 200, false, "refused"},
		{`{"test": "ntp", "uplink": "wan0", "host": "127.0.0.1", "port": 65536}`, 400, false, "port"},
		{`{"test": "multicast", "uplink": "wan0", "host": "239.1.1.1"}`, 400, false, "port"},
		{`{"test": "multicast", "uplink": "wan0", "host": "10.0.0.1", "port": 5004}`, 400, false, "group"},
		{`{"test": "multicast", "uplink": "wan0", "host": "stage.example.com", "port": 5004}`, 400, false, "group"},
		{`{"test": "output", "flow": "f"}`, 400, false, "an output"},
	} {
		response, status := a.tryNow(t.Context(), c.data)
		var got config.TestResult
		if err := json.Unmarshal(response.Data, &got); status == 200 && err != nil {
			t.Fatal(err)
		}
		message := got.Message
		if response.Error != nil {
			message = response.Error.Message
		}
		if status != c.status || got.OK != c.ok || !strings.Contains(message, c.says) {
			t.Errorf("%s: %d, ok %v, %q: want %d, %v, %q", c.data, status, got.OK, message, c.status, c.ok, c.says)
		}
	}
}

// tryNow hands a request in as someone at the box does.
func (a *Agent) tryNow(ctx context.Context, data string) (r config.Response, status int) {
	r, _ = a.perform(ctx, "test", config.Request{Data: json.RawMessage(data)}, nil)
	if r.Error != nil {
		return r, r.Error.Code
	}
	return r, 200
}
