package console

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
)

// tree is a grammar whose lines say what they are.
func tree() *node {
	run := func(context.Context, call) error { return nil }
	flows := func(context.Context) []choice {
		return []choice{{"stage", "Main stage"}, {"studio", ""}, {"two words", ""}}
	}
	return &node{nodes: []*node{
		{word: "show", help: "look", nodes: []*node{
			{word: "flows", help: "all flows", run: run},
			{word: "flowcharts", run: run},
			{word: "outputs", help: "outputs", run: run, nodes: []*node{{arg: "FLOW", help: "of a flow", values: flows, run: run}}},
		}},
		{word: "shut", run: run},
		{word: "either", nodes: []*node{{word: "running", run: run}, {arg: "NAME", run: run}}},
		{word: "set", nodes: []*node{{arg: "VALUE", rest: true, run: run}}},
		{word: "size", nodes: []*node{{arg: "N", check: func(v string) error {
			if v != "1" {
				return errors.New("use 1")
			}
			return nil
		}, run: run}}},
		{word: "path", more: func(context.Context) []*node {
			return []*node{{word: "deep", more: func(context.Context) []*node { return []*node{{word: "deeper", run: run}} }}}
		}},
	}}
}

func TestParse(t *testing.T) {
	for line, want := range map[string]string{
		"show flows":         "show flows []",
		"  sho   flows ":     "show flows []",
		"sho flowc":          "show flowcharts []",
		"show o":             "show outputs []",
		"show o sta":         "show outputs sta [sta]",
		`show o "two words"`: "show outputs two words [two words]",
		`set a "b \"c\\" d`:  `set a b "c\ d [a b "c\ d]`,
		`set ""`:             "set  []",
		"pa d deeper":        "path deep deeper []",
		"size 1":             "size 1 [1]",
		"either running":     "either running []",
		"either run":         "either run [run]", // a value is no shortened keyword
		`either "running"`:   "either running [running]",

		"":                    "nothing was typed",
		"   ":                 "nothing was typed",
		"# a comment":         "nothing was typed",
		"! another":           "nothing was typed",
		"vresion":             "0: there is no vresion here: type ? to see what there is",
		"sh":                  `0: "sh" may be show or shut`,
		"show fl":             `5: "fl" may be flows or flowcharts`,
		"show":                "5: what is to follow is missing: flows, flowcharts or outputs",
		"show flows x":        "11: nothing can follow here",
		"무 x":                 "0: there is no 무 here: type ? to see what there is",
		"show o 무대 x":         "10: nothing can follow here",
		`show o "two`:         "7: the quotation mark does not end",
		`"show" flows`:        "0: there is no show here: type ? to see what there is",
		"size 2":              "5: use 1",
		"path deep x":         "10: there is no x here: type ? to see what there is",
		"show \x1b[31m flows": "5: there is no .[31m here: type ? to see what there is",
	} {
		_, c, err := tree().parse(t.Context(), line)
		got := fmt.Sprint(strings.Join(c.words, " "), " ", c.args)
		if w := (*wrongWord)(nil); errors.As(err, &w) {
			got = fmt.Sprintf("%d: %v", w.at, w)
		} else if err != nil {
			got = err.Error()
		}
		if got != want {
			t.Errorf("%q: %s, want %s", line, got, want)
		}
	}
}

func TestComplete(t *testing.T) {
	for line, want := range map[string]string{ // with | for the cursor
		"either r|":           "either running |",
		"sh|":                 "sh|",
		"sho|":                "show |",
		"show f|":             "show flow|",
		"show flow|":          "show flow|",
		"show o|":             "show outputs |",
		"sho o st|":           "sho o st|",
		"sho o sta|":          "sho o stage |",
		"sho o tw|":           `sho o "two words" |`,
		`sho o "two w|`:       `sho o "two words" |`,
		"sho| flows":          "show |flows",
		"pa d|":               "pa deep |",
		"pa d |":              "pa d deeper |",
		"nonsense x|":         "nonsense x|",
		"size |":              "size |",
		"show outputs stage|": "show outputs stage |",
	} {
		before, after, _ := strings.Cut(line, "|")
		got, pos, _ := tree().complete(t.Context(), before+after, len(before), keyTab)
		if got = got[:pos] + "|" + got[pos:]; got != want {
			t.Errorf("%q completes to %q, want %q", line, got, want)
		}
	}
}

