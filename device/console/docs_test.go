package console

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

// The screens in docs/console.md are the golden ones: a block that begins with
// a prompt has a command and what it shows, one that begins with Box is the
// status block. With -update they are written.
func TestDocumentedScreens(t *testing.T) {
	const page = "../../docs/console.md"
	raw, err := os.ReadFile(page)
	check(t, err)
	block := regexp.MustCompile("(?ms)^```\n(.*?)^```\n")
	screens := 0
	now := block.ReplaceAllStringFunc(string(raw), func(text string) string {
		text = strings.TrimSuffix(strings.TrimPrefix(text, "```\n"), "```\n")
		first, _, _ := strings.Cut(text, "\n")
		want := text
		switch command, ok := strings.CutPrefix(first, "van-3> "); {
		case ok:
			if want = read(t, fileName(command)); !strings.HasPrefix(want, first+"\n") { // not the text of a whole dialogue
				want = first + "\n" + want
			}
		case strings.HasPrefix(first, "Box "):
			want = strings.TrimPrefix(read(t, "banner"), "\n") + "\n"
		default:
			return "```\n" + text + "```\n"
		}
		screens++
		if text != want && !*update {
			t.Errorf("%s shows\n%sbut it is\n%s", page, text, want)
		}
		return "```\n" + want + "```\n"
	})
	if screens < 5 {
		t.Errorf("%d screens: are they still written so?", screens)
	}
	if *update && now != string(raw) {
		check(t, os.WriteFile(page, []byte(now), 0o644))
	}
}

func read(t *testing.T, name string) string {
	t.Helper()
	raw, err := os.ReadFile("testdata/" + name + ".golden")
	check(t, err)
	return string(raw)
}

// fileName is that of a command's golden screen.
func fileName(command string) string { return strings.NewReplacer(" ", "-", "/", "-").Replace(command) }
