package edit

import (
	"slices"
	"strings"
	"testing"
)

func TestComplete(t *testing.T) {
	tree := parse(t, stage)
	for _, c := range []struct {
		purpose Purpose
		line    string // what follows the last space is the prefix
		want    []string
	}{
		{ToSet, "", []string{"device", "uplinks", "regions", "flows"}},
		{ToFind, "", []string{"uplinks", "regions", "flows"}},
		{ToEnter, "", []string{"device", "uplinks", "flows"}},
		{ToSet, "uplinks ", []string{"lan0", "wan0", "<name>"}},
		{ToFind, "uplinks ", []string{"lan0", "wan0"}},
		{ToEnter, "uplinks w", []string{"wan0", "<name>"}},
		{ToFind, "uplinks wan0 addresses ", []string{"192.0.2.9/24", "192.0.2.10/24"}},
		{ToSet, "uplinks wan0 addresses 192.0.2.9/24 ", []string{"<address/length>"}},
		{ToSet, "uplinks wan0 n", []string{"nameservers"}},
		{ToSet, "uplinks new ma", []string{"match"}},
		{ToFind, "uplinks new ", nil},
		{ToSet, "regions ", []string{"eu", "<name>"}},
		{ToSet, "device management uplinks ", []string{"lan0", "wan0", "<text>"}},
		{ToSet, "flows stage outputs new uplink ", []string{"lan0", "wan0", "<text>"}},
		{ToSet, "flows stage outputs new region ", []string{"eu", "<text>"}},
		{ToSet, "flows stage outputs hub srt mode ", []string{"listener", "caller"}},
		{ToSet, "flows stage outputs hub protocol rtmp_", []string{"RTMP_PUSH", "RTMP_PULL"}},
		{ToSet, "flows stage outputs hub srt p", []string{"passphrase", "peer_idle_timeout_ms"}},
		{ToSet, "flows stage outputs hub srt passphrase ", nil},
		{ToSet, "flows stage outputs hub srt latency_ms ", []string{"<0 to 15000 ms>"}},
		{ToSet, "flows stage outputs hub srt latency_ms 5 ", nil},
		{ToSet, "flows stage outputs hub srt destinations ", []string{"1", "2"}},
		{ToSet, "flows stage outputs cdn rtmp destinations ", []string{"1", "2"}},
		{ToSet, "flows stage outputs hub id", nil},
		{ToSet, "flows stage inputs enc srt port ", []string{"9000", "<1 to 65535>"}},
		{ToSet, "nonsense ", nil},
		{ToEnter, "flows stage outputs hub ", []string{"srt"}},
	} {
		words := strings.Split(c.line, " ")
		last := len(words) - 1
		if got := texted(tree.Complete(c.purpose, words[:last], words[last])); !slices.Equal(got, c.want) {
			t.Errorf("%d %q: got %q, want %q", c.purpose, c.line, got, c.want)
		}
	}
}

func TestCompletionHelps(t *testing.T) {
	tree := parse(t, stage)
	for _, c := range []struct{ line, word, want string }{
		{"uplinks", "", ""},
		{"uplinks wan0", "gateway4", "IPv4 router"},
		{"flows stage", "outputs", "where the stream goes"},
		{"flows", "stage", "Main stage"},
		{"regions", "eu", "wan0"},
		{"flows", "<id>", "another flow: never changes (1 to 32 of A-Z, a-z, 0-9, _ and -)"},
		{"flows stage outputs hub srt", "key_length", "AES key length (16, 24 or 32, default 16)"},
		{"flows stage outputs hub srt", "peer_idle_timeout_ms", "silence after which a peer is given up (1000 to 10000 ms, default 5000)"},
		{"flows stage outputs hub srt", "latency_ms", "receiver buffer; the larger of both sides' is used. 3-4 x the round-trip time is a good start (0 to 15000 ms, default 120)"},
		{"flows stage outputs new", "protocol", "needed: RTMP is stored as RTMP_PUSH (SRT, RTMP, RTMP_PUSH, RTMP_PULL, RTP or RTSP)"},
		{"flows stage outputs hub srt mode", "caller", "as it is"},
	} {
		for _, w := range tree.Complete(ToSet, strings.Fields(c.line), "") {
			help := w.Help
			if w.Facts != "" {
				help += " (" + w.Facts + ")"
			}
			if w.Text == c.word && help != c.want {
				t.Errorf("%s %s: %q, want %q", c.line, c.word, help, c.want)
			}
			if strings.Contains(w.Help, "\n") {
				t.Errorf("%s %s: %q is more than a line", c.line, w.Text, w.Help)
			}
		}
		if c.word != "" && !slices.Contains(texted(tree.Complete(ToSet, strings.Fields(c.line), "")), c.word) {
			t.Errorf("%s: %s is not offered", c.line, c.word)
		}
	}
}
