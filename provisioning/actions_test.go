package provisioning

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sluice/device/control"
	"sluice/provisioning/mqtt"
)

func TestRequests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := startBox(t, "", func(o *Options) {
			o.LogTail = func(n int) []string { return []string{"a", "b", "c"}[3-min(n, 3):] }
		})
		ask := func(name, body string, retained bool) string {
			t.Helper()
			before := len(b.fleet.on("response/" + name))
			b.receiveRequest(mqtt.Message{Topic: "sluice/v1/box/request/" + name, Payload: []byte(body), Retained: retained})
			synctest.Wait()
			if n := len(b.fleet.on("response/"+name)) - before; n != 1 {
				t.Fatalf("%s %s: %d responses", name, body, n)
			}
			return b.fleet.last("response/" + name)
		}
		later, past := time.Now().Add(time.Minute).UTC().Format(time.RFC3339), time.Now().Add(-time.Second).UTC().Format(time.RFC3339)
		cases := []struct {
			name, body string
			retained   bool
			want       string
		}{
			{
				"output-kick", `{"transaction":"1","expires":"` + later + `","data":{"flow":"f","output":"o","session":"s1"}}`, false,
				`{"transaction":"1","status":"ok"}`,
			},
			{
				"output-kick", `{"transaction":"2","expires":"` + later + `","data":{"flow":"f","output":"o","session":"s2"}}`, false,
				`{"transaction":"2","status":"error","error":{"code":404,"message":"session \"s2\": not found"}}`,
			},
			{
				"output-kick", `{"transaction":"3","expires":"` + later + `","data":{"flow":"f"}}`, false,
				`{"transaction":"3","status":"error","error":{"code":400,"message":"data needs flow, output and session"}}`,
			},
			{
				"output-kick", `{"transaction":"4","expires":"` + later + `","data":{"flow":"f","outptu":"o"}}`, false,
				`{"transaction":"4","status":"error","error":{"code":400,"message":"data cannot be read: json: unknown field \"outptu\""}}`,
			},
			{
				"output-kick", `{"transaction":"5","expires":"` + later + `","data":{"flow":"f","output":"o","session":"s1"}}`, true,
				`{"transaction":"5","status":"error","error":{"code":400,"message":"the request was retained: publish it without the retain flag"}}`,
			},
			{"flow-restart", `{"transaction":"6","expires":"` + later + `","data":{"flow":"f"}}`, false, `{"transaction":"6","status":"ok"}`},
			{
				"flow-restart", `{"transaction":"7","expires":"` + later + `","data":{"flow":"broken"}}`, false,
				`{"transaction":"7","status":"error","error":{"code":500,"message":"it cannot be restarted"}}`,
			},
			{
				"log-tail", `{"transaction":"8","expires":"` + later + `","data":{"lines":2}}`, false,
				`{"transaction":"8","status":"ok","data":{"lines":["b","c"]}}`,
			},
			{
				"log-tail", `{"transaction":"9","expires":"` + later + `","data":{"lines":0}}`, false,
				`{"transaction":"9","status":"error","error":{"code":400,"message":"lines is 0: use 1 to 1000"}}`,
			},
			{
				"identify", `{"transaction":"10","expires":"` + later + `","data":{"seconds":5}}`, false,
				`{"transaction":"10","status":"error","error":{"code":501,"message":"nothing on this box can show where it is"}}`,
			},
			{
				"reboot", `{"transaction":"11","expires":"` + later + `"}`, false,
				`{"transaction":"11","status":"error","error":{"code":501,"message":"nothing on this box can start it again"}}`,
			},
			{
				"dance", `{"transaction":"13","expires":"` + later + `"}`, false,
				`{"transaction":"13","status":"error","error":{"code":404,"message":"there is no request \"dance\""}}`,
			},
			{
				"reboot", `{"transaction":"14","expires":"` + past + `"}`, false,
				`{"transaction":"14","status":"error","error":{"code":408,"message":"the request expired at ` + past + `, and it is ` + now().Format(time.RFC3339) + ` here"}}`,
			},
			{
				"reboot", `{"transaction":"15"}`, false,
				`{"transaction":"15","status":"error","error":{"code":400,"message":"expires is missing: say until when the request is wanted"}}`,
			},
			{
				"reboot", `{"expires":"` + later + `"}`, false,
				`{"transaction":"","status":"error","error":{"code":400,"message":"transaction is missing or longer than 64: every request needs its own"}}`,
			},
			{
				"reboot", `[]`, false,
				`{"transaction":"","status":"error","error":{"code":400,"message":"the request cannot be read: json: cannot unmarshal array into Go value of type config.Request"}}`,
			},
		}
		for _, c := range cases {
			if got := ask(c.name, c.body, c.retained); got != c.want {
				t.Errorf("%s %s\n got %s\nwant %s", c.name, c.body, got, c.want)
			}
		}
		if len(b.engine.kicked) != 1 || b.engine.kicked[0] != "f/o/s1" {
			t.Errorf("kicked %v", b.engine.kicked)
		}
		// One that is delivered twice is carried out once, and answered the same.
		if got := ask(cases[0].name, cases[0].body, false); got != cases[0].want || len(b.engine.kicked) != 1 {
			t.Errorf("the second time: %s, kicked %v", got, b.engine.kicked)
		}
		time.Sleep(2 * time.Minute)
		if got := ask(cases[0].name, cases[0].body, false); !strings.Contains(got, `"code":408`) || len(b.engine.kicked) != 1 {
			t.Errorf("after its time: %s", got)
		}
		if got := ask("reboot", strings.Repeat(" ", maxRequest+1), false); !strings.Contains(got, `"code":413`) {
			t.Errorf("too large: %s", got)
		}

		status, answer := b.Request(context.Background(), "output-kick", []byte(`{"data":{"flow":"f","output":"o","session":"s1"}}`), control.Caller{UID: 7})
		if status != 200 || string(answer) != `{"transaction":"","status":"ok"}` {
			t.Errorf("at the box: %d %s", status, answer)
		}
		if e := b.fleet.last("event"); field(t, e, "type") != "request" || field(t, e, "data", "uid") != 7.0 {
			t.Errorf("event %s", e)
		}
		if status, _ := b.Request(context.Background(), "reboot", nil, control.Caller{}); status != 501 {
			t.Errorf("reboot at the box: %d", status)
		}
	})
}

