package provisioning

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"sluice/device/uplink"
	"sluice/provisioning/mqtt"
	"sluice/relay"
	"sluice/relay/endpoint"
	"sluice/relay/remux"
)

func TestStateAndTelemetryBodies(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		since := time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)
		b := startBox(t, "", func(o *Options) {
			u := o.Uplinks.(*fakeUplinks)
			u.status = []uplink.Status{
				{Name: "lan0", Interface: "eth0", Ready: true, Carrier: true, Addresses: []netip.Addr{netip.MustParseAddr("10.0.0.2")}, Gateways: []netip.Addr{netip.MustParseAddr("10.0.0.1")}, RxBytes: 1000},
				{Name: "wan0", Interface: "eth1", Reason: endpoint.Because("no_carrier", "uplink wan0: eth1 has no carrier")},
			}
		})
		b.engine.set(func(relay.Config) []relay.FlowReport {
			return []relay.FlowReport{{
				ID: "f",
				Inputs: []relay.InputReport{{
					ID: "i", State: relay.Receiving, Since: since, Active: true, BitrateBps: 5e6,
					Counters: relay.Counters{Packets: 9, Bytes: 900, Lost: 1},
				}},
				Outputs: []relay.OutputReport{{
					ID: "o", State: relay.Stalled, Since: since, BitrateBps: 4e6,
					Reason:     endpoint.Because("no_ack", "nothing was acknowledged for 6 s"),
					Counters:   relay.Counters{Packets: 8, Bytes: 800, BytesAcked: 700, Reconnections: 2, Dropped: map[string]uint64{"too_late": 3}},
					Conversion: &remux.Counters{In: 900, Frames: 90, Jumps: 1, Dropped: map[string]uint64{"codec": 4}},
					Status: endpoint.OutputStatus{
						RTT: 12500 * time.Microsecond, Latency: 120 * time.Millisecond,
						Sessions: []endpoint.Session{{ID: "s1", Peer: "10.0.0.9:4000", Since: since, BitrateBps: 4e6}},
					},
				}},
			}}
		})
		b.publish(document(1, "a", ""))
		b.uplinks.mu.Lock()
		b.uplinks.status[0].RxBytes = 251000 // 250,000 bytes in two seconds
		b.uplinks.mu.Unlock()
		time.Sleep(3 * time.Second)
		synctest.Wait()

		var state map[string]any
		if err := json.Unmarshal([]byte(b.fleet.last("state")), &state); err != nil {
			t.Fatal(err)
		}
		for _, alarm := range state["alarms"].([]any) {
			delete(alarm.(map[string]any), "since")
		}
		delete(state, "timestamp")
		got, _ := json.Marshal(state)
		want := `{"alarms":[` +
			`{"code":"uplink_down","message":"uplink wan0: eth1 has no carrier","subject":"uplink/wan0"},` +
			`{"code":"output_stalled","message":"nothing was acknowledged for 6 s","subject":"flow/f/output/o"}],` +
			`"flows":[{"id":"f","inputs":[{"active":true,"id":"i","reason":null,"since":"2026-11-23T09:00:00Z","state":"receiving"}],` +
			`"outputs":[{"id":"o","reason":{"code":"no_ack","message":"nothing was acknowledged for 6 s"},"since":"2026-11-23T09:00:00Z","state":"stalled","viewers":1}]}],` +
			`"uplinks":[{"addresses":["10.0.0.2"],"carrier":true,"gateways":["10.0.0.1"],"interface":"eth0","name":"lan0","ready":true,"reason":null},` +
			`{"addresses":[],"carrier":false,"gateways":[],"interface":"eth1","name":"wan0","ready":false,"reason":{"code":"no_carrier","message":"uplink wan0: eth1 has no carrier"}}],"version":1}`
		if string(got) != want {
			t.Errorf("state\n%s\nwant\n%s", got, want)
		}

		body, _ := b.Document("telemetry")
		want = `{"flows":[{"id":"f","inputs":[{"bitrate_bps":5000000,"bytes":900,"id":"i","latency_ms":0,` +
			`"packets":{"dropped":{},"lost":1,"received":9,"retransmitted":0},"rtt_ms":0,"sessions":[]}],` +
			`"outputs":[{"bitrate_bps":4000000,"bytes":800,"bytes_acked":700,"conversion":{"dropped":{"codec":4},"frames":90,"jumps":1,"repaired":0},"id":"o","latency_ms":120,` +
			`"packets":{"dropped":{"too_late":3},"lost":0,"retransmitted":0,"sent":8},"reconnections":2,"refused":0,"rtt_ms":12.5,` +
			`"sessions":[{"bitrate_bps":4000000,"id":"s1","peer":"10.0.0.9:4000","since":"2026-11-23T09:00:00Z"}]}]}],` +
			`"system":{"cpu_percent":12.5,"rss_bytes":1048576,"temperature_c":null,"uptime_s":60},` +
			`"uplinks":[{"name":"lan0","rx_bps":1000000,"tx_bps":0},{"name":"wan0","rx_bps":0,"tx_bps":0}]}`
		if got := timeless(string(body)); got != want {
			t.Errorf("telemetry\n%s\nwant\n%s", got, want)
		}

		// Every 10 s, give or take a tenth.
		time.Sleep(60 * time.Second)
		synctest.Wait()
		told := b.fleet.on("telemetry")
		if len(told) < 4 || len(told) > 7 {
			t.Errorf("%d times in a minute", len(told))
		}
		for i := 1; i < len(told); i++ {
			if d := told[i].at.Sub(told[i-1].at); d < 9*time.Second || d > 11*time.Second {
				t.Errorf("%v between two", d)
			}
		}
	})
}

