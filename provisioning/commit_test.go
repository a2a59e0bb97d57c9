package provisioning

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sluice/device/control"
	"sluice/provisioning/mqtt"
)

// committed is a document that asks to be confirmed within 60 s.
func committed(version int, output string) string {
	return document(version, output, fmt.Sprintf(`"commit":{"id":"c%d","rollback_s":60},`, version))
}

// moved is a document under which the broker is reached through that uplink.
func moved(version int, output, uplink string) string {
	d := strings.Replace(document(version, output, ""), `"uplinks":[`, `"uplinks":[{"name":"wan0","match":{"interface":"eth7"}},`, 1)
	return strings.Replace(d, `"state":{`, `"state":{"device":{"management":{"uplinks":["`+uplink+`"]}},`, 1)
}

// confirm hands in a config/confirm as the fleet does.
func (b *box) confirm(body string) {
	b.receiveConfirm(mqtt.Message{Topic: "sluice/v1/box/config/confirm", Payload: []byte(body)})
	synctest.Wait()
}

// settle asks for commit-confirm or commit-cancel at the box.
func (b *box) settle(request, id string) (int, string) {
	body, _ := json.Marshal(map[string]any{"data": map[string]string{"id": id}})
	status, answer := b.Request(context.Background(), request, body, control.Caller{UID: 1000, PID: 42})
	synctest.Wait()
	return status, string(answer)
}

// answers are those that the fleet got, in order: what, version, token.
func (b *box) answers(t *testing.T) (all []string) {
	t.Helper()
	for _, m := range b.fleet.all() {
		switch m.topic {
		case "config/accepted":
			all = append(all, fmt.Sprint(field(t, m.body, "status"), " ", field(t, m.body, "version"), " ", field(t, m.body, "client_token")))
		case "config/rejected":
			all = append(all, fmt.Sprint(field(t, m.body, "code"), " ", field(t, m.body, "version"), " ", field(t, m.body, "client_token")))
		}
	}
	return all
}

// says is what is reported: version, status, desired version; and the output's
// name that the Engine has.
func (b *box) says(t *testing.T) string {
	t.Helper()
	r := b.fleet.last("config/reported")
	return fmt.Sprint(field(t, r, "version"), " ", field(t, r, "status"), " ", field(t, r, "desired_version"), " ", b.engine.last().Flows[0].Outputs[0].Name)
}

func (b *box) saysIs(t *testing.T, want string) {
	t.Helper()
	if got := b.says(t); got != want {
		t.Errorf("it says %q, want %q", got, want)
	}
}

func (b *box) answersAre(t *testing.T, want ...string) {
	t.Helper()
	if got := b.answers(t); !slices.Equal(got, want) {
		t.Errorf("answers\n  %s\nwant\n  %s", strings.Join(got, "\n  "), strings.Join(want, "\n  "))
	}
}

// kinds are the events of commits, in order.
func (b *box) kinds(t *testing.T) (all []string) {
	t.Helper()
	for _, m := range b.fleet.on("event") {
		if kind := field(t, m.body, "type").(string); strings.HasPrefix(kind, "commit_") || kind == "confirm_refused" || kind == "config_applied" || kind == "local_edit" {
			all = append(all, kind)
		}
	}
	return all
}

// stored are the versions that the store holds, the newest first.
func (b *box) stored(t *testing.T) (all []uint64) {
	t.Helper()
	records, err := b.store.Records()
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range records {
		all = append(all, r.Version)
	}
	return all
}

// pendingIs compares what is pending, as people at the box see it.
func (b *box) pendingIs(t *testing.T, want string) {
	t.Helper()
	body, _ := b.Document("commits")
	got := "none"
	if p := field(t, string(body), "pending"); p != nil {
		got = fmt.Sprint(field(t, string(body), "pending", "id"), " ", field(t, string(body), "pending", "version"), " ", field(t, string(body), "pending", "how"))
	}
	if got != want {
		t.Errorf("pending is %q, want %q", got, want)
	}
}

