package srt

import (
	"fmt"
	neturl "net/url"
	"testing"

	"sluice/relay/relaytest"
)

// enough is how many datagrams are a stream: more than half a second of it, with its
// tables, clocks, null packets and private data.
const enough = 250

// A peer is a program that speaks SRT by libsrt. It reads or writes the stream
// on its standard input or output, byte for byte.
type peer struct {
	name     string
	options  func(mode string, bits int) string // of the URL
	streamID func(id string) string             // one more
	send     func(url string) []string
	receive  func(url string) []string
}

var peers = []peer{
	{
		name: "srt-live-transmit",
		options: func(mode string, bits int) string {
			return key("mode="+mode+"&latency=120", bits)
		},
		streamID: func(id string) string { return "&streamid=" + id },
		send:     func(url string) []string { return []string{"-q", "-a:no", "-chunk:1316", "file://con", url} },
		receive:  func(url string) []string { return []string{"-q", "-a:no", url, "file://con"} },
	},
	{
		name: "ffmpeg",
		options: func(mode string, bits int) string {
			return key("mode="+mode+"&latency=120000&payload_size=1316", bits)
		},
		streamID: func(id string) string { return "&streamid=" + id },
		send: func(url string) []string {
			return []string{"-v", "error", "-nostdin", "-probesize", "32", "-analyzeduration", "0", "-f", "data", "-raw_packet_size", "1316", "-i", "pipe:0", "-map", "0", "-c", "copy", "-flush_packets", "1", "-f", "data", url}
		},
		receive: func(url string) []string {
			return []string{"-v", "error", "-nostdin", "-probesize", "32", "-analyzeduration", "0", "-f", "data", "-i", url, "-map", "0", "-c", "copy", "-flush_packets", "1", "-f", "data", "pipe:1"}
		},
	},
	{
		name: "gst-launch-1.0",
		options: func(mode string, bits int) string {
			return key("mode="+mode+"&latency=120", bits)
		},
		streamID: func(id string) string { return "&streamid=" + neturl.QueryEscape(id) },
		send: func(url string) []string {
			return []string{"-q", "fdsrc", "fd=0", "blocksize=1316", "!", "srtsink", "sync=false", "uri=" + url}
		},
		receive: func(url string) []string {
			return []string{"-q", "srtsrc", "uri=" + url, "!", "fdsink", "fd=1", "sync=false"}
		},
	},
}

func key(options string, bits int) string {
	if bits == 0 {
		return options
	}
	return fmt.Sprintf("%s&passphrase=%s&pbkeylen=%d", options, passphrase, bits/8)
}

// matrix runs a test with every program, mode of ours and key length.
func matrix(t *testing.T, run func(t *testing.T, p peer, mode string, bits int)) {
	cells := concurrent{t: t}
	for _, p := range peers {
		for _, mode := range []string{ModeListener, ModeCaller} {
			for _, bits := range []int{0, 128, 192, 256} {
				cells.run(fmt.Sprintf("%s/we are the %s/AES-%d", p.name, mode, bits), func(t *testing.T) { run(t, p, mode, bits) })
			}
		}
	}
	cells.wait()
}

func TestInputFromPrograms(t *testing.T) {
	relaytest.TakesSeconds(t)
	t.Parallel()
	matrix(t, func(t *testing.T, p peer, mode string, bits int) {
		var in *receivingInput
		if mode == ModeListener {
			in = runInput(t, keyed(listenerConfig(), bits))
			runProgram(t, source(t), nil, p.name, p.send(url("127.0.0.1", in.port(t), p.options("caller", bits)))...)
		} else {
			port := relaytest.FreePort(t)
			runProgram(t, source(t), nil, p.name, p.send(url("127.0.0.1", port, p.options("listener", bits)))...)
			listening(t, port)
			in = runInput(t, keyed(callerConfig("127.0.0.1", port), bits))
		}
		await(t, "the stream arrives", func() bool { return in.seen.Report().Received > enough })
		intact(t, in.seen)
		if err := in.stop(); err != nil {
			t.Error(err)
		}
		balanced(t, in.env.Ledger)
	})
}

func TestOutputToPrograms(t *testing.T) {
	relaytest.TakesSeconds(t)
	t.Parallel()
	matrix(t, func(t *testing.T, p peer, mode string, bits int) {
		got := relaytest.NewVerifier(1)
		var out *sendingOutput
		if mode == ModeListener {
			out = runOutput(t, keyed(listenerConfig(), bits), anyone, live(t))
			runProgram(t, nil, sink{got}, p.name, p.receive(url("127.0.0.1", out.port(t), p.options("caller", bits)))...)
		} else {
			port := relaytest.FreePort(t)
			runProgram(t, nil, sink{got}, p.name, p.receive(url("127.0.0.1", port, p.options("listener", bits)))...)
			listening(t, port)
			out = runOutput(t, keyed(callerConfig("127.0.0.1", port), bits), anyone, live(t))
		}
		await(t, "the stream arrives", func() bool { return got.Report().Received > enough })
		intact(t, got)
		if err := out.stop(); err != nil {
			t.Error(err)
		}
		balanced(t, out.env.Ledger)
		if acked := out.env.Ledger.BytesAcked.Load(); acked < enough*payloadSize {
			t.Errorf("%d bytes acknowledged", acked)
		}
	})
}

func TestOurselves(t *testing.T) {
	relaytest.TakesSeconds(t)
	t.Parallel()
	cells := concurrent{t: t}
	for _, bits := range []int{0, 128, 192, 256} {
		cells.run(fmt.Sprintf("AES-%d", bits), func(t *testing.T) {
			out := runOutput(t, keyed(listenerConfig(), bits), anyone, live(t))
			in := runInput(t, keyed(callerConfig("127.0.0.1", out.port(t)), bits))
			await(t, "the stream arrives", func() bool { return in.seen.Report().Received > enough })
			if err := out.stop(); err != nil {
				t.Error(err)
			}
			balanced(t, out.env.Ledger)
			// An orderly stop lets out what was sent, to the last byte.
			await(t, "the end of the stream arrives", func() bool { return in.env.Ledger.Bytes.Load() == out.env.Ledger.Bytes.Load() })
			intact(t, in.seen)
		})
	}
	cells.wait()
}
