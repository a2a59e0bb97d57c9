package console

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"sluice/device/console/figure"
)

// showNode is what can be looked at. Every one is a screen, or is paged.
func (s *session) showNode() *node {
	shows := func(word, help string, f func(context.Context, call) (string, error), nodes ...*node) *node {
		return &node{word: word, help: help, nodes: nodes, run: s.shows(f)}
	}
	// of is the same with an argument.
	of := func(arg, help string, values func(context.Context) []choice, f func(context.Context, call) (string, error)) *node {
		return &node{arg: arg, help: help, values: values, run: s.shows(f)}
	}
	config := shows("config", "the configuration in force", s.showConfig)
	for _, c := range configurations {
		config.nodes = append(config.nodes, shows(c.word, c.help, s.showConfig))
	}
	log := of("LINES", "how many, 1 to 1000", nil, s.showLog)
	log.check = between("a number of lines", 1, maxLogLines)
	output := &node{arg: "FLOW/OUTPUT", help: "which", values: s.outputNames, check: named, run: s.shows(s.showOutput)}
	return &node{word: "show", help: "look at the box", nodes: []*node{
		shows("version", "which box this is", s.showVersion),
		shows("hardware", "interfaces, load", s.showHardware),
		shows("uplinks", "NICs by role", s.showUplinks),
		shows("flows", "flows and their inputs", s.showFlows),
		shows("outputs", "outputs of all flows, or of one", s.showOutputs, of("FLOW", "of one flow", s.flowNames, s.showOutputs)),
		{word: "output", help: "all about one output, or a list of all", short: true, run: s.shows(s.showOutputs), nodes: []*node{output}},
		shows("input", "what sources bring: programmes, codecs", s.showInput, of("FLOW", "of one flow", s.flowNames, s.showInput)),
		shows("srt", "SRT connections in figures", s.showSRT, of("FLOW/ITEM", "of one flow, or of one of its items", s.itemNames, s.showSRT)),
		shows("fleet", "the way to the fleet manager", s.showFleet),
		shows("clock", "time, and where it is from", s.showClock),
		shows("alarms", "what somebody should look at", s.showAlarms),
		shows("log", "the last lines of the log", s.showLog, log),
		config,
		shows("commits", "configurations that were in force", s.showCommits),
	}}
}

// shows makes a command of what makes text.
func (s *session) shows(f func(context.Context, call) (string, error)) func(context.Context, call) error {
	return func(ctx context.Context, c call) error {
		text, err := f(ctx, c)
		if err != nil {
			return err
		}
		return s.page(ctx, text)
	}
}

// between is the check of a number.
func between(what string, low, high int) func(string) error {
	return func(v string) error {
		if n, err := strconv.Atoi(v); err != nil || n < low || n > high {
			return fmt.Errorf("%s is %d to %d", what, low, high)
		}
		return nil
	}
}

func (s *session) showVersion(ctx context.Context, _ call) (string, error) {
	var i infoDocument
	if err := s.document(ctx, "info", &i); err != nil {
		return "", err
	}
	var id identity
	if err := s.document(ctx, "console", &id); err != nil {
		return "", err
	}
	v, err := s.load(ctx)
	if err != nil {
		return "", err
	}
	device := ""
	if id.Name != i.Device {
		device = labelled("Device", s.width, i.Device+" to the fleet")
	}
	up := ""
	if v.figures.System.UptimeS > 0 {
		up = "up " + figure.Lasting(time.Duration(v.figures.System.UptimeS*float64(time.Second)))
	}
	return labelled("Box", s.width, id.Name, i.Model) + device +
		labelled("Serial", s.width, dash(i.SerialNumber)) +
		labelled("Version", s.width, "sluiced "+i.Version, i.Architecture, up) +
		labelled("Document", s.width, v.document()), nil
}

func (s *session) showHardware(ctx context.Context, _ call) (string, error) {
	var i infoDocument
	if err := s.document(ctx, "info", &i); err != nil {
		return "", err
	}
	v, err := s.load(ctx)
	if err != nil {
		return "", err
	}
	system := v.figures.System
	load := []string{fmt.Sprintf("CPU %.0f %%", system.CPUPercent), "memory " + figure.Scaled(system.RSSBytes, "B")}
	if system.TemperatureC != nil {
		load = append(load, fmt.Sprintf("%.0f degrees Celsius", *system.TemperatureC))
	}
	t := table{head: []string{"INTERFACE", "HARDWARE ADDRESS", "SPEED", "DRIVER", "PATH"}}
	for _, n := range i.Interfaces {
		speed := "-"
		if n.SpeedMbps > 0 {
			speed = figure.Bitrate(uint64(n.SpeedMbps) * 1e6)
		}
		t.add(n.Name, dash(n.MAC), speed, dash(n.Driver), dash(n.Path))
	}
	return labelled("Box", s.width, i.Model, i.Architecture) +
		labelled("Load", s.width, load...) +
		labelled("Inputs", s.width, strings.Join(i.Capabilities.Inputs, " ")) +
		labelled("Outputs", s.width, strings.Join(i.Capabilities.Outputs, " ")) +
		"\n" + t.lines(s.width), nil
}