func TestQuestionMark(t *testing.T) {
	for line, want := range map[string]string{
		"s":             "  show  look\n  shut\n  set\n  size\n",
		"show ":         "  flows       all flows\n  flowcharts\n  outputs     outputs\n",
		"show outputs ": "  FLOW         of a flow\n  Enter        do it\n  stage        Main stage\n  studio\n  \"two words\"\n",
		"show flows ":   "  Enter  do it\n",
		"show flows":    "  flows  all flows\n",
		"x":             "there is no x here\n",
		"x y":           "there is no x here: type ? to see what there is\n",
		"size ":         "  N\n",
	} {
		got, pos, told := tree().complete(t.Context(), line, len(line), '?')
		if got != line || pos != len(line) || told != want {
			t.Errorf("%q? tells\n%sand makes %q; want\n%s", line, told, got, want)
		}
	}
	// Within quotes it is a character.
	if got, pos, told := tree().complete(t.Context(), `set "a`, 6, '?'); got != `set "a?` || pos != 7 || told != "" {
		t.Errorf("in quotes: %q, %d, %q", got, pos, told)
	}
}

func TestSplitAndQuote(t *testing.T) {
	for _, text := range []string{"a", "", "a b", `a"b`, `a\b`, `\"`, "a?b", `rtsp://h/p?x=1&y="2"`} {
		if words := split("x " + quote(text) + " y"); len(words) != 3 || words[1].text != text || words[1].open {
			t.Errorf("%q quoted is %s, and read as %+v", text, quote(text), words)
		}
	}
}

// The beginning of output means output, though outputs begins so too, and
// without a name it shows the same.
func TestShowOutputIsShort(t *testing.T) {
	f := stageBox(t)
	s := shell(t, f)
	s.do("terminal dumb", "van-3> ")
	s.do("terminal height 200", "van-3> ")
	outputs, output := s.answered("show outputs", "van-3> "), s.answered("show output stage/hub", "van-3> ")
	if !strings.HasPrefix(outputs, "FLOW/OUTPUT") || !strings.HasPrefix(output, "Output ") {
		t.Fatalf("%q and %q", outputs, output)
	}
	for line, want := range map[string]string{
		"sh o": outputs, "sh out": outputs, "show output": outputs, "sh outputs": outputs,
		"sh o stage/hub": output, "sh out stage/hub": output,
	} {
		if got := s.answered(line, "van-3> "); got != want {
			t.Errorf("%s: %q, want %q", line, got, want)
		}
	}
	// Where something else begins so as well, it is not clear.
	g := &node{nodes: []*node{{word: "out", short: true}, {word: "outputs"}, {word: "only"}}}
	if _, err := g.step(t.Context(), word{text: "o"}); err == nil {
		t.Error("o is taken for one of out, outputs and only")
	}
	if _, err := (&node{nodes: []*node{{word: "name"}, {word: "nameservers"}}}).step(t.Context(), word{text: "na"}); err == nil {
		t.Error("na is taken for name, and may be nameservers")
	}
	if n, err := g.step(t.Context(), word{text: "ou"}); err != nil || n.word != "out" {
		t.Errorf("ou is %v, %v", n, err)
	}
}

// What belongs to configure is said to, and is no short form of another word.
func TestWordsOfConfigure(t *testing.T) {
	b := newMemoryBox(t, vanState)
	s := configuring(t, b)
	s.do("exit", "> ")
	at := len("van-3> ")
	for _, line := range []string{
		"set", "set device hostname van-4", "delete flows stage", "edit flows stage", "compare", "check", "commit",
		"commit confirmed 5", "rollback 1", "rebase", "discard",
	} {
		word, _, _ := strings.Cut(line, " ")
		want := strings.Repeat(" ", at) + "^\n\"" + word + "\" belongs to configure: type configure first.\n"
		if got := s.answered(line, "> "); got != want {
			t.Errorf("%s: %q, want %q", line, got, want)
		}
	}
	s.do("configure", "# ") // where run has them not either
	if got := s.answered("run set", "# "); !strings.HasSuffix(got, "There is no set here: type ? to see what there is.\n") {
		t.Errorf("run set: %q", got)
	}
	s.do("exit", "> ")
	s.send("setu\r")
	s.expect("Name of this box")
	if len(b.asked) > 0 {
		t.Errorf("asked %v", b.asked)
	}
}

// A word that was pasted by mistake does not fill the screen once more.
func TestLongWordRefused(t *testing.T) {
	long := strings.Repeat("x", 41)
	for line, want := range map[string]string{
		long:                  "There is no " + long[:38] + ".. here: type ? to see what there is.",
		"show " + long:        "There is no " + long[:38] + ".. here: type ? to see what there is.",
		"show " + long[:40]:   "There is no " + long[:40] + " here: type ? to see what there is.",
		"test link \"" + long: "The quotation mark does not end.",
	} {
		s := shell(t, stageBox(t))
		if got := strings.Join(strings.Fields(s.answered(line, "> ")), " "); !strings.HasSuffix(got, "^ "+want) {
			t.Errorf("%s: %q, want %q", line, got, want)
		}
	}
}
