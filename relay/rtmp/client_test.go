package rtmp

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"sluice/relay/dial"
	"sluice/relay/endpoint"
	"sluice/relay/media"
	"sluice/relay/relaytest"
)

// secretKey is a stream key with a query, as platforms give them out.
const secretKey = "live_hunter2-hunter3?token=swordfish"

// pushing publishes to servers.
func pushing(addresses ...string) OutputConfig {
	cfg := OutputConfig{DestinationMode: dial.Backup, Enhanced: EnhancedAuto, ChunkSize: 4096}
	for _, a := range addresses {
		cfg.Destinations = append(cfg.Destinations, Destination{URL: "rtmp://" + a + "/app", StreamKey: endpoint.NewSecret(secretKey)})
	}
	return cfg
}

// fails waits until Run has failed, and checks how.
func fails(t *testing.T, name string, e *running, phase endpoint.Phase, code, words string) {
	t.Helper()
	err := e.wait()
	var fault *endpoint.Error
	if !errors.As(err, &fault) {
		t.Errorf("%s: it ends with %v", name, err)
		return
	}
	if fault.Phase != phase || fault.Reason.Code != code || !strings.Contains(err.Error(), words) {
		t.Errorf("%s: phase %d, %s: %v", name, fault.Phase, fault.Reason.Code, err)
	}
	for _, secret := range []string{"hunter2", "swordfish"} {
		if strings.Contains(err.Error(), secret) {
			t.Errorf("%s: the key is in what it says: %v", name, err)
		}
	}
}

func TestPushFails(t *testing.T) {
	t.Parallel()
	refuses := func(stage, code, description string) func(*host) {
		return func(h *host) {
			answer := onStatus(7, status{"error", code, description})
			switch stage {
			case "connect":
				if h.greet() != nil {
					return
				}
				q, _ := h.hears("connect")
				answer = call(0, "_error", q.id, nil, status{"error", code, description})
			case "createStream":
				h.accepts(nil)
				q, _ := h.hears(stage)
				answer = call(0, "_error", q.id, nil, status{"error", code, description})
			case "createStream by status":
				h.accepts(nil)
				h.hears("createStream")
			case "publish":
				h.makesStream(nil)
				h.hears(stage)
			case "publish by error":
				h.makesStream(nil)
				q, _ := h.hears("publish")
				answer = call(7, "_error", q.id, nil, status{"error", code, description})
			case "in mid-stream":
				h.publishes(nil)
			}
			_ = h.answer(answer)
			_, _ = h.drains()
		}
	}
	const refused, connecting = endpoint.Refused, endpoint.Connecting
	long := strings.Repeat("x", 180)
	for _, c := range []struct {
		name   string
		script func(*host)
		phase  endpoint.Phase
		code   string
		words  string
	}{
		{"connect", refuses("connect", "NetConnection.Connect.Rejected", "no such app"), refused, "peer", "NetConnection.Connect.Rejected no such app"},
		{"createStream", refuses("createStream", "NetConnection.Call.Failed", "no streams left"), refused, "peer", "no streams left"},
		{"createStream, with the key", refuses("createStream by status", "NetStream.Publish.BadName", "who is "+secretKey+"?"), refused, "peer", "who is [secret]?"},
		{"publish", refuses("publish", "NetStream.Publish.BadName", "it is taken"), refused, "peer", "NetStream.Publish.BadName it is taken"},
		{"publish, with the key", refuses("publish", "NetStream.Publish.BadName", "who is live_hunter2-hunter3, with ?token=swordfish"), refused, "peer", "who is [secret], with"},
		{"publish, with the key behind many words", refuses("publish", "NetStream.Publish.BadName", long+" "+secretKey), refused, "peer", long},
		{"publish, without words", refuses("publish", "", ""), refused, "peer", "it does not say why"},
		{"publish, with lines and more", refuses("publish", "A", "b\r\nlevel=INFO\x1b[31m\xff"), refused, "peer", "refused: A b  level=INFO [31m?"},
		{"publish, by an error", refuses("publish by error", "NetStream.Publish.Failed", "no"), refused, "peer", "NetStream.Publish.Failed no"},
		{"in mid-stream", refuses("in mid-stream", "NetStream.Publish.Failed", "the quota of "+secretKey+" is used up"), refused, "peer", "the quota of [secret] is used up"},
		{"hangs up at once", func(*host) {}, connecting, "handshake", "does not answer as an RTMP server does"},
		{"hangs up instead of connecting", func(h *host) { _ = h.greet(); h.hears("connect") }, connecting, "handshake", "does not answer as an RTMP server does"},
		{"hangs up instead of publishing", func(h *host) { h.makesStream(nil); h.hears("publish") }, refused, "peer", "it hung up without a word"},
		{"hangs up in mid-stream", func(h *host) { h.publishes(nil) }, connecting, "peer_closed", "the peer closed the connection"},
		{"is no RTMP server", func(h *host) {
			_, _ = h.link.Write([]byte("HTTP/1.1 400 Bad Request\r\n\r\n"))
		}, connecting, "handshake", "does not answer as an RTMP server does"},
		{"sends much that is nothing", func(h *host) {
			_, _ = h.link.Write([]byte(strings.Repeat("220 smtp.example ESMTP\r\n", 500)))
			_, _ = h.drains()
		}, connecting, "handshake", "does not answer as an RTMP server does"},
		{"is no RTMP server, and waits", func(h *host) {
			_, _ = h.link.Write([]byte("HTTP/1.1 400 Bad Request\r\n\r\n"))
			_, _ = h.drains()
		}, connecting, "handshake", "does not answer as an RTMP server does"},
		{"sends garbage in mid-stream", func(h *host) {
			h.publishes(nil)
			_, _ = h.link.Write([]byte{0xFF, 0xFF, 0xFF, 0xFF})
			_, _ = h.drains()
		}, connecting, "peer_broken", "the peer does not keep to the protocol"},
		{"says much and does not answer", func(h *host) {
			_ = h.greet()
			for range 2 * mostAnswers {
				if h.answer(call(0, "onBWDone", 0)) != nil {
					return
				}
			}
			_, _ = h.drains()
		}, connecting, "handshake", "does not answer"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			began := time.Now()
			out := r.output(pushing(hosts(t, c.script)))
			fails(t, c.name, out.running, c.phase, c.code, c.words)
			if took := time.Since(began); took > dial.Timeout*3/4 { // none waits for that
				t.Errorf("it is known after %v", took)
			}
			if st := out.Status(); st.Phase != c.phase || st.Reason == nil || !strings.Contains(st.Reason.Message, c.words) {
				t.Errorf("status: phase %d, %v", st.Phase, st.Reason)
			}
			withoutSecrets(t, r.log.String(), fmt.Sprintf("%+v", out.Status()))
		})
	}
}

