package rtmp

import (
	"crypto/md5"
	"encoding/base64"
	"fmt"
	"net/url"
	"strings"
	"sync"
	"testing"

	"sluice/relay/endpoint"
)

// adobe is what a server does that wants to know who publishes, after what
// Adobe Media Server does. It lets in who knows the password.
type adobe struct {
	t        *testing.T
	password string
	opaque   string // "": there is none
	mu       sync.Mutex
	said     []string // queries behind the application
	let      int
}

func (a *adobe) script(h *host) {
	if h.greet() != nil {
		return
	}
	q, ok := h.hears("connect")
	if !ok {
		return
	}
	app, _ := q.object(0)["app"].(string)
	_, query, _ := strings.Cut(app, "?")
	a.mu.Lock()
	a.said = append(a.said, query)
	a.mu.Unlock()
	refuse := func(why string) {
		_ = h.answer(call(0, "_error", q.id, nil, status{"error", "NetConnection.Connect.Rejected", "[ AccessManager.Reject ] : [ " + why}))
		_, _ = h.drains()
	}
	const salt, challenge = "c2FsdA==", "Y2hhbGxlbmdl+/=="
	has := make(map[string]string)
	for pair := range strings.SplitSeq(query, "&") {
		name, value, _ := strings.Cut(pair, "=")
		has[name] = value
	}
	user, _ := url.QueryUnescape(has["user"])
	hash := func(s string) string {
		sum := md5.Sum([]byte(s))
		return base64.StdEncoding.EncodeToString(sum[:])
	}
	theirs := challenge
	if a.opaque != "" {
		theirs = a.opaque
	}
	switch {
	case query == "":
		refuse("code=403 need auth; authmod=adobe ] : ")
	case has["response"] == "":
		ask := "authmod=adobe ] : ?reason=needauth&user=" + has["user"] + "&salt=" + salt + "&challenge=" + challenge
		if a.opaque != "" {
			ask += "&opaque=" + a.opaque
		}
		refuse(ask)
	case has["response"] != hash(hash(user+salt+a.password)+theirs+has["challenge"]) || has["opaque"] != a.opaque:
		refuse("authmod=adobe ] : ?reason=authfailed&opaque=" + a.opaque)
	default:
		_ = h.answer(call(0, "_result", q.id, nil, status{"status", "NetConnection.Connect.Success", "ok"}))
		q, _ := h.hears("createStream")
		_ = h.answer(call(0, "_result", q.id, nil, 7))
		if _, ok := h.hears("publish"); ok {
			a.mu.Lock()
			a.let++
			a.mu.Unlock()
			_ = h.answer(onStatus(7, status{"status", "NetStream.Publish.Start", "go"}))
			_, _ = h.drains()
		}
	}
}

func (a *adobe) admitted() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.let
}

func TestAdobeAuthentication(t *testing.T) {
	t.Parallel()
	const password = "open-sesame"
	for name, opaque := range map[string]string{"with an opaque value": "b3BhcXVl", "without one": ""} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := &adobe{t: t, password: password, opaque: opaque}
			address := hosts(t, server.script)
			// That the server does as others do is proven by ffmpeg.
			run(t, "ffmpeg", "-v", "error", "-nostdin", "-i", clip(t, 1), "-c", "copy", "-f", "flv", "rtmp://ali:"+password+"@"+address+"/app/key")
			if server.admitted() != 1 {
				t.Fatal("ffmpeg is not let in")
			}
			push := func(username, password string) (*rig, outputRun) {
				r := newRig(t)
				cfg := pushing(address)
				cfg.Destinations[0].Username, cfg.Destinations[0].Password = username, endpoint.NewSecret(password)
				return r, r.output(cfg)
			}
			r, out := push("ali", password)
			out.await(endpoint.Connected)
			out.stop()
			withoutSecrets(t, r.log.String(), fmt.Sprintf("%+v", out.Status()))
			_, out = push("ali baba&x=1", password)
			out.await(endpoint.Connected)
			out.stop()
			r, out = push("ali", "wrong-"+password)
			fails(t, "a wrong password", out.running, endpoint.Refused, "authentication", "does not accept the user name and password: authfailed")
			withoutSecrets(t, r.log.String(), fmt.Sprintf("%+v", out.Status()))
			_, out = push("", "")
			fails(t, "no password", out.running, endpoint.Refused, "authentication", "set username and password")
			if n := server.admitted(); n != 3 {
				t.Errorf("%d are let in", n)
			}
			withoutSecrets(t, strings.Join(server.said, "\n"))
		})
	}
	t.Run("asked again and again", func(t *testing.T) {
		t.Parallel()
		address := hosts(t, func(h *host) {
			_ = h.greet()
			q, _ := h.hears("connect")
			_ = h.answer(call(0, "_error", q.id, nil, status{"error", "NetConnection.Connect.Rejected", "[ code=403 need auth; authmod=adobe ] : "}))
			_, _ = h.drains()
		})
		r := newRig(t)
		cfg := pushing(address)
		cfg.Destinations[0].Username, cfg.Destinations[0].Password = "ali", endpoint.NewSecret(password)
		out := r.output(cfg)
		fails(t, "again and again", out.running, endpoint.Refused, "authentication", "again and again")
	})
}
