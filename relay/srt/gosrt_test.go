package srt

import (
	"encoding/binary"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	gosrt "github.com/datarhei/gosrt"

	"sluice/relay/endpoint"
	"sluice/relay/relaytest"
)

// Whole connections of gosrt are peers that have no line of libsrt in them.

func gosrtConfig(bits int) gosrt.Config {
	c := gosrt.DefaultConfig()
	c.Latency = patientMS * time.Millisecond
	c.PayloadSize = relaytest.DatagramSize
	if bits != 0 {
		c.Passphrase, c.PBKeylen = passphrase, bits/8
	}
	return c
}

// gosrtDial calls a listener and talks with it until the test ends.
func gosrtDial(t *testing.T, port int, cfg gosrt.Config, talk func(gosrt.Conn)) error {
	t.Helper()
	c, err := gosrt.Dial("srt", fmt.Sprintf("127.0.0.1:%d", port), cfg)
	if err != nil {
		return err
	}
	var talking sync.WaitGroup
	talking.Go(func() { talk(c) })
	t.Cleanup(func() { _ = c.Close(); talking.Wait() })
	return nil
}

// gosrtListener talks with each caller until the test ends. asked are its
// requests, the first ones.
func gosrtListener(t *testing.T, bits int, talk func(gosrt.Conn)) (port int, asked chan gosrt.ConnRequest) {
	t.Helper()
	l, err := gosrt.Listen("srt", "127.0.0.1:0", gosrtConfig(0))
	if err != nil {
		t.Fatal(err)
	}
	asked = make(chan gosrt.ConnRequest, 10)
	var talking sync.WaitGroup
	talking.Go(func() {
		for {
			r, err := l.Accept2()
			if err != nil {
				return
			}
			select {
			case asked <- r:
			default:
			}
			switch {
			case r.IsEncrypted() != (bits != 0):
				r.Reject(gosrt.REJ_UNSECURE)
				continue
			case bits != 0 && r.SetPassphrase(passphrase) != nil:
				r.Reject(gosrt.REJ_BADSECRET)
				continue
			}
			c, err := r.Accept()
			if err != nil {
				continue
			}
			talking.Go(func() { talk(c) })
		}
	})
	t.Cleanup(func() { l.Close(); talking.Wait() })
	return l.Addr().(*net.UDPAddr).Port, asked
}

// gosrtReceive feeds a verifier.
func gosrtReceive(v *relaytest.Verifier) func(gosrt.Conn) {
	return func(c gosrt.Conn) {
		for {
			p, err := c.ReadPacket()
			if err != nil {
				return
			}
			v.Feed(p.Data())
			p.Decommission()
		}
	}
}

// gosrtSend sends the generated stream.
func gosrtSend(t *testing.T) func(gosrt.Conn) {
	return func(c gosrt.Conn) {
		_ = generated{}.send(t.Context(), func(b []byte) error {
			_, err := c.Write(b)
			return err
		})
	}
}

func TestGosrt(t *testing.T) {
	relaytest.TakesSeconds(t)
	t.Parallel()
	cells := concurrent{t: t}
	for _, bits := range []int{0, 128, 192, 256} {
		named := func(what string) string { return fmt.Sprintf("%s/AES-%d", what, bits) }
		cells.run(named("publishes to our listener"), func(t *testing.T) {
			in := runInput(t, keyed(listenerConfig(), bits))
			if err := gosrtDial(t, in.port(t), gosrtConfig(bits), gosrtSend(t)); err != nil {
				t.Fatal(err)
			}
			await(t, "the stream arrives", func() bool { return in.seen.Report().Received > enough })
			intact(t, in.seen)
		})
		cells.run(named("watches our listener"), func(t *testing.T) {
			got := relaytest.NewVerifier(1)
			out := runOutput(t, keyed(listenerConfig(), bits), anyone, live(t))
			if err := gosrtDial(t, out.port(t), gosrtConfig(bits), gosrtReceive(got)); err != nil {
				t.Fatal(err)
			}
			await(t, "the stream arrives", func() bool { return got.Report().Received > enough })
			intact(t, got)
			if err := out.stop(); err != nil {
				t.Error(err)
			}
			balanced(t, out.env.Ledger)
		})
		cells.run(named("we call it to watch"), func(t *testing.T) {
			port, _ := gosrtListener(t, bits, gosrtSend(t))
			in := runInput(t, keyed(callerConfig("127.0.0.1", port), bits))
			await(t, "the stream arrives", func() bool { return in.seen.Report().Received > enough })
			intact(t, in.seen)
		})
		cells.run(named("we call it to publish"), func(t *testing.T) {
			got := relaytest.NewVerifier(1)
			port, _ := gosrtListener(t, bits, gosrtReceive(got))
			out := runOutput(t, keyed(callerConfig("127.0.0.1", port), bits), anyone, live(t))
			await(t, "the stream arrives", func() bool { return got.Report().Received > enough })
			intact(t, got)
			if err := out.stop(); err != nil {
				t.Error(err)
			}
			balanced(t, out.env.Ledger)
		})
	}
	cells.wait()
}