// ended is what became of the last commit that was pending.
func (b *box) ended(t *testing.T) string {
	t.Helper()
	body, _ := b.Document("commits")
	e, _ := field(t, string(body), "ended").(map[string]any)
	return fmt.Sprint(e["id"], " ", e["version"], " ", e["kept"], " ", e["why"])
}

func (b *box) endedIs(t *testing.T, want string) {
	t.Helper()
	if got := b.ended(t); got != want {
		t.Errorf("ended is %q, want %q", got, want)
	}
}

func TestCommitIsConfirmed(t *testing.T) {
	for name, confirm := range map[string]func(*testing.T, *box){
		"by the fleet": func(t *testing.T, b *box) {
			b.confirm(`{"id":"c8","action":"confirm","client_token":"yes"}`)
			b.confirm(`{"id":"c8","action":"confirm","client_token":"yes"}`) // delivered twice
			b.answersAre(t, "applied 7 t7", "pending_confirm 8 t8", "409 9 t9", "pending_confirm 8 t8", "409 6 t6", "applied 8 yes", "applied 8 yes")
		},
		"at the box": func(t *testing.T, b *box) {
			if status, answer := b.settle("commit-confirm", ""); status != 200 || !strings.Contains(answer, `"version":8`) {
				t.Errorf("%d %s", status, answer)
			}
			b.answersAre(t, "applied 7 t7", "pending_confirm 8 t8", "409 9 t9", "pending_confirm 8 t8", "409 6 t6")
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := startBox(t, "", nil)
				b.publish(document(7, "a", ""))
				b.publishLater(committed(8, "b"))
				b.saysIs(t, "8 pending_confirm 8 b")
				b.pendingIs(t, "c8 8 explicit")
				if id := field(t, b.fleet.last("config/reported"), "commit", "id"); id != "c8" {
					t.Errorf("the commit in reported is %v", id)
				}
				at := field(t, b.fleet.last("config/accepted"), "confirm_by")
				if want := stamp(time.Now().Add(time.Minute)).Format(time.RFC3339); at != want {
					t.Errorf("confirm_by is %v, want %s", at, want)
				}
				if got := b.stored(t); !slices.Equal(got, []uint64{7}) {
					t.Errorf("stored are %d", got)
				}
				// Nothing else comes in between.
				b.publishLater(document(9, "c", ""))
				if got := field(t, b.fleet.last("config/rejected"), "message").(string); !strings.Contains(got, `"c8"`) {
					t.Errorf("9 is refused without the name of the commit: %s", got)
				}
				b.publishLater(committed(8, "b"))
				b.publishLater(document(6, "c", ""))
				if status, answer := b.edit(document(0, "d", "")); status != 409 || !strings.Contains(answer, `c8`) {
					t.Errorf("a local edit: %d %s", status, answer)
				}
				b.saysIs(t, "8 pending_confirm 6 b")
				confirm(t, b)
				b.saysIs(t, "8 applied 6 b")
				b.pendingIs(t, "none")
				if got := b.ended(t); !strings.HasPrefix(got, "c8 8 true ") || !strings.HasSuffix(got, " confirmed it") {
					t.Errorf("ended is %q", got)
				}
				if c := field(t, b.fleet.last("config/reported"), "commit"); c != nil {
					t.Errorf("the commit in reported is %v", c)
				}
				if got := b.stored(t); !slices.Equal(got, []uint64{8, 7}) {
					t.Errorf("stored are %d", got)
				}
				time.Sleep(5 * time.Minute)
				b.saysIs(t, "8 applied 6 b")
				if got := b.kinds(t); !slices.Equal(got[:4], []string{"config_applied", "commit_pending", "commit_confirmed", "config_applied"}) {
					t.Errorf("events %q", got)
				}
				b.publishLater(committed(8, "b"))
				if got := b.fleet.last("config/accepted"); field(t, got, "status") != "unchanged" {
					t.Errorf("again: %s", got)
				}
				b.stop()
				b = startBox(t, b.dir, nil)
				b.saysIs(t, "8 applied 8 b")
			})
		})
	}
}