func (s *session) showUplinks(ctx context.Context, _ call) (string, error) {
	var i infoDocument
	if err := s.document(ctx, "info", &i); err != nil {
		return "", err
	}
	v, err := s.load(ctx)
	if err != nil {
		return "", err
	}
	if len(v.state.Uplinks) == 0 {
		return "There are no uplinks: configure, or setup.\n", nil
	}
	t := table{head: []string{"UPLINK", "NIC", "LINK", "STATE", "IN", "OUT", "ADDRESSES"}}
	for _, u := range v.state.Uplinks {
		link := "no carrier"
		if u.Carrier {
			link = "up"
		}
		for _, n := range i.Interfaces {
			if n.Name == u.Interface && u.Carrier && n.SpeedMbps > 0 {
				link = figure.Bitrate(uint64(n.SpeedMbps) * 1e6)
			}
		}
		if u.Interface == "" {
			link = "-"
		}
		in, out := "-", "-"
		for _, f := range v.figures.Uplinks {
			if f.Name == u.Name {
				in, out = figure.Bitrate(f.RxBps), figure.Bitrate(f.TxBps)
			}
		}
		state, what := u.readiness()
		if len(u.Gateways) > 0 {
			what += ", gateway " + strings.Join(u.Gateways, " ")
		}
		if u.Ready && u.Routing != nil {
			what += "; " + why(u.Routing)
		}
		t.add(u.Name, dash(u.Interface), link, state, in, out, what)
	}
	return t.lines(s.width), nil
}

func (s *session) showFleet(ctx context.Context, _ call) (string, error) {
	var f fleetDocument
	if err := s.document(ctx, "fleet", &f); err != nil {
		return "", err
	}
	if f.Broker == "" {
		return "No broker is configured: the box works by itself.\n", nil
	}
	state := dash(f.State)
	if !f.Since.IsZero() {
		state += " for " + figure.Ago(s.o.Now(), f.Since)
	}
	if f.Reason != nil {
		state += ": " + why(f.Reason)
	}
	text := labelled("Broker", s.width, f.Broker) +
		labelled("State", s.width, state) +
		labelled("Through", s.width, dash(f.Via)) +
		labelled("Desired", s.width, fmt.Sprintf("version %d", f.Desired))
	if l := f.Last; l != nil {
		outcome := l.Status
		if l.Code >= 300 {
			outcome = fmt.Sprintf("refused, %d", l.Code)
		}
		if l.Message != "" {
			outcome += ": " + l.Message
		}
		text += labelled("Answered", s.width, fmt.Sprintf("version %d: %s", l.Version, outcome))
	}
	if len(f.Owned) > 0 {
		text += labelled("Set here", s.width, strings.Join(f.Owned, " and ")+": the fleet cannot change it")
	}
	return text, nil
}

func (s *session) showClock(ctx context.Context, _ call) (string, error) {
	var c clockDocument
	if err := s.document(ctx, "clock", &c); err != nil {
		return "", err
	}
	state := "not synchronized"
	if c.Synchronized {
		state = "synchronized"
	}
	text := labelled("Time", s.width, c.Time.UTC().Format("2006-01-02 15:04:05 UTC")) +
		labelled("State", s.width, state) +
		labelled("Server", s.width, dash(c.Server))
	if c.OffsetMs != nil {
		text += labelled("Offset", s.width, figure.Short(*c.OffsetMs)+" ms")
	}
	if c.Source == "none" {
		text += labelled("Note", s.width, "nothing on this box sets its clock")
	}
	return text, nil
}

func (s *session) showAlarms(ctx context.Context, _ call) (string, error) {
	v, err := s.load(ctx)
	if err != nil {
		return "", err
	}
	if len(v.state.Alarms) == 0 {
		return "There are no alarms.\n", nil
	}
	t := table{head: []string{"SUBJECT", "CODE", "SINCE", "MESSAGE"}}
	for _, a := range v.state.Alarms {
		t.add(a.Subject, a.Code, figure.Ago(s.o.Now(), a.Since), a.Message)
	}
	return t.lines(s.width), nil
}

const (
	someLogLines = 20
	maxLogLines  = 1000
)

func (s *session) showLog(ctx context.Context, c call) (string, error) {
	lines := someLogLines
	if v := c.arg(0); v != "" {
		lines, _ = strconv.Atoi(v) // checked by the grammar
	}
	all, err := s.logTail(ctx, lines)
	if err != nil {
		return "", err
	}
	if len(all) == 0 {
		return "The log is empty.\n", nil
	}
	return fold(strings.Join(all, "\n")+"\n", s.width), nil
}

func (s *session) logTail(ctx context.Context, lines int) ([]string, error) {
	var tail struct {
		Lines []string `json:"lines"`
	}
	err := s.request(ctx, "log-tail", map[string]int{"lines": lines}, &tail)
	for i, line := range tail.Lines {
		tail.Lines[i] = clean(line)
	}
	return tail.Lines, err
}

func (s *session) showCommits(ctx context.Context, _ call) (string, error) {
	var c commitsDocument
	if err := s.document(ctx, "commits", &c); err != nil {
		return "", err
	}
	text := ""
	if c.Pending != nil {
		text = c.Pending.String() + "\n\n"
	}
	if len(c.Commits) == 0 {
		return text + "Nothing was committed yet.\n", nil
	}
	t := table{head: []string{"N", "VERSION", "ORIGIN", "BY", "WHEN (UTC)", "COMMENT"}}
	for _, e := range c.Commits {
		n := strconv.Itoa(e.N)
		if e.N == 0 {
			n = "0 (in force)"
		}
		when := "-"
		if !e.Received.IsZero() {
			when = e.Received.UTC().Format("2006-01-02 15:04:05")
		}
		t.add(n, strconv.FormatUint(e.Version, 10), dash(e.Origin), dash(e.By), when, e.Comment)
	}
	return text + t.lines(s.width), nil
}
