package console

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"sluice/device/console/figure"
)

// setupNodes are the guided ways to set up a box, as operational commands.
func setupNodes(s *session) []*node {
	return []*node{{
		word: "setup", help: "set up the box, question by question",
		run: func(ctx context.Context, _ call) error { return s.setup(ctx) },
	}}
}

const setupIntro = `Setup asks for what this box needs. Enter takes what stands in brackets, ? says
more, < goes back a question, Ctrl-C leaves without a change. Nothing is in
force before the last question.

`

// setup asks, shows what the answers change, and commits it.
func (s *session) setup(ctx context.Context) error {
	w, err := newWizard(ctx, s)
	if err != nil {
		return err
	}
	if !s.script {
		s.print(setupIntro)
		if w.changed {
			s.print(fold(fmt.Sprintf("There is a candidate, changed by %s: setup goes on from it.\n\n", clean(w.who())), s.width))
		}
	}
	questions := w.questions()
	for {
		again, err := w.all(ctx, questions)
		if err != nil {
			return err
		}
		if again {
			continue
		}
		again, err = w.finish(ctx)
		if err != nil || !again {
			return err
		}
	}
}

// A wizard holds the answers of one setup.
type wizard struct {
	*candidate
	nics    []nic
	broker  string // that of the command line or the document, as the daemon has it
	local   locals
	answers map[string]string
	secrets map[string]string
}

// A nic is an interface of the box.
type nic struct {
	Name      string `json:"name"`
	MAC       string `json:"mac"`
	Path      string `json:"path"`
	SpeedMbps int    `json:"speed_mbps"`
	Carrier   bool   `json:"carrier"`
}

// link says what is known of the cable.
func (n nic) link() string {
	switch {
	case !n.Carrier:
		return "no link"
	case n.SpeedMbps > 0:
		return figure.Bitrate(uint64(n.SpeedMbps) * 1e6)
	}
	return "link"
}

// maxNICs bounds how many are asked about: as many as there can be uplinks.
const maxNICs = 16

func newWizard(ctx context.Context, s *session) (*wizard, error) {
	c, err := openCandidate(ctx, s)
	if err != nil {
		return nil, err
	}
	w := &wizard{candidate: c, answers: map[string]string{}, secrets: map[string]string{}}
	if w.nics, err = w.listNICs(ctx); err != nil {
		return nil, err
	}
	var fleet struct {
		Broker string `json:"broker"`
	}
	if err := s.document(ctx, "fleet", &fleet); err != nil {
		return nil, err
	}
	w.broker = fleet.Broker
	w.local, err = w.readLocals(ctx)
	return w, err
}

// is returns an answer, "" for none.
func (w *wizard) is(name string) string { return w.answers[name] }

// given returns an answer that is not none.
func (w *wizard) given(name string) string {
	if a := w.answers[name]; a != none {
		return a
	}
	return ""
}

// none is the answer that there is to be nothing.
const none = "none"

// now returns what the candidate has at a path, as one line.
func (w *wizard) now(path ...string) string { return strings.Join(w.tree.Values(path...), " ") }

// has tells whether the candidate has something at a path.
func (w *wizard) has(path ...string) bool {
	_, err := w.tree.Find(path)
	return err == nil
}

// listNICs reads which interfaces there are, with the state of their cables.
func (w *wizard) listNICs(ctx context.Context) (nics []nic, err error) {
	var info struct {
		Interfaces []nic `json:"interfaces"`
	}
	if err := w.document(ctx, "info", &info); err != nil {
		return nil, err
	}
	for _, n := range info.Interfaces {
		if n.Name != "lo" && len(nics) < maxNICs {
			nics = append(nics, n)
		}
	}
	return nics, nil
}

// interfaces is a table of the box's, as they are now. The questions are about
// those that there were at the beginning.
func (w *wizard) interfaces(ctx context.Context) string {
	if nics, err := w.listNICs(ctx); err == nil {
		for i := range w.nics {
			if j := slices.IndexFunc(nics, func(n nic) bool { return n.Name == w.nics[i].Name }); j >= 0 {
				w.nics[i].Carrier, w.nics[i].SpeedMbps = nics[j].Carrier, nics[j].SpeedMbps
			}
		}
	}
	t := table{head: []string{"NIC", "HARDWARE ADDRESS", "LINK", "ROLE"}}
	for _, n := range w.nics {
		t.add(n.Name, dash(n.MAC), n.link(), dash(w.roleOf(n)))
	}
	return "\n" + t.lines(w.width) + "\n"
}

// roleOf returns the uplink that has a NIC now, or "".
func (w *wizard) roleOf(n nic) string {
	if role := w.local.of(n.Name); role != "" {
		return role
	}
	for _, name := range w.tree.Names("uplinks") {
		at := func(field string) string { return w.now("uplinks", name, "match", field) }
		if n.MAC != "" && strings.EqualFold(strings.ReplaceAll(at("mac"), "-", ":"), n.MAC) || at("interface") == n.Name || n.Path != "" && at("path") == n.Path {
			return name
		}
	}
	return ""
}