func TestCommitGoesBack(t *testing.T) {
	for name, c := range map[string]struct {
		end   func(*testing.T, *box)
		after []string // answers, beside those before
		why   string
		again string // why it is refused when it comes again
	}{
		"its time is over": {
			func(*testing.T, *box) { time.Sleep(time.Minute) },
			[]string{"408 8 t8"},
			"nobody confirmed it within 60 s",
			"version 8 went back because it was not confirmed, and is not tried again: publish a higher version",
		},
		"the fleet cancels it": {
			func(_ *testing.T, b *box) {
				b.confirm(`{"id":"c8","action":"cancel","client_token":"no"}`)
				b.confirm(`{"id":"c8","action":"cancel","client_token":"no"}`)
			},
			[]string{"408 8 t8", "rolled_back 7 no", "rolled_back 7 no"},
			"the fleet cancelled it",
			"version 8 was taken back by the fleet, and is not tried again: publish a higher version",
		},
		"it is cancelled at the box": {
			func(t *testing.T, b *box) {
				if status, answer := b.settle("commit-cancel", "c8"); status != 200 || !strings.Contains(answer, `"version":7`) {
					t.Errorf("%d %s", status, answer)
				}
			},
			[]string{"408 8 t8"},
			"user 1000 cancelled it",
			"version 8 was taken back by user 1000, and is not tried again: publish a higher version",
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := startBox(t, "", nil)
				b.publish(document(7, "a", ""))
				b.publishLater(committed(8, "b"))
				time.Sleep(59 * time.Second)
				b.saysIs(t, "8 pending_confirm 8 b")
				c.end(t, b)
				time.Sleep(time.Second)
				b.saysIs(t, "7 rolled_back 8 a")
				b.pendingIs(t, "none")
				answers := append([]string{"applied 7 t7", "pending_confirm 8 t8"}, c.after...)
				b.answersAre(t, answers...)
				if got := b.fleet.last("config/rejected"); field(t, got, "current_version") != 7.0 || !strings.Contains(got, c.why) {
					t.Errorf("rejected %s", got)
				}
				b.endedIs(t, "c8 8 false "+c.why)
				if got := b.kinds(t); got[len(got)-1] != "commit_rolled_back" {
					t.Errorf("events %q", got)
				}

				// It comes again, as it is retained, and after a restart too.
				b.publishLater(committed(8, "b"))
				b.answersAre(t, append(answers, "409 8 t8")...)
				b.saysIs(t, "7 rolled_back 8 a")
				againIs := func() {
					if got := field(t, b.fleet.last("config/rejected"), "message"); got != c.again {
						t.Errorf("again: %v", got)
					}
				}
				againIs()
				b.stop()
				b = startBox(t, b.dir, nil)
				b.saysIs(t, "7 rolled_back 8 a")
				b.publishLater(committed(8, "b"))
				b.answersAre(t, "409 8 t8")
				b.saysIs(t, "7 rolled_back 8 a")
				againIs()
				// Until there is a higher one.
				b.publishLater(document(9, "c", ""))
				b.saysIs(t, "9 applied 9 c")
			})
		})
	}
}