// withoutSecrets checks that none of the tests' secrets is in what is shown.
func withoutSecrets(t *testing.T, shown ...string) {
	t.Helper()
	for _, s := range shown {
		for _, secret := range []string{"hunter2", "hunter3", "swordfish", "open-sesame"} {
			if strings.Contains(s, secret) {
				t.Errorf("%s is shown: %s", secret, s)
			}
		}
	}
}

func TestNobodyListens(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	out := r.output(pushing(fmt.Sprintf("127.0.0.1:%d", relaytest.FreePort(t))))
	fails(t, "nobody listens", out.running, endpoint.Connecting, "no_listener", "nobody listens")
}

// TestSilentServers take a call and say nothing, at different times.
func TestSilentServers(t *testing.T) {
	takesSeconds(t)
	t.Parallel()
	for name, script := range map[string]func(*host){
		"at once":            func(h *host) { _, _ = io.Copy(io.Discard, h.link) },
		"after a handshake":  func(h *host) { _ = h.greet(); _, _ = h.drains() },
		"instead of publish": func(h *host) { h.makesStream(nil); _, _ = h.drains() },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			out := r.output(pushing(hosts(t, script)))
			fails(t, name, out.running, endpoint.Connecting, "no_answer", "did not answer within 5s")
		})
	}
}

// TestStoppedWhileCalling ends a call that waits.
func TestStoppedWhileCalling(t *testing.T) {
	t.Parallel()
	called := make(chan bool, 1)
	r := newRig(t)
	out := r.output(pushing(hosts(t, func(h *host) { called <- true; _, _ = io.Copy(io.Discard, h.link) })))
	<-called
	began := time.Now()
	out.stop()
	if took := time.Since(began); took > dial.Timeout/2 {
		t.Errorf("it ends after %v", took)
	}
}

// hevc is a key frame of Enhanced RTMP.
var hevc = []byte{0x80 | 1<<4 | 1, 'h', 'v', 'c', '1', 0, 0, 0, 9}