// A flood of requests is bounded: what does not fit is refused at once.
func TestTooManyRequests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		busy := make(chan struct{})
		b := startBox(t, "", func(o *Options) {
			o.LogTail = func(int) []string { <-busy; return nil }
		})
		later := time.Now().Add(time.Hour).UTC().Format(time.RFC3339)
		for i := range maxActions + 3 {
			b.receiveRequest(mqtt.Message{
				Topic:   "sluice/v1/box/request/log-tail",
				Payload: []byte(fmt.Sprintf(`{"transaction":"%d","expires":"%s"}`, i, later)),
			})
			if i == 0 {
				synctest.Wait() // the first is being carried out
			}
		}
		refused := b.fleet.on("response/log-tail")
		if len(refused) != 2 || refused[0].body != fmt.Sprintf(`{"transaction":"%d","status":"error","error":{"code":429,"message":"too many requests wait: try again in a few seconds"}}`, maxActions+1) {
			t.Errorf("refused: %v", refused)
		}
		close(busy)
		synctest.Wait()
		if n := len(b.fleet.on("response/log-tail")); n != maxActions+3 {
			t.Errorf("%d responses", n)
		}
	})
}

// What takes seconds holds up nothing else, and is bounded too; what is
// delivered again while it is carried out is carried out once.
func TestSlowRequestsHoldUpNoOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := startBox(t, "", nil)
		later := time.Now().Add(time.Hour).UTC().Format(time.RFC3339)
		ask := func(name, transaction, data string) {
			b.receiveRequest(mqtt.Message{
				Topic:   "sluice/v1/box/request/" + name,
				Payload: []byte(fmt.Sprintf(`{"transaction":"%s","expires":"%s","data":%s}`, transaction, later, data)),
			})
		}
		begin := time.Now()
		ask("input-inspect", "again", `{"flow":"f"}`) // 3 s
		for i := range slowWorkers + maxActions + 1 {
			synctest.Wait()
			ask("input-inspect", map[bool]string{true: "again", false: fmt.Sprint(i)}[i == 0], `{"flow":"f"}`)
		}
		ask("output-kick", "k", `{"flow":"f","output":"o","session":"s1"}`)
		ask("flow-restart", "r", `{"flow":"f"}`)
		synctest.Wait()
		kicks, restarts := b.fleet.on("response/output-kick"), b.fleet.on("response/flow-restart")
		if len(kicks) != 1 || len(restarts) != 1 || !kicks[0].at.Equal(begin) {
			t.Errorf("while slow ones are carried out: %v, %v", kicks, restarts)
		}
		refused := b.fleet.on("response/input-inspect")
		if len(refused) != 1 || !strings.Contains(refused[0].body, `"code":429`) {
			t.Errorf("refused: %v", refused)
		}
		time.Sleep(time.Minute)
		again := 0
		answers := b.fleet.on("response/input-inspect")
		for _, m := range answers {
			if strings.Contains(m.body, `"transaction":"again"`) {
				again++
			}
		}
		if len(answers) != slowWorkers+maxActions+1 || again != 1 {
			t.Errorf("%d answers, %d to what was delivered twice", len(answers), again)
		}
	})
}

// An answer too large to be remembered is not given a second time.
func TestLargeAnswersAreNotRemembered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := startBox(t, "", func(o *Options) {
			o.LogTail = func(int) []string { return []string{strings.Repeat("x", maxRemembered)} }
		})
		raw := fmt.Sprintf(`{"transaction":"1","expires":"%s"}`, time.Now().Add(time.Hour).UTC().Format(time.RFC3339))
		for range 2 {
			b.receiveRequest(mqtt.Message{Topic: "sluice/v1/box/request/log-tail", Payload: []byte(raw)})
			synctest.Wait()
		}
		got := b.fleet.on("response/log-tail")
		if len(got) != 2 || len(got[0].body) < maxRemembered || !strings.Contains(got[1].body, `"code":409`) {
			t.Errorf("%d answers, the last %s", len(got), got[len(got)-1].body)
		}
	})
}

func TestAnswersAreBounded(t *testing.T) {
	s := newActions()
	for i := range 3 * maxAnswered {
		s.answered.keep(fmt.Sprint(i), answered{})
		s.answered.keep(fmt.Sprint(i), answered{})
	}
	if len(s.answered.bodies) != maxAnswered || len(s.answered.order) != maxAnswered {
		t.Errorf("%d answers in order of %d", len(s.answered.bodies), len(s.answered.order))
	}
}