// The status says of the desired version that it went back, and of no other:
// whatever was answered last.
func TestRolledBackIsOfTheDesiredVersion(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := startBox(t, "", nil)
		b.publish(document(7, "a", ""))
		b.publishLater(committed(8, "b"))
		time.Sleep(time.Second)
		b.publishLater(document(6, "old", "")) // refused while 8 is pending
		b.saysIs(t, "8 pending_confirm 6 b")
		time.Sleep(time.Minute)
		b.saysIs(t, "7 rolled_back 8 a")
		for _, step := range []struct{ document, want string }{
			{strings.Replace(document(9, "c", ""), `"port":9100`, `"port":0`, 1), "7 applied 9 a"}, // 400
			{committed(8, "b"), "7 rolled_back 8 a"},
			{strings.Replace(document(8, "c", ""), `"port":9100`, `"port":0`, 1), "7 applied 8 a"}, // 400, and another 8
			{committed(8, "b"), "7 rolled_back 8 a"},
			{document(7, "c", ""), "7 applied 7 a"}, // 409
			{committed(8, "b"), "7 rolled_back 8 a"},
			{document(7, "a", ""), "7 applied 7 a"}, // unchanged
			{document(8, "c", ""), "8 applied 8 c"},
		} {
			b.publishLater(step.document)
			b.saysIs(t, step.want)
		}
	})
}

// That a document went back is what a new session begins with: it is there
// before the host has done what brings the session back.
func TestSessionBeginsWithWhatWentBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		host := &fakeHost{}
		b := startBox(t, "", func(o *Options) { o.Host = host })
		b.publish(document(7, "a", ""))
		b.fleet.live(false)
		b.publishLater(strings.Replace(moved(8, "b", "wan0"), `"eth7"}`, `"eth7"},"dhcp4":true`, 1))
		b.saysIs(t, "8 pending_confirm 8 b")
		host.mu.Lock()
		host.takes = 5 * time.Second
		host.mu.Unlock()
		sessions := len(b.fleet.brokers())
		time.Sleep(2*time.Minute + time.Second)
		b.saysIs(t, "7 rolled_back 8 a")
		if n := len(b.fleet.brokers()); n != sessions {
			t.Errorf("the session was made anew already: %d", n)
		}
		time.Sleep(10 * time.Second)
		b.saysIs(t, "7 rolled_back 8 a")
		if n := len(b.fleet.brokers()); n == sessions {
			t.Error("the session was not made anew")
		}
	})
}

func TestLocalCommits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := startBox(t, "", nil)
		b.publish(document(7, "a", ""))
		edit := func(output string, c localCommit) verdict {
			time.Sleep(time.Second)
			v := b.applyLocal(context.Background(), []byte(document(0, output, "")), control.Caller{UID: 1000}, c)
			synctest.Wait()
			return v
		}
		for _, seconds := range []int{-1, 1, 9, 86401} {
			if v := edit("b", localCommit{ConfirmS: seconds}); v.rejected == nil || v.rejected.Code != 400 {
				t.Errorf("%d seconds: %+v", seconds, v)
			}
		}
		v := edit("b", localCommit{ConfirmS: 30, Comment: "two\nlines " + strings.Repeat("x", 300)})
		if v.accepted == nil || v.accepted.Status != "pending_confirm" || v.accepted.Version != 8 || v.accepted.ConfirmBy == nil {
			t.Fatalf("%+v", v)
		}
		b.pendingIs(t, "local-8 8 explicit")
		b.saysIs(t, "8 pending_confirm 8 b")
		time.Sleep(31 * time.Second)
		b.saysIs(t, "7 rolled_back 8 a")
		// The fleet did not ask for it.
		b.answersAre(t, "applied 7 t7")
		// The version that went back is not used again.
		if v = edit("b", localCommit{ConfirmS: 30, Comment: "again"}); v.accepted == nil || v.accepted.Version != 9 {
			t.Fatalf("%+v", v)
		}
		if status, answer := b.settle("commit-confirm", "local-9"); status != 200 {
			t.Errorf("%d %s", status, answer)
		}
		b.saysIs(t, "9 applied 9 b")
		body, _ := b.Document("commits")
		if field(t, string(body), "commits", 0, "comment") != "again" || field(t, string(body), "commits", 0, "by") != "user 1000" ||
			field(t, string(body), "commits", 0, "n") != 0.0 || field(t, string(body), "commits", 1, "version") != 7.0 {
			t.Errorf("commits %s", body)
		}
		event := b.fleet.on("event")
		if len(event) == 0 || !strings.Contains(fmt.Sprint(event), `"comment":"two lines xxx`) || strings.Contains(fmt.Sprint(event), strings.Repeat("x", 200)) {
			t.Errorf("events %v", event)
		}
	})
}