// However fast things change, the state is told once a second, and the last
// change is told.
func TestStateAtMostOnceASecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := startBox(t, "", nil)
		viewers := 0
		b.engine.set(func(c relay.Config) []relay.FlowReport {
			flows := allWell(c)
			for range viewers {
				flows[0].Outputs[0].Status.Sessions = append(flows[0].Outputs[0].Status.Sessions, endpoint.Session{})
			}
			return flows
		})
		b.publish(document(1, "a", ""))
		time.Sleep(3 * time.Second)
		before := len(b.fleet.on("state"))
		for range 40 {
			b.engine.mu.Lock()
			viewers++
			b.engine.mu.Unlock()
			time.Sleep(100 * time.Millisecond)
		}
		time.Sleep(10 * time.Second)
		synctest.Wait()
		told := b.fleet.on("state")[before:]
		if len(told) < 3 || len(told) > 5 {
			t.Errorf("told %d times in 4 s of change", len(told))
		}
		for i := 1; i < len(told); i++ {
			if d := told[i].at.Sub(told[i-1].at); d < time.Second {
				t.Errorf("%v between two", d)
			}
		}
		if got := field(t, told[len(told)-1].body, "flows", 0, "outputs", 0, "viewers"); got != 40.0 {
			t.Errorf("the last said %v viewers", got)
		}
	})
}

