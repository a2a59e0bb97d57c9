package console

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	"sluice/device/console/figure"
)

const noFlows = "There are no flows.\n"

func (s *session) showFlows(ctx context.Context, _ call) (string, error) {
	v, err := s.load(ctx)
	if err != nil {
		return "", err
	}
	if len(v.reported.State.Flows) == 0 {
		return noFlows, nil
	}
	t := table{head: []string{"FLOW/INPUT", "PROTOCOL", "STATE", "SINCE", "BITRATE", "OUTPUTS", "REASON"}}
	for _, f := range v.reported.State.Flows {
		all, up := v.outputs(f.ID), 0
		for _, o := range all {
			if o.delivers() {
				up++
			}
		}
		outputs := fmt.Sprintf("%d/%d", up, len(all))
		inputs := v.inputs(f.ID)
		for _, i := range inputs {
			t.add(i.String(), i.protocol, dash(i.State), figure.Ago(s.o.Now(), i.Since), i.bitrate(), outputs, why(i.Reason))
		}
		if len(inputs) == 0 {
			t.add(f.ID, "-", "-", "-", "-", outputs, "it has no input")
		}
	}
	return t.lines(s.width), nil
}

func (s *session) showOutputs(ctx context.Context, c call) (string, error) {
	v, err := s.load(ctx)
	if err != nil {
		return "", err
	}
	if err := v.flow(c.arg(0)); err != nil {
		return "", err
	}
	all := v.outputs(c.arg(0))
	if len(all) == 0 {
		return "There are no outputs.\n", nil
	}
	t := table{head: []string{"FLOW/OUTPUT", "PROTOCOL", "STATE", "SINCE", "BITRATE", "VIEWERS", "REASON"}}
	for _, o := range all {
		t.add(o.String(), o.protocol, dash(o.State), figure.Ago(s.o.Now(), o.Since), o.bitrate(), o.viewers(), why(o.Reason))
	}
	return t.lines(s.width), nil
}

func (s *session) showOutput(ctx context.Context, c call) (string, error) {
	v, err := s.load(ctx)
	if err != nil {
		return "", err
	}
	o, err := v.output(c.arg(0))
	if err != nil {
		return "", err
	}
	way := ""
	switch {
	case o.settings.Uplink != "":
		way = "through " + o.settings.Uplink
	case o.settings.Region != "":
		way = "to region " + o.settings.Region
	}
	state := dash(o.State) + " for " + figure.Ago(s.o.Now(), o.Since)
	if o.Reason != nil {
		state += ": " + why(o.Reason)
	}
	text := labelled("Output", s.width, o.String(), o.settings.Name) +
		labelled("Protocol", s.width, o.protocol, way) +
		labelled("State", s.width, state)
	for i, url := range o.settings.PlaybackURLs {
		text += labelled([]string{"Play", ""}[min(i, 1)], s.width, url)
	}
	if o.figures == nil {
		return text, nil
	}
	return text + s.outputFigures(o.figures), nil
}

func (s *session) outputFigures(f *itemFigures) string {
	acked := ""
	if f.BytesAcked > 0 {
		acked = figure.Scaled(f.BytesAcked, "B") + " confirmed"
	}
	text := labelled("Bitrate", s.width, figure.Bitrate(f.BitrateBps)) +
		labelled("Sent", s.width, figure.Scaled(f.Bytes, "B"), figure.Count(f.Packets.Sent, "packets"), acked) +
		labelled("Lost", s.width, figure.Count(f.Packets.Lost, "packets"), figure.Count(f.Packets.Retransmitted, "sent again"), figure.Dropped(f.Packets.Dropped))
	if f.RTTMs > 0 || f.LatencyMs > 0 {
		latency, advice := "", ""
		if f.LatencyMs > 0 { // of SRT
			latency = fmt.Sprintf("latency %.0f ms", f.LatencyMs)
		}
		if ms := advised(f.SRT); ms > 0 {
			advice = fmt.Sprintf("%d ms or more advised", ms)
		}
		text += labelled("Network", s.width, fmt.Sprintf("round trip %.1f ms", f.RTTMs), latency, advice)
	}
	if n := f.Conversion; n != nil {
		text += labelled("Converted", s.width, figure.Count(n.Frames, "frames"), figure.Count(n.Jumps, "jumps of the source's clock"), figure.Dropped(n.Dropped))
	}
	text += labelled("Peers", s.width, figure.Count(uint64(len(f.Sessions)), "now"), figure.Count(f.Reconnections, "reconnections"), figure.Count(f.Refused, "refused"))
	if len(f.Destinations) > 0 {
		t := table{head: []string{"DESTINATION", "STATE", "REASON"}}
		for _, d := range f.Destinations {
			t.add(d.Address, d.State, why(d.Reason))
		}
		text += "\n" + t.lines(s.width)
	}
	if len(f.Sessions) > 0 {
		t := table{head: []string{"PEER", "SINCE", "BITRATE", "SESSION"}}
		for _, p := range f.Sessions {
			t.add(p.Peer, figure.Ago(s.o.Now(), p.Since), figure.Bitrate(p.BitrateBps), p.ID)
		}
		text += "\n" + t.lines(s.width)
	}
	return text
}