// A commit that the session confirms: the fleet hears of it once it is kept.
func TestSessionCommitIsKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := startBox(t, "", nil)
		b.publish(document(7, "a", ""))
		b.fleet.live(false)
		b.publishLater(moved(8, "b", "wan0"))
		b.saysIs(t, "8 pending_confirm 8 b")
		b.pendingIs(t, "session-8 8 session")
		if n := len(b.fleet.brokers()); n != 1 {
			t.Fatalf("the session was made anew %d times", n)
		}
		// The fleet's documents wait, and so does an edit for a while.
		b.publish(moved(8, "b", "wan0"))
		b.publish(moved(9, "c", "wan0"))
		b.publish(moved(9, "c", "wan0"))
		edited := make(chan int, 1)
		go func() {
			status, _ := b.Apply(context.Background(), []byte(document(0, "d", "")), control.Caller{})
			edited <- status
		}()
		time.Sleep(8 * time.Second)
		b.answersAre(t, "applied 7 t7", "superseded 8 t8")
		b.saysIs(t, "8 pending_confirm 8 b")
		b.fleet.live(true)
		time.Sleep(5 * time.Second)
		if b.fleet.retried() == 0 {
			t.Error("the broker was not tried again")
		}
		got := b.answers(t)
		if len(got) < 3 || got[2] != "applied 8 t8" {
			t.Fatalf("answers %q", got)
		}
		// Then they have their turn, in whichever order.
		if status := <-edited; status != 200 || !slices.Contains(got, "409 9 t9") && !slices.Contains(got, "applied 9 t9") {
			t.Errorf("the edit got %d, and the fleet %q", status, got)
		}
		if kinds := b.kinds(t); !slices.Equal(kinds[:4], []string{"config_applied", "commit_pending", "commit_confirmed", "config_applied"}) {
			t.Errorf("events %q", kinds)
		}
	})
}

func TestSessionCommitGoesBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := startBox(t, "", nil)
		b.publish(moved(7, "a", "lan0"))
		b.fleet.live(false)
		b.publishLater(moved(8, "b", "wan0"))
		b.publish(moved(9, "c", "lan0"))
		time.Sleep(20 * time.Second)
		if status, answer := b.edit(document(0, "d", "")); status != 409 || !strings.Contains(answer, "session-8") {
			t.Errorf("an edit does not wait for ever: %d %s", status, answer)
		}
		time.Sleep(98 * time.Second)
		b.saysIs(t, "8 pending_confirm 8 b")
		time.Sleep(4 * time.Second)
		// What waited has its turn now.
		b.saysIs(t, "9 applied 9 c")
		b.answersAre(t, "applied 7 t7", "408 8 t8", "applied 9 t9")
		if got := b.fleet.on("config/rejected")[0].body; !strings.Contains(got, "no session with the broker came back within 2 min") {
			t.Errorf("rejected %s", got)
		}
		if n := len(b.fleet.brokers()); n != 2 {
			t.Errorf("the session was made anew %d times, want there and back", n)
		}
		if names := b.waysOf(b.inForce.Load()); !slices.Equal(names, []string{"lan0"}) {
			t.Errorf("the broker is reached through %q", names)
		}
	})
}

func TestSessionCommitIsConfirmedAtTheBox(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := startBox(t, "", nil)
		b.publish(document(7, "a", ""))
		b.fleet.live(false)
		b.publishLater(moved(8, "b", "wan0"))
		if status, answer := b.settle("commit-confirm", ""); status != 200 {
			t.Errorf("%d %s", status, answer)
		}
		time.Sleep(5 * time.Minute)
		b.saysIs(t, "8 applied 8 b")
		b.answersAre(t, "applied 7 t7", "applied 8 t8")
	})
}