// What only the box can find out degrades what is reported; playback URLs are
// reported as they change.
func TestReportedFollowsTheBox(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := startBox(t, "", nil)
		state, urls := relay.Waiting, []string{"srt://10.0.0.2:9100"}
		b.engine.set(func(c relay.Config) []relay.FlowReport {
			flows := allWell(c)
			flows[0].Outputs[0].State, flows[0].Outputs[0].PlaybackURLs = state, urls
			return flows
		})
		now := func(status string, urls ...any) {
			t.Helper()
			time.Sleep(time.Second)
			synctest.Wait()
			body := b.fleet.last("config/reported")
			got, _ := field(t, body, "state", "flows", 0, "outputs", 0, "playback_urls").([]any)
			if field(t, body, "status") != status || !slices.Equal(got, urls) {
				t.Errorf("reported %v with %v, want %s with %v", field(t, body, "status"), got, status, urls)
			}
		}
		set := func(s relay.State, u ...string) {
			b.engine.mu.Lock()
			defer b.engine.mu.Unlock()
			state, urls = s, u
		}
		b.publish(document(1, "a", ""))
		now("applied", "srt://10.0.0.2:9100")
		set(relay.Invalid)
		now("degraded")
		set(relay.Waiting, "srt://10.0.0.3:9100", "srt://[2001:db8::3]:9100")
		now("applied", "srt://10.0.0.3:9100", "srt://[2001:db8::3]:9100")
		told := len(b.fleet.on("config/reported"))
		time.Sleep(time.Minute)
		if n := len(b.fleet.on("config/reported")); n != told {
			t.Errorf("reported %d times without a change", n-told)
		}
	})
}

// The first that is told of a document is what became of it, although the
// Engine needs a moment to show it; and an Engine that shows nothing does not
// keep the answer back for long.
func TestReportWaitsForTheEngine(t *testing.T) {
	for lag, status := range map[time.Duration]string{200 * time.Millisecond: "degraded", time.Hour: "applied"} {
		synctest.Test(t, func(t *testing.T) {
			b := startBox(t, "", nil)
			time.Sleep(time.Second)
			b.engine.mu.Lock()
			b.engine.lag = lag
			b.engine.mu.Unlock()
			b.engine.set(func(c relay.Config) []relay.FlowReport {
				flows := allWell(c)
				flows[0].Outputs[0].State = relay.Invalid
				return flows
			})
			before := len(b.fleet.on("config/reported"))
			b.publish(document(1, "a", ""))
			time.Sleep(settleTime + time.Millisecond)
			synctest.Wait()
			reported := b.fleet.on("config/reported")[before:]
			if len(reported) != 1 || field(t, reported[0].body, "version") != 1.0 || field(t, reported[0].body, "status") != status {
				t.Errorf("after %v: %v", lag, reported)
			}
			if len(b.fleet.on("config/accepted")) != 1 {
				t.Errorf("after %v: no answer", lag)
			}
		})
	}
}

func TestAlarmsOfInputs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := startBox(t, "", nil)
		state := relay.Waiting
		b.engine.set(func(c relay.Config) []relay.FlowReport {
			flows := allWell(c)
			flows[0].Inputs[0].State = state
			return flows
		})
		alarm := func(s relay.State, want any) {
			t.Helper()
			b.engine.mu.Lock()
			state = s
			b.engine.mu.Unlock()
			time.Sleep(2 * time.Second)
			synctest.Wait()
			if got := field(t, b.fleet.last("state"), "alarms", 0, "code"); got != want {
				t.Errorf("%s: alarm %v, want %v", s, got, want)
			}
		}
		b.publish(document(1, "a", ""))
		alarm(relay.Waiting, nil) // nobody ever came: nothing is lost
		alarm(relay.Rejected, "input_rejected")
		alarm(relay.Receiving, nil)
		alarm(relay.Waiting, "input_lost")
		alarm(relay.Stalled, "input_lost")
		alarm(relay.UplinkDown, "input_uplink_down")
		alarm(relay.Receiving, nil)
		alarm(relay.Disabled, nil)
		alarm(relay.Waiting, nil) // enabled again, and nobody came yet
		alarm(relay.Invalid, "input_invalid")

		var types []string
		for _, e := range b.fleet.on("event") {
			types = append(types, fmt.Sprintf("%v %v %v", field(t, e.body, "seq"), field(t, e.body, "type"), field(t, e.body, "data", "state")))
		}
		want := []string{
			"1 config_applied <nil>", "2 input_state rejected", "3 input_state receiving", "4 input_state waiting", "5 input_state stalled",
			"6 input_state receiving", "7 input_state disabled", "8 input_state invalid",
		}
		if !slices.Equal(types, want) {
			t.Errorf("events %q", types)
		}
	})
}

