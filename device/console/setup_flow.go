package console

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
)

// What a first flow's items are called.
const (
	firstInput  = "in-1"
	firstOutput = "out-1"
)

// flowQuestions are those of a first flow.
func (w *wizard) flowQuestions() []*question {
	wanted := func() bool { return w.is("flow") == yes }
	in := func(protocol string) func() bool {
		return func() bool { return wanted() && w.is("input") == protocol }
	}
	out := func(form string) func() bool {
		return func() bool { return wanted() && w.is("output") == form }
	}
	several := func() bool { return wanted() && len(w.uplinkNames()) > 1 }
	const key = "It is not shown, and asked for twice. < goes back."
	return []*question{
		{
			name: "flow", text: say("Set up a flow"), choices: []string{yes, no},
			proposed: func() string {
				if len(w.tree.Names("flows")) > 0 {
					return no
				}
				return yes
			},
			more: "A flow is one live stream: an input, and where it goes. More of them, and all that they can do, are there under configure.",
		},
		{
			name: "flow name", needed: wanted, text: say("Name of the flow"), proposed: w.flowProposed, check: w.flowNamed,
			more: "What operators call it, such as Main stage.",
		},
		{
			name: "input", needed: wanted, text: say("Input"), choices: []string{"SRT", "RTMP", "RTP"}, proposed: say("SRT"),
			more: "How the encoder sends: SRT (the box listens), RTMP (it publishes to the box) or RTP, which is also MPEG-TS over UDP.",
		},
		{
			name: "input port", needed: wanted, text: say("Port that the encoder sends to"),
			proposed: func() string { return w.portProposed("input", map[string]int{"SRT": 9000, "RTMP": 1935, "RTP": 5004}) },
			more:     "The box listens there. It has to be free: one port for each SRT or RTP input; RTMP shares one.",
		},
		{
			name: "input group", needed: in("RTP"), text: say("Multicast group"), proposed: say(none),
			more: "The group to join, such as 239.1.1.1. none: the encoder sends to the box itself.",
		},
		{
			name: "input key", needed: in("RTMP"), secret: true, text: say("Stream key that the encoder uses"),
			more: "Who publishes to the box has to know it. " + key,
		},
		{
			name: "input passphrase", needed: in("SRT"), secret: true, optional: true, text: say("Passphrase"),
			more: "Turns encryption on: 10 to 79 characters that the encoder has too. " + key,
		},
		{
			name: "input uplink", needed: several, text: say("Uplink that the encoder is on"), proposed: w.lan, check: w.oneOfUplinks,
			more: "The role of the NIC where the box listens.",
		},
		{
			name: "output", needed: wanted, text: say("Output"), choices: []string{"RTMP", "SRT-caller", "SRT-listener", "RTP", none}, proposed: say("RTMP"),
			more: "RTMP: the box publishes to a server. SRT-caller: it calls a receiver. SRT-listener: receivers call it. RTP: MPEG-TS to an address or a group. none: later.",
		},
		{
			name: "output url", needed: out("RTMP"), text: say("URL of the server, without the key"), check: rtmpURL,
			more: "Such as rtmp://live.example.com/app or rtmps://live.example.com/app.",
		},
		{
			name: "output key", needed: out("RTMP"), secret: true, text: say("Stream key"),
			more: "The server gives it for each stream. " + key,
		},
		{
			name: "output host", needed: func() bool { return wanted() && (w.is("output") == "SRT-caller" || w.is("output") == "RTP") }, text: say("Address of the receiver"),
			more: "A name or an address; with RTP also a multicast group.",
		},
		{
			name: "output port", needed: func() bool { return wanted() && w.is("output") != "RTMP" && w.is("output") != none },
			text: func() string {
				if w.is("output") == "SRT-listener" {
					return "Port that receivers call"
				}
				return "Port of the receiver"
			},
			proposed: func() string {
				return w.portProposed("output", map[string]int{"SRT-caller": 9000, "SRT-listener": 9100, "RTP": 5004})
			},
			more: "1 to 65535.",
		},
		{
			name: "output latency", needed: func() bool { return wanted() && strings.HasPrefix(w.is("output"), "SRT") }, text: say("Latency in ms"), proposed: say("120"),
			more: "How long lost packets may be asked for again: 3 to 4 times the round-trip time. 120 within a country, 200 to the next, 1000 to another continent.",
		},
		{
			name: "output passphrase", needed: func() bool { return wanted() && strings.HasPrefix(w.is("output"), "SRT") }, secret: true, optional: true, text: say("Passphrase"),
			more: "Turns encryption on: 10 to 79 characters that the other end has too. " + key,
		},
		{
			name: "output uplink", needed: func() bool { return several() && w.is("output") != none }, text: say("Uplink that leads to the receiver"), proposed: w.wan, check: w.oneOfUplinks,
			more: "The role of the NIC that the stream leaves through.",
		},
	}
}

// flowProposed is a name that no flow has.
func (w *wizard) flowProposed() string {
	for i := 1; ; i++ {
		name := "Main"
		if i > 1 {
			name = fmt.Sprintf("Main %d", i)
		}
		if !slices.Contains(w.tree.Names("flows"), flowID(name)) {
			return name
		}
	}
}

func (w *wizard) flowNamed(name string) (string, error) {
	if id := flowID(name); slices.Contains(w.tree.Names("flows"), id) {
		return "", fmt.Errorf("there is a flow %s already: call this one otherwise", id)
	}
	return name, nil
}

// flowID makes the id of a flow of its name.
func flowID(name string) string {
	id := strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= '0' && r <= '9':
			return r
		case r >= 'A' && r <= 'Z':
			return r + 'a' - 'A'
		}
		return '-'
	}, name)
	for strings.Contains(id, "--") {
		id = strings.ReplaceAll(id, "--", "-")
	}
	if id = strings.Trim(id, "-"); id == "" {
		id = "flow"
	}
	return strings.TrimRight(id[:min(len(id), 32)], "-")
}

// portProposed is the usual port of the form that was chosen.
func (w *wizard) portProposed(of string, usual map[string]int) string {
	port, ok := usual[w.is(of)]
	if !ok {
		return ""
	}
	return fmt.Sprint(port)
}

// uplinkNames are those that there will be.
func (w *wizard) uplinkNames() []string {
	t, err := w.built()
	if err != nil {
		return w.roles()
	}
	return w.uplinksOf(t)
}

func (w *wizard) oneOfUplinks(a string) (string, error) {
	if names := w.uplinkNames(); !slices.Contains(names, a) {
		return "", fmt.Errorf("there is no uplink %q: it is %s", brief(a), orWords(names))
	}
	return a, nil
}

// lan is the uplink where encoders mostly are, wan where receivers are.
func (w *wizard) lan() string {
	for _, name := range w.uplinkNames() {
		if strings.HasPrefix(name, "lan") {
			return name
		}
	}
	return w.wan()
}

func (w *wizard) wan() string {
	if d := w.byDefault(); d != "" && len(w.roles()) > 1 {
		return d
	}
	return w.uplinkNames()[0]
}

func rtmpURL(a string) (string, error) {
	u, err := url.Parse(a)
	switch {
	case err != nil || u.Host == "" || u.Scheme != "rtmp" && u.Scheme != "rtmps" || strings.Trim(u.Path, "/") == "":
		return "", errors.New("a server is such as rtmp://live.example.com/app")
	case u.User != nil:
		return "", errors.New("leave user and password out of it: configure can set them")
	}
	return a, nil
}