// A commit that a person confirms, and that moves the box: the session is made
// anew, and confirms nothing.
func TestExplicitCommitThatMovesTheBox(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := startBox(t, "", nil)
		b.publish(document(7, "a", ""))
		b.fleet.live(false)
		b.publishLater(strings.Replace(moved(8, "b", "wan0"), `"state"`, `"commit":{"id":"c8","rollback_s":60},"state"`, 1))
		if n := len(b.fleet.brokers()); n != 1 {
			t.Errorf("the session was made anew %d times", n)
		}
		time.Sleep(20 * time.Second)
		if b.fleet.retried() < 3 {
			t.Errorf("the broker was tried again %d times", b.fleet.retried())
		}
		b.fleet.live(true)
		time.Sleep(20 * time.Second)
		b.saysIs(t, "8 pending_confirm 8 b")
		b.pendingIs(t, "c8 8 explicit")
		time.Sleep(21 * time.Second)
		b.saysIs(t, "7 rolled_back 8 a")
		if n := len(b.fleet.brokers()); n != 2 {
			t.Errorf("the session was made anew %d times", n)
		}
		b.answersAre(t, "applied 7 t7", "pending_confirm 8 t8", "408 8 t8")
	})
}

// The session that was there before does not count.
func TestSessionOfBeforeConfirmsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := startBox(t, "", nil)
		b.publish(document(7, "a", ""))
		b.fleet.mu.Lock()
		b.fleet.stays = true
		b.fleet.mu.Unlock()
		b.publishLater(moved(8, "b", "wan0"))
		time.Sleep(time.Minute)
		b.saysIs(t, "8 pending_confirm 8 b")
		time.Sleep(time.Minute + time.Second)
		b.saysIs(t, "7 rolled_back 8 a")
	})
}

// Which documents have to be confirmed by the session.
func TestWhatNeedsTheSession(t *testing.T) {
	const free = `{"name":"wan0","match":{"interface":"eth7"}}`
	state := func(device, uplinks string) string {
		return `{"schema":"sluice.config/v1","version":8,"state":{"device":{` + device + `},"uplinks":[{"name":"lan0","match":{"interface":"lo"},"default":true}` + uplinks + `]}}`
	}
	for name, c := range map[string]struct {
		document string
		options  func(*Options)
		needs    bool
	}{
		"an output":                     {document(8, "b", ""), nil, false},
		"the role of the command line":  {`{"schema":"sluice.config/v1","version":8,"state":{"uplinks":[{"name":"lan0"}]}}`, nil, false},
		"another uplink":                {state("", ","+free), nil, false},
		"a static address elsewhere":    {state("", `,{"name":"wan0","match":{"interface":"eth7"},"addresses":["192.0.2.9/24"]}`), nil, false},
		"the same, of the host":         {state("", `,{"name":"wan0","match":{"interface":"eth7"},"addresses":["192.0.2.9/24"]}`), withHost, true},
		"DHCP, of the host":             {state("", `,{"name":"wan0","match":{"interface":"eth7"},"dhcp4":true}`), withHost, true},
		"the host's name and time":      {state(`"hostname":"van","ntp":["192.0.2.1"]`, ""), withHost, false},
		"an uplink left to the host":    {state("", ","+free), withHost, false},
		"an address on the way":         {strings.Replace(state("", ""), `"default":true`, `"default":true,"addresses":["192.0.2.9/24"]`, 1), nil, true},
		"another default uplink":        {strings.Replace(state("", `,{"name":"wan0","match":{"interface":"eth7"},"default":true}`), `"default":true`, `"default":false`, 1), nil, true},
		"that, where it is not the way": {strings.Replace(state("", `,{"name":"wan0","match":{"interface":"eth7"},"default":true}`), `"default":true`, `"default":false`, 1), func(o *Options) { o.BrokerUplinks = []string{"lan0"} }, false},
		"the way":                       {state(`"management":{"uplinks":["wan0"]}`, ","+free), nil, true},
		"the same way by name":          {state(`"management":{"uplinks":["lan0"]}`, ""), nil, false},
		"a box without a broker":        {state(`"management":{"uplinks":["wan0"]}`, ","+free), func(o *Options) { o.Broker = nil }, false},
		"a broker":                      {state(`"management":{"broker":{"url":"mqtt://b"}}`, ""), func(o *Options) { o.Broker = nil }, true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := startBox(t, "", c.options)
				b.publish(document(7, "a", ""))
				b.fleet.live(false)
				made := len(b.fleet.brokers())
				b.publishLater(c.document)
				if v := b.inForce.Load().version(); v != 8 {
					t.Fatalf("version %d; %s", v, b.fleet.last("config/rejected"))
				}
				want := "none"
				if c.needs {
					want = "session-8 8 session"
				}
				b.pendingIs(t, want)
				anew := b.fleet.brokers()[made:]
				if anew := len(anew) > 0 && anew[0].Broker != ""; anew != c.needs {
					t.Errorf("the session is made anew: %t", anew)
				}
			})
		})
	}
}