// carries puts a picture into the rig's flow.
func (r *rig) carries(data []byte, headers ...media.Header) {
	r.flow.Publish([]media.Packet{{
		Format: &media.Format{Kind: media.FLV, Clock: &media.Clock{}, Headers: headers},
		Track:  media.Video, DTS: 5000 * ticks, PTS: 5000 * ticks, Arrival: time.Now(), RandomAccess: true, Data: data,
	}})
}

func TestCodecsOfServers(t *testing.T) {
	t.Parallel()
	list := func(codecs ...any) map[string]any { return map[string]any{"fourCcList": codecs} }
	for _, c := range []struct {
		name   string
		says   map[string]any
		force  bool
		data   []byte
		passes bool
	}{
		{"none listed", nil, false, hevc, false},
		{"another listed", list("av01"), false, hevc, false},
		{"listed", list("av01", "hvc1"), false, hevc, true},
		{"all listed", list("*"), false, hevc, true},
		{"listed in a map", map[string]any{"videoFourCcInfoMap": map[string]any{"hvc1": 4}}, false, hevc, true},
		{"listed in a map as one that it can encode", map[string]any{"videoFourCcInfoMap": map[string]any{"hvc1": 2}}, false, hevc, false},
		{"none listed, forced", nil, true, hevc, true},
		{"classic, none listed", nil, false, picture(true, 0, 1), true},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			r.carries(c.data, media.Header{Track: media.Video, Data: c.data})
			got := make(chan message, 10)
			cfg := pushing(hosts(t, func(h *host) {
				defer close(got)
				if h.publishes(c.says) {
					for {
						m, err := h.next()
						if err != nil {
							return
						}
						got <- m
					}
				}
			}))
			if c.force {
				cfg.Enhanced = EnhancedForce
			}
			out := r.output(cfg)
			if !c.passes {
				fails(t, c.name, out.running, endpoint.Unworkable, "codec", "hvc1")
				for m := range got {
					if m.kind == video {
						t.Error("the server is sent what it does not take")
					}
				}
			} else if m := <-got; m.kind != video || string(m.data) != string(c.data) || m.time != 0 || m.stream != 7 {
				t.Errorf("it is sent %+v", m)
			}
			if c.passes {
				out.stop()
			}
			balanced(t, out.ledger)
		})
	}
}

// TestOrderlyPush looks at what a server gets: the chunk size, metadata as a
// publisher sends it, times from zero, and the words of an orderly end.
func TestOrderlyPush(t *testing.T) {
	needsTCPInfo(t)
	t.Parallel()
	const size = 8192
	r := newRig(t)
	meta := said("onMetaData", map[string]any{"width": 320})
	r.carries(numbered(1, true, 3*size), media.Header{Track: media.Data, Data: meta}, media.Header{Track: media.Video, Data: videoHeader(1)})
	type talk struct {
		connect  command
		size     int
		messages []message
		err      error
	}
	done, first := make(chan talk, 1), make(chan message, 1)
	address := hosts(t, func(h *host) {
		var k talk
		k.connect, _ = h.accepts(nil)
		for _, name := range []string{"releaseStream", "FCPublish", "createStream"} {
			q, _ := h.hears(name)
			if name != "createStream" && q.text(1) != secretKey {
				t.Errorf("%s of %q", name, q.text(1))
			}
			_ = h.answer(call(0, "_result", q.id, nil, 7), call(0, "onBWDone", 0)) // a command with nothing in it
		}
		if q, _ := h.hears("publish"); q.text(1) != secretKey || q.text(2) != "live" {
			t.Errorf("publish %q %q", q.text(1), q.text(2))
		}
		k.size = h.in.size
		_ = h.answer(onStatus(7, status{"status", "NetStream.Publish.Start", "go"}), call(0, "onBWDone", 0), call(0, "onStatus", 0))
		for range 3 {
			m, _ := h.next()
			k.messages = append(k.messages, m)
		}
		first <- message{}
		rest, err := h.drains()
		k.messages, k.err = append(k.messages, rest...), err
		done <- k
	})
	cfg := pushing(address)
	cfg.ChunkSize = size
	out := r.output(cfg)
	out.await(endpoint.Connected)
	<-first
	eventually(t, "the server has acknowledged it", func() bool { return !out.Status().Acked.IsZero() })
	if st := out.Status(); !st.Acknowledges || st.Sent.IsZero() || st.Destinations[0].Address != address {
		t.Errorf("status %+v", st)
	}
	out.stop()
	k := <-done
	object := k.connect.object(0)
	if object["app"] != "app" || object["tcUrl"] != "rtmp://"+address+"/app" || !slices.Contains(announced(object), "hvc1") {
		t.Errorf("it connects with %v", object)
	}
	if k.size != size {
		t.Errorf("the chunk size is %d", k.size)
	}
	if len(k.messages) != 5 || k.err != nil {
		t.Fatalf("%d messages, then %v", len(k.messages), k.err)
	}
	if m := k.messages[0]; m.kind != amf0Data || string(m.data) != string(said("@setDataFrame"))+string(meta) || m.stream != 7 || m.time != 0 {
		t.Errorf("metadata: %+v", m)
	}
	if m := k.messages[1]; m.kind != video || string(m.data) != string(videoHeader(1)) {
		t.Errorf("header: %+v", m)
	}
	if m := k.messages[2]; m.kind != video || string(m.data) != string(numbered(1, true, 3*size)) || m.time != 0 {
		t.Errorf("picture at %d: %d bytes", m.time, len(m.data))
	}
	if q, _ := parseCommand(k.messages[3]); q.name != "FCUnpublish" || q.text(1) != secretKey {
		t.Errorf("goodbye: %+v", q)
	}
	q, _ := parseCommand(k.messages[4])
	if n, _ := q.number(1); q.name != "deleteStream" || n != 7 {
		t.Errorf("goodbye: %+v", q)
	}
	balanced(t, out.ledger)
	if n := out.ledger.Sent.Load(); n != 1 {
		t.Errorf("%d packets are counted", n)
	}
}