// The fleet cannot be told that its broker refuses the box, but whoever stands
// beside it can.
func TestBrokerAlarmIsLocal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := startBox(t, "", nil)
		b.fleet.mu.Lock()
		b.fleet.status = mqtt.Status{Reason: endpoint.Because("broker_refused", "the broker refuses the user name or password")}
		b.fleet.mu.Unlock()
		time.Sleep(2 * time.Second)
		synctest.Wait()
		body, _ := b.Document("state")
		if got := field(t, string(body), "alarms", 0, "code"); got != "broker_refused" {
			t.Errorf("state at the box: %s", body)
		}
		if got := field(t, b.fleet.last("state"), "alarms", 0); got != nil {
			t.Errorf("state for the fleet: %v", got)
		}
		status, _ := b.Document("status")
		if field(t, string(status), "state") != "disconnected" {
			t.Errorf("status %s", status)
		}
	})
}

// An uplink that comes back has the broker tried at once.
func TestUplinkThatComesRetries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := startBox(t, "", func(o *Options) {
			o.Uplinks.(*fakeUplinks).status = []uplink.Status{{Name: "wan0", Reason: endpoint.Because("no_carrier", "no carrier")}}
		})
		b.fleet.mu.Lock()
		b.fleet.status = mqtt.Status{}
		b.fleet.mu.Unlock()
		time.Sleep(time.Minute)
		if b.fleet.retries != 0 {
			t.Errorf("%d retries with no uplink", b.fleet.retries)
		}
		b.uplinks.mu.Lock()
		b.uplinks.status = []uplink.Status{{Name: "wan0", Ready: true}}
		b.uplinks.mu.Unlock()
		time.Sleep(time.Minute)
		synctest.Wait()
		if b.fleet.retries != 1 {
			t.Errorf("%d retries", b.fleet.retries)
		}
	})
}

func TestWatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := startBox(t, "", nil)
		var seen []string
		failed := errors.New("gone")
		ended := make(chan error, 1)
		go func() {
			ended <- b.Watch(context.Background(), func(name string, body json.RawMessage) error {
				if !json.Valid(body) {
					t.Errorf("%s is %s", name, body)
				}
				seen = append(seen, name)
				if len(seen) == 6 {
					return failed
				}
				return nil
			})
		}()
		synctest.Wait()
		if want := []string{"reported", "state"}; !slices.Equal(seen, want) {
			t.Errorf("as it is: %v", seen)
		}
		b.publish(document(1, "a", ""))
		time.Sleep(2 * time.Second)
		synctest.Wait()
		changed := seen[2:]
		slices.Sort(changed) // what changes at the same time is told in any order
		if want := []string{"event", "event", "reported", "state"}; !slices.Equal(changed, want) {
			t.Errorf("as it changes: %v", changed)
		}
		if err := <-ended; err != failed {
			t.Errorf("ended with %v", err)
		}
		if n := len(b.board.watchers); n != 0 {
			t.Errorf("%d watchers are left", n)
		}
	})
}

func TestSlowWatcherIsBounded(t *testing.T) {
	b := newBoard()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	slow, seen := make(chan struct{}), make(chan string, 3*maxWatched)
	go b.watch(ctx, func(name string, body json.RawMessage) error {
		seen <- name + string(body)
		<-slow
		return nil
	})
	b.set("state", json.RawMessage(`"first"`))
	<-seen
	for i := range 2 * maxWatched {
		b.event(json.RawMessage(fmt.Sprint(i)))
		b.set("state", json.RawMessage(fmt.Sprint(i)))
	}
	close(slow)
	if got := <-seen; got != fmt.Sprintf("state%d", 2*maxWatched-1) {
		t.Errorf("then came %s", got)
	}
	if got := <-seen; got != fmt.Sprintf("event%d", maxWatched) {
		t.Errorf("the first event was %s", got)
	}
}