func TestConfirmationsThatAreRefused(t *testing.T) {
	for name, c := range map[string]struct {
		body string
		code float64
	}{
		"another id":     {`{"id":"c7","action":"confirm","client_token":"x"}`, 409},
		"no id":          {`{"action":"confirm","client_token":"x"}`, 400},
		"a long id":      {`{"id":"` + strings.Repeat("c", 65) + `","action":"confirm","client_token":"x"}`, 400},
		"no action":      {`{"id":"c8","client_token":"x"}`, 400},
		"another action": {`{"id":"c8","action":"delete","client_token":"x"}`, 400},
		"another field":  {`{"id":"c8","action":"confirm","force":true,"client_token":"x"}`, 400},
		"two":            {`{"id":"c8","action":"confirm","client_token":"x"}{}`, 400},
		"too large":      {`{"id":"c8","action":"confirm","client_token":"x"` + strings.Repeat(" ", maxConfirm) + `}`, 413},
		"not JSON":       {`confirm`, 400},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := startBox(t, "", nil)
				b.publish(document(7, "a", ""))
				b.publishLater(committed(8, "b"))
				b.confirm(c.body)
				got := b.fleet.last("config/rejected")
				if got == "" || field(t, got, "code") != c.code {
					t.Fatalf("answer %q", got)
				}
				if c.code == 409 && (field(t, got, "client_token") != "x" || !strings.Contains(got, "c8")) {
					t.Errorf("answer %s", got)
				}
				if kinds := b.kinds(t); kinds[len(kinds)-1] != "confirm_refused" {
					t.Errorf("events %q", kinds)
				}
				b.saysIs(t, "8 pending_confirm 8 b")
			})
		})
	}
	synctest.Test(t, func(t *testing.T) {
		b := startBox(t, "", nil)
		b.publish(document(7, "a", ""))
		b.confirm(`{"id":"c7","action":"confirm"}`)
		b.receiveConfirm(mqtt.Message{Payload: []byte(`{"id":"c7","action":"confirm"}`), Retained: true})
		b.confirm("")
		b.answersAre(t, "applied 7 t7", "409 <nil> <nil>", "400 <nil> <nil>")
		for _, request := range []string{"commit-confirm", "commit-cancel"} {
			if status, answer := b.settle(request, ""); status != 409 || !strings.Contains(answer, "no commit is pending") {
				t.Errorf("%s: %d %s", request, status, answer)
			}
			// The fleet has its own topic for it.
			if r, _ := b.perform(t.Context(), request, readTestRequest(t), nil); r.Error == nil || r.Error.Code != 404 {
				t.Errorf("%s of the fleet: %+v", request, r)
			}
		}
	})
}