func TestTwoDestinations(t *testing.T) {
	t.Parallel()
	server := func(up *atomic.Bool) (address string, published *atomic.Int32) {
		published = &atomic.Int32{}
		return hosts(t, func(h *host) {
			if !up.Load() {
				return
			}
			if h.publishes(nil) {
				published.Add(1)
				_, _ = h.drains()
			}
		}), published
	}
	var always, never atomic.Bool
	always.Store(true)
	t.Run("both", func(t *testing.T) {
		r := newRig(t)
		a, one := server(&always)
		b, two := server(&always)
		cfg := pushing(a, b)
		cfg.DestinationMode = dial.Both
		out := r.output(cfg)
		eventually(t, "both are published to", func() bool { return one.Load() == 1 && two.Load() == 1 })
		eventually(t, "both are shown", func() bool {
			d := out.Status().Destinations
			return d[0].Phase == endpoint.Connected && d[1].Phase == endpoint.Connected
		})
		r.carries(picture(true, 0, 1))
		eventually(t, "it is counted for both", func() bool { return out.ledger.Sent.Load() == 2 })
		out.stop()
		balanced(t, out.ledger)
	})
	t.Run("backup", func(t *testing.T) {
		r := newRig(t)
		a, one := server(&always)
		b, two := server(&always)
		out := r.output(pushing(a, b))
		eventually(t, "the first is published to", func() bool { return one.Load() == 1 })
		out.await(endpoint.Connected)
		if d := out.Status().Destinations[1]; d.Reason == nil || d.Reason.Code != endpoint.ReasonStandby || two.Load() != 0 {
			t.Errorf("the second is called: %+v", d)
		}
		out.stop()
	})
	t.Run("backup stands in", func(t *testing.T) {
		r := newRig(t)
		a, _ := server(&never)
		b, two := server(&always)
		out := r.output(pushing(a, b))
		eventually(t, "the second is published to", func() bool { return two.Load() == 1 })
		out.await(endpoint.Connected)
		if st := out.Status(); st.Reason == nil || st.Destinations[1].Phase != endpoint.Connected {
			t.Errorf("status %+v", st)
		}
		out.stop()
		withoutSecrets(t, r.log.String())
	})
}