// TestGosrtKeyLength: a caller of another key length adopts ours, which the
// listener advertises; one that was not told is refused.
func TestGosrtKeyLength(t *testing.T) {
	relaytest.TakesSeconds(t)
	t.Parallel()
	cells := concurrent{t: t}
	for _, bits := range []int{128, 192, 256} {
		other := 128
		if bits == other {
			other = 256
		}
		cells.run(fmt.Sprintf("AES-%d adopts AES-%d", other, bits), func(t *testing.T) {
			in := runInput(t, keyed(listenerConfig(), bits))
			if err := gosrtDial(t, in.port(t), gosrtConfig(other), gosrtSend(t)); err != nil {
				t.Fatal(err)
			}
			await(t, "the stream arrives", func() bool { return in.seen.Report().Received > 50 })
			intact(t, in.seen)
		})
		cells.run(fmt.Sprintf("AES-%d insists against AES-%d", other, bits), func(t *testing.T) {
			in := runInput(t, keyed(listenerConfig(), bits))
			_, port := through(t, in.port(t), network{pass: unadvertised})
			refusedByUs(t, in, gosrtDial(t, port, gosrtConfig(other), gosrtSend(t)), "wrong key length")
		})
	}
	cells.wait()
}

// unadvertised takes the key length out of a listener's induction answer
// (draft-sharabayko-srt section 3.2.1).
func unadvertised(forth bool, b []byte) bool {
	const encryptionAt, typeAt, induction = 20, 36, 1
	if !forth && isControl(b, controlHandshake) && binary.BigEndian.Uint32(b[typeAt:]) == induction {
		binary.BigEndian.PutUint16(b[encryptionAt:], 0)
	}
	return true
}

func TestGosrtRefused(t *testing.T) {
	wrong := gosrtConfig(128)
	wrong.Passphrase = "another-passphrase"
	cells := concurrent{t: t}
	for _, tt := range []struct {
		name         string
		ours, theirs int
		cfg          gosrt.Config
		why          string
	}{
		{"wrong passphrase", 128, 128, wrong, "wrong passphrase"},
		{"no passphrase", 128, 0, gosrtConfig(0), "no passphrase"},
		{"unexpected passphrase", 0, 128, gosrtConfig(128), "it has a passphrase and none is set here"},
	} {
		cells.run(tt.name+"/by us", func(t *testing.T) {
			in := runInput(t, keyed(listenerConfig(), tt.ours))
			refusedByUs(t, in, gosrtDial(t, in.port(t), tt.cfg, func(gosrt.Conn) {}), tt.why)
		})
	}
	for _, tt := range []struct {
		name, code   string
		ours, theirs int
		secret       string
	}{
		{"wrong passphrase", "bad_secret", 128, 128, "another-passphrase"},
		{"no passphrase", "unsecure", 0, 128, ""},
		{"unexpected passphrase", "unsecure", 128, 0, passphrase},
	} {
		cells.run(tt.name+"/of us", func(t *testing.T) {
			port, _ := gosrtListener(t, tt.theirs, func(gosrt.Conn) {})
			refusedCall(t, lock{secret: tt.secret, bits: tt.ours}.config(callerConfig("127.0.0.1", port)), tt.code)
		})
	}
	cells.wait()
}

// refusedByUs checks that a call has failed, and that the listener says why.
func refusedByUs(t *testing.T, in *receivingInput, err error, why string) {
	t.Helper()
	if err == nil {
		t.Fatal("the call went well")
	}
	await(t, "the refusal shows", func() bool { return in.Status().Reason != nil })
	s := in.Status()
	if s.Phase != endpoint.Listening || s.Reason.Code != "peer_refused" || !strings.HasSuffix(s.Reason.Message, "was refused: "+why) {
		t.Errorf("phase %d, reason %+v", s.Phase, s.Reason)
	}
	if in.env.Ledger.Refused.Load() == 0 || in.env.Ledger.Connections.Load() != 0 {
		t.Errorf("%d refused, %d connected", in.env.Ledger.Refused.Load(), in.env.Ledger.Connections.Load())
	}
	secretFree(t, in.log.String(), s.Reason.Message)
}
