package main

import (
	"os/exec"
	"strings"
	"testing"
)

// What is printed of tests that pass, fail, are skipped, panic, and of packages
// that do not build.
func TestReport(t *testing.T) {
	t.Parallel()
	lines := func(s ...string) string { return strings.Join(s, "\n") + "\n" }
	output := func(test, text string) string {
		text = strings.ReplaceAll(text, "\t", `\t`)
		return `{"Action":"output","Package":"p","Test":"` + test + `","Output":"` + text + `\n"}`
	}
	end := func(action, test string) string {
		return `{"Action":"` + action + `","Package":"p","Test":"` + test + `","Elapsed":1.5}`
	}
	for _, c := range []struct{ name, in, want string }{
		{"passed", lines(output("A", "=== RUN A"), output("A", "    a_test.go:3: quiet"), output("A", "--- PASS: A"), end("pass", "A"),
			output("", "PASS"), output("", "ok  \tp\t1.5s"), end("pass", "")), "ok  \tp\t1.5s\n"},
		{"passed, and nothing says so", lines(output("", "PASS"), end("pass", "")), "ok  \tp\t1.5s\n"},
		{
			"skipped", lines(output("A", "    a_test.go:3: begins"), output("A", "    a_test.go:4: no such call: \\\"x\\\""), end("skip", "A"),
				end("run", "B/c"), output("B/c", "        b_test.go:1: no such call: \\\"x\\\""), end("skip", "B/c"), end("pass", "B"), end("skip", "C"), end("pass", "")),
			"ok  \tp\t1.5s\nskipped in p: A, B/c: no such call: \"x\"\nskipped in p: C: it does not say why\n",
		},
		{
			"failed", lines(output("A", "=== RUN A"), output("A/good", "    a_test.go:3: quiet"), end("pass", "A/good"), output("A/bad", "    a_test.go:4: bad"),
				output("A/bad", "    --- FAIL: A/bad"), end("fail", "A/bad"), output("A", "--- FAIL: A"), end("fail", "A"), output("", "FAIL"), end("fail", "")),
			"    a_test.go:4: bad\n    --- FAIL: A/bad\n--- FAIL: A\nFAIL\n",
		},
		{"panicked", lines(output("A", "panic: out of order"), output("", "FAIL\tp\t1s"), end("fail", "")), "FAIL\tp\t1s\npanic: out of order\n"},
		{"not built", lines(`{"ImportPath":"p","Action":"build-output","Output":"# p\n"}`, "go: no such thing"), "# p\ngo: no such thing\n"},
		{"cut off", output("", "half"), "half\n"},
	} {
		var out strings.Builder
		if err := report(strings.NewReader(c.in), &out); err != nil || out.String() != c.want {
			t.Errorf("%s: %v\n%s--- want\n%s", c.name, err, &out, c.want)
		}
	}
}

// What go test prints today is understood: this very test, as it is listed.
func TestOfGo(t *testing.T) {
	t.Parallel()
	said, err := exec.Command("go", "test", "-json", "-run", "^TestReport$", ".").Output()
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	if err := report(strings.NewReader(string(said)), &out); err != nil || !strings.HasPrefix(out.String(), "ok  \tsluice/test/report\t") {
		t.Errorf("%v: of\n%s--- it makes\n%s", err, said, &out)
	}
}