func (s *session) showInput(ctx context.Context, c call) (string, error) {
	v, err := s.load(ctx)
	if err != nil {
		return "", err
	}
	if err := v.flow(c.arg(0)); err != nil {
		return "", err
	}
	if len(v.reported.State.Flows) == 0 {
		return noFlows, nil
	}
	if !s.script {
		s.printf("The box looks for 3 to 11 s. Ctrl-C ends it.\n")
	}
	var parts []string
	for _, f := range v.reported.State.Flows {
		if id := c.arg(0); id != "" && f.ID != id {
			continue
		}
		var seen inspection
		if err := s.request(ctx, "input-inspect", map[string]string{"flow": f.ID}, &seen); err != nil {
			return "", err
		}
		parts = append(parts, s.inspected(&seen))
	}
	return strings.Join(parts, "\n"), nil
}

func (s *session) inspected(i *inspection) string {
	carriage := i.Carriage
	if carriage == i.Protocol {
		carriage = ""
	}
	state := dash(i.State)
	if i.BitrateBps > 0 {
		state += ", " + figure.Bitrate(i.BitrateBps)
	}
	if i.Reason != nil {
		state += ": " + why(i.Reason)
	}
	text := labelled("Input", s.width, i.Flow+"/"+i.Input, i.Protocol, carriage) + labelled("State", s.width, state)
	if i.Note != "" {
		text += labelled("Note", s.width, i.Note)
	}
	for _, p := range i.Programs {
		how := "not taken"
		switch {
		case i.Carriage == "RTMP":
			how = "as MPEG-TS outputs get it"
		case p.Taken:
			how = "taken"
		}
		text += "\n" + labelled("Programme", s.width, strconv.Itoa(int(p.Number)), "PMT "+figure.PID(p.PMTPID), how)
		if len(p.Streams) == 0 {
			text += labelled("", s.width, "no streams are known")
			continue
		}
		t := table{head: []string{"PID", "TYPE", "CODEC", "FORMAT", "BITRATE", "TO " + i.Conversion}}
		for _, e := range p.Streams {
			carried := "yes"
			if !e.Carried {
				carried = "no: " + dash(e.LeftOut)
			}
			t.add(figure.PID(e.PID), e.Type, dash(e.Codec), e.format(), figure.Bitrate(e.BitrateBps), carried)
		}
		text += t.lines(s.width)
	}
	return text
}

// format is what is known of pictures or sound.
func (e inspectedStream) format() string {
	var parts []string
	if e.Width > 0 {
		parts = append(parts, fmt.Sprintf("%dx%d", e.Width, e.Height))
	}
	if e.FrameRate > 0 {
		parts = append(parts, figure.Decimals(e.FrameRate, 2)+" fps")
	}
	if e.SampleRate > 0 {
		parts = append(parts, figure.Decimals(float64(e.SampleRate)/1000, 3)+" kHz")
	}
	if e.Channels > 0 {
		parts = append(parts, fmt.Sprintf("%d ch", e.Channels))
	}
	return dash(strings.Join(parts, " "))
}

// explain says in one causal sentence why an output is as it is.
func (s *session) explain(ctx context.Context, c call) (string, error) {
	flow, output, err := splitName(c.arg(0), "FLOW/OUTPUT")
	if err != nil {
		return "", err
	}
	var answer struct {
		Text string `json:"text"`
	}
	if err := s.request(ctx, "output-explain", map[string]string{"flow": flow, "output": output}, &answer); err != nil {
		return "", err
	}
	return fold(cleanLines(answer.Text)+"\n", s.width), nil
}

// configurations are the documents that hold one.
var configurations = []struct{ word, help string }{
	{"running", "in force, with playback URLs"},
	{"candidate", "that is being edited"},
	{"saved", "that the box starts with"},
	{"desired", "in force, as it was asked for"},
}

// showConfig shows a configuration as JSON. No document holds a secret.
func (s *session) showConfig(ctx context.Context, c call) (string, error) {
	which := c.words[len(c.words)-1]
	name := map[string]string{"config": "reported", "running": "reported"}[which]
	if name == "" {
		name = which
	}
	var d struct {
		State    json.RawMessage `json:"state"`
		Document struct {
			State json.RawMessage `json:"state"`
		} `json:"document"` // of a candidate
	}
	if err := s.document(ctx, name, &d); err != nil {
		return "", err
	}
	if which == "candidate" {
		d.State = d.Document.State
	}
	if len(d.State) == 0 {
		return "It is empty.\n", nil
	}
	text, err := indented(d.State)
	if err != nil || s.script {
		return text, err
	}
	return fold(text, s.width), nil
}

// indented writes JSON for people, in the order in which it came.
func indented(raw json.RawMessage) (string, error) {
	var b strings.Builder
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(raw); err != nil {
		return "", fmt.Errorf("the configuration cannot be read: %w", err)
	}
	return b.String(), nil
}
