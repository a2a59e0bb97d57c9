package srt

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
	"testing"

	"sluice/relay/endpoint"
	"sluice/relay/relaytest"
)

// A lock is what one side of a connection asks for.
type lock struct {
	secret string
	bits   int
	stream string
}

func (l lock) config(c Config) Config {
	c.StreamID = l.stream
	if l.secret != "" {
		c.Passphrase, c.KeyLength = endpoint.NewSecret(l.secret), l.bits/8
	}
	return c
}

func (l lock) options(mode string) string {
	o := "mode=" + mode + "&latency=120"
	if l.secret != "" {
		o += fmt.Sprintf("&passphrase=%s&pbkeylen=%d", l.secret, l.bits/8)
	}
	if l.stream != "" {
		o += "&streamid=" + l.stream
	}
	return o
}

// TestRefuse has callers refused by our listener: each gets its code, is
// counted, and the reason shows.
func TestRefuse(t *testing.T) {
	secret := lock{secret: passphrase, bits: 128}
	tests := []struct {
		name         string
		ours, theirs lock
		shown        string // on the listener
		told         string // what libsrt says of the code
		code         string // what our own caller makes of it
	}{
		{"wrong passphrase", secret, lock{secret: "another-passphrase", bits: 128}, "wrong passphrase", "Incorrect passphrase", "bad_secret"},
		{"no passphrase", secret, lock{}, "no passphrase", "Password required or unexpected", "unsecure"},
		{"unexpected passphrase", lock{}, secret, "it has a passphrase and none is set here", "Password required or unexpected", "unsecure"},
		{"key length", secret, lock{secret: passphrase, bits: 256}, "wrong key length", "", "unacceptable"},
		{"stream id", lock{stream: "stage"}, lock{stream: "other"}, "wrong stream id", "", "not_found"},
		{"no stream id", lock{stream: "stage"}, lock{}, "wrong stream id", "", "not_found"},
	}
	cells := concurrent{t: t}
	for _, tt := range tests {
		check := func(t *testing.T, e endpoint.Env, log *logBuffer, status func() (endpoint.Phase, *endpoint.Reason)) {
			t.Helper()
			await(t, "the refusal shows", func() bool { _, why := status(); return why != nil })
			phase, why := status()
			sentence := regexp.MustCompile(`^127\.0\.0\.1:\d+ was refused: ` + tt.shown + `$`)
			if phase != endpoint.Listening || why.Code != "peer_refused" || !sentence.MatchString(why.Message) {
				t.Errorf("phase %d, reason %+v", phase, why)
			}
			if e.Ledger.Refused.Load() == 0 || e.Ledger.Connections.Load() != 0 {
				t.Errorf("%d refused, %d connected", e.Ledger.Refused.Load(), e.Ledger.Connections.Load())
			}
			secretFree(t, log.String(), why.Message)
		}
		told := func(t *testing.T, p *program) {
			t.Helper()
			await(t, "libsrt names the code", func() bool { return strings.Contains(p.output.String(), tt.told) })
		}
		cells.run(tt.name+"/publisher", func(t *testing.T) {
			in := runInput(t, tt.ours.config(listenerConfig()))
			p := runProgram(t, source(t), nil, "srt-live-transmit", "-a:no", "-chunk:1316", "file://con", url("127.0.0.1", in.port(t), tt.theirs.options("caller")))
			check(t, in.env, in.log, func() (endpoint.Phase, *endpoint.Reason) { s := in.Status(); return s.Phase, s.Reason })
			told(t, p)
		})
		cells.run(tt.name+"/viewer", func(t *testing.T) {
			out := runOutput(t, tt.ours.config(listenerConfig()), anyone, live(t))
			p := runProgram(t, nil, nil, "srt-live-transmit", "-a:no", url("127.0.0.1", out.port(t), tt.theirs.options("caller")), "file://con")
			if tt.shown == "wrong key length" { // who only receives takes the one that we say we want
				await(t, "it is connected", func() bool { return len(viewers(out)) == 1 })
				return
			}
			check(t, out.env, out.log, func() (endpoint.Phase, *endpoint.Reason) { s := out.Status(); return s.Phase, s.Reason })
			told(t, p)
		})
		cells.run(tt.name+"/our own caller", func(t *testing.T) {
			out := runOutput(t, tt.ours.config(listenerConfig()), anyone, live(t))
			refusedCall(t, tt.theirs.config(callerConfig("127.0.0.1", out.port(t))), tt.code)
		})
	}
	cells.wait()
}