// TestPull plays from servers that answer in different ways.
func TestPull(t *testing.T) {
	t.Parallel()
	pulling := func(address string) InputConfig {
		return InputConfig{URL: "rtmp://" + address + "/app", StreamKey: endpoint.NewSecret(secretKey)}
	}
	asked := func(h *host) {
		h.makesStream(nil)
		if q, ok := h.hears("play"); ok && q.text(1) != secretKey {
			t.Errorf("it plays %q", q.text(1))
		}
	}
	started := onStatus(7, status{"status", "NetStream.Play.Start", "go"})
	media := []message{
		{kind: amf0Data, stream: 7, data: said("|RtmpSampleAccess", true, true)},
		{kind: video, stream: 7, time: 1000, data: videoHeader(1)},
		{kind: video, stream: 7, time: 1000, data: numbered(1, true, 100)},
		{kind: video, stream: 7, time: 1040, data: numbered(2, false, 100)},
	}
	for _, c := range []struct {
		name   string
		script func(h *host)
		phase  endpoint.Phase
		code   string
		words  string
	}{
		{"not found", func(h *host) {
			asked(h)
			_ = h.answer(onStatus(7, status{"error", "NetStream.Play.StreamNotFound", "no " + secretKey}))
			_, _ = h.drains()
		}, endpoint.Refused, "peer", "NetStream.Play.StreamNotFound no [secret]"},
		{"hangs up instead of playing", asked, endpoint.Refused, "peer", "it hung up without a word"},
		{"refuses in mid-stream", func(h *host) {
			asked(h)
			_ = h.answer(append([]message{started}, media...)...)
			_ = h.answer(onStatus(7, status{"error", "NetStream.Play.Failed", "enough of " + secretKey}))
			_, _ = h.drains()
		}, endpoint.Refused, "peer", "enough of [secret]"},
		{"stops in mid-stream", func(h *host) {
			asked(h)
			_ = h.answer(started, onStatus(7, status{"status", "NetStream.Play.Stop", "end"}))
			_, _ = h.drains()
		}, endpoint.Connecting, "unpublished", "the peer ended the stream"},
		{"hangs up in mid-stream", func(h *host) {
			asked(h)
			_ = h.answer(started)
		}, endpoint.Connecting, "peer_closed", "the peer closed the connection"},
		{"sends much data before it answers", func(h *host) {
			asked(h)
			for range mostAnswers {
				large := message{kind: amf0Data, stream: 7, data: append(said("x"), make([]byte, 1<<20)...)}
				if _, err := h.link.Write(appendMessage(nil, h.size, large)); err != nil {
					return
				}
			}
			_, _ = h.drains()
		}, endpoint.Connecting, "handshake", "too many messages are begun"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			in := r.input(pulling(hosts(t, c.script)))
			fails(t, c.name, in.running, c.phase, c.code, c.words)
			withoutSecrets(t, r.log.String(), fmt.Sprintf("%+v", in.Status()))
		})
	}
	for name, status := range map[string][]message{"with a status": {started}, "without a status": nil} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			rest := make(chan []message, 1)
			in := r.input(pulling(hosts(t, func(h *host) {
				asked(h)
				_ = h.answer(append(slices.Clone(status), media...)...)
				all, _ := h.drains()
				rest <- all
			})))
			in.await(endpoint.Connected)
			eventually(t, "all of it is published", func() bool { return r.flow.Next() == 2 })
			if p, ok := r.flow.At(r.flow.Next() - 2); !ok || string(p.Data) != string(numbered(1, true, 100)) || len(p.Format.Headers) != 1 {
				t.Errorf("published %+v", p)
			}
			eventually(t, "it is noted", func() bool { return !in.Status().Received.IsZero() })
			in.stop()
			all := <-rest
			if q, _ := parseCommand(all[len(all)-1]); q.name != "deleteStream" {
				t.Errorf("its last words: %+v", q)
			}
			balanced(t, in.ledger)
		})
	}
}

// TestPushToItself publishes and plays by our own server, there and back.
func TestPushToItself(t *testing.T) {
	needsTCPInfo(t)
	t.Parallel()
	a, b := newRig(t), newRig(t)
	in, out := b.input(b.publishHere()), b.output(b.playHere())
	in.await(endpoint.Listening)
	out.await(endpoint.Listening)
	first := a.input(a.publishHere())
	first.await(endpoint.Listening)
	cfg := pushing(fmt.Sprintf("127.0.0.1:%d", b.port))
	cfg.Destinations[0].URL = fmt.Sprintf("rtmp://127.0.0.1:%d/in", b.port)
	cfg.Destinations[0].StreamKey = endpoint.NewSecret("key")
	push := a.output(cfg)
	push.await(endpoint.Connected)
	w := b.player()
	p := a.publisher()
	p.pictures(100)
	w.sees(99)
	w.intact()
	eventually(t, "all is acknowledged", func() bool {
		push.Status()
		return push.ledger.Bytes.Load() == 100*500 && push.ledger.BytesAcked.Load() == 100*500
	})
	push.stop()
	in.await(endpoint.Listening)
	balanced(t, push.ledger)
	balanced(t, in.ledger)
	if n := push.ledger.Sent.Load(); n != 100 {
		t.Errorf("%d are counted", n)
	}
}