// TestRefused has our callers refused by libsrt.
func TestRefused(t *testing.T) {
	secret := lock{secret: passphrase, bits: 192}
	tests := []struct {
		name         string
		theirs, ours lock
		code         string
	}{
		{"wrong passphrase", secret, lock{secret: "another-passphrase", bits: 192}, "bad_secret"},
		{"no passphrase", secret, lock{}, "unsecure"},
		{"unexpected passphrase", lock{}, secret, "unsecure"},
	}
	cells := concurrent{t: t}
	for _, tt := range tests {
		cells.run(tt.name, func(t *testing.T) {
			port := relaytest.FreePort(t)
			runProgram(t, source(t), nil, "srt-live-transmit", "-q", "-a:no", "-chunk:1316", "file://con", url("127.0.0.1", port, tt.theirs.options("listener")))
			listening(t, port)
			refusedCall(t, tt.ours.config(callerConfig("127.0.0.1", port)), tt.code)
		})
	}
	// Without enforced encryption the peer lets us in, and we would send what
	// it cannot read.
	for code, theirs := range map[string]lock{"unsecure": {}, "bad_secret": {secret: "another-passphrase", bits: 192}} {
		cells.run("peer does not insist/"+code, func(t *testing.T) {
			port := relaytest.FreePort(t)
			p := runProgram(t, nil, nil, "srt-live-transmit", "-q", "-a:no", url("127.0.0.1", port, theirs.options("listener")+"&enforcedencryption=0"), "file://con")
			listening(t, port)
			out := runOutput(t, secret.config(callerConfig("127.0.0.1", port)), anyone, live(t))
			await(t, "the call ends", func() bool { s := out.Status(); return s.Reason != nil })
			checkRefused(t, out.stop(), code)
			await(t, "the peer hears our goodbye", func() bool { return p.ended() })
		})
	}
	cells.wait()
}

// refusedCall runs an input and an output that are to be refused.
func refusedCall(t *testing.T, cfg Config, code string) {
	t.Helper()
	in := runInput(t, cfg)
	await(t, "the input's call ends", func() bool { s := in.Status(); return s.Reason != nil })
	out := runOutput(t, cfg, anyone, live(t))
	await(t, "the output's call ends", func() bool { s := out.Status(); return s.Reason != nil })
	for _, err := range []error{in.stop(), out.stop()} {
		checkRefused(t, err, code)
	}
	secretFree(t, in.log.String(), out.log.String())
	if d := out.Status().Destinations; len(d) != 1 || d[0].Phase != endpoint.Refused || d[0].Reason.Code != code {
		t.Errorf("destinations %+v", d)
	}
}

func checkRefused(t *testing.T, err error, code string) {
	t.Helper()
	var e *endpoint.Error
	if !errors.As(err, &e) || e.Phase != endpoint.Refused || e.Reason.Code != code {
		t.Errorf("got %#v, want to be refused with %s", err, code)
		return
	}
	secretFree(t, e.Error())
}

func secretFree(t *testing.T, texts ...string) {
	t.Helper()
	for _, s := range texts {
		if strings.Contains(s, passphrase) || strings.Contains(s, "another-passphrase") {
			t.Errorf("a passphrase in %q", s)
		}
	}
}

func TestStreamID(t *testing.T) {
	relaytest.TakesSeconds(t)
	const id = "#!::r=live/stage,m=publish"
	out := runOutput(t, lock{stream: id}.config(listenerConfig()), anyone, live(t))
	in := runInput(t, lock{stream: id}.config(callerConfig("127.0.0.1", out.port(t))))
	await(t, "the stream arrives", func() bool { return in.seen.Report().Received > 20 })
}
