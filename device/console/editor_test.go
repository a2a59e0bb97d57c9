package console

import (
	"errors"
	"io"
	"strings"
	"testing"
	"time"
)

type sheet struct{ strings.Builder }

func (s *sheet) print(text string) { s.WriteString(text) }

// typed has an editor read lines of bytes, until they are used up.
func typed(plainly bool, bytes string, past *history, r reading) (lines []string, errs []error, shown string) {
	var f filter
	ahead := f.feed(nil, []byte(bytes), time.Now())
	next := func(func(string)) (key, error) {
		if len(ahead) == 0 {
			return 0, io.EOF
		}
		k := ahead[0]
		ahead = ahead[1:]
		return k, nil
	}
	var out sheet
	var e editor = &plain{&out, past}
	if !plainly {
		e = newVT(&out, past, 80, 24)
	}
	for {
		line, err := e.readLine(next, r)
		if errors.Is(err, io.EOF) {
			return lines, errs, out.String()
		}
		lines, errs = append(lines, line), append(errs, err)
	}
}

func TestEditing(t *testing.T) {
	long := strings.Repeat("x", maxLine)
	for name, c := range map[string]struct {
		bytes, want string // want: lines, apart by |
		err         error  // of the last one
		vtOnly      bool
	}{
		"plain":                      {bytes: "show flows\r", want: "show flows"},
		"backspace":                  {bytes: "shox\x7fw\x08w\r", want: "show"},
		"backspace at the beginning": {bytes: "\x7f\x7fa\r", want: "a"},
		"utf-8 backspace":            {bytes: "é무\x7f\r", want: "é"},
		"kill line":                  {bytes: "nonsense\x15show\r", want: "show"},
		"kill word":                  {bytes: "show the flows  \x17\x17flows\r", want: "show flows"},
		"kill word alone":            {bytes: "show\x17x\r", want: "x"},
		"home and end":               {bytes: "how\x01s\x05n\r", want: "shown", vtOnly: true},
		"kill the rest":              {bytes: "shown\x1b[D\x0b\r", want: "show", vtOnly: true},
		"delete":                     {bytes: "xshow\x01\x1b[3~\r", want: "show", vtOnly: true},
		"Ctrl-D deletes":             {bytes: "xshow\x01\x04\r", want: "show", vtOnly: true},
		"Ctrl-D at the end":          {bytes: "show\x04\r", want: "show"},
		"words":                      {bytes: "a b\x1bb\x1bbx\x1bf\x1bf!\r", want: "xa b!", vtOnly: true},
		"redraw":                     {bytes: "sh\x0cow\r", want: "show"},
		"interrupt":                  {bytes: "show\x03", want: "", err: errInterrupt},
		"after an interrupt":         {bytes: "show\x03flows\r", want: "|flows"},
		"interrupt in the middle":    {bytes: "show\x1b[D\x03a\r", want: "|a"},
		"end":                        {bytes: "\x04", want: "", err: errLogout},
		"after an end":               {bytes: "\x04a\r", want: "|a"},
		"noise":                      {bytes: "sh\xffow\r", want: "", err: errNoise},
		"noise first":                {bytes: "\xffshow\r", want: "", err: errNoise},
		"noise in utf-8":             {bytes: "sh\xe2\x82ow\r", want: "", err: errNoise},
		"after noise":                {bytes: "sh\xffow\rshow\r", want: "|show"},
		"noise taken away":           {bytes: "sh\xff\x15show\r", want: "show"},
		"noise and interrupt":        {bytes: "sh\xff\x03show\r", want: "|show"},
		"noise and Ctrl-D":           {bytes: "\xff\x04\r", want: "", err: errNoise},
		"longest":                    {bytes: long + "\r", want: long},
		"too long":                   {bytes: long + "y\r", want: "", err: errTooLong},
		"much too long":              {bytes: strings.Repeat(long, 20) + "\rshow\r", want: "|show"},
		"too long, taken away":       {bytes: long + "yy\x15show\r", want: "show"},
		"too long, interrupted":      {bytes: long + "yy\x03show\r", want: "|show"},
		"history":                    {bytes: "one\rtwo\r\x1b[A\x1b[A\r\x1b[A\x1b[A\x1b[B\r", want: "one|two|one|one"},
		"history of nothing":         {bytes: "\x1b[A\x1b[Bx\r", want: "x"},
		"no noise in history":        {bytes: "one\rtw\xffo\r\x1b[A\r", want: "one||one"},
		"question mark":              {bytes: "a?b\r", want: "a?b"},
		"tab":                        {bytes: "a\tb\r", want: "a b"},
		"paste":                      {bytes: "\x1b[200~a\tb?c\rd\x1b[201~e\r", want: "a b?c|de"},
		"escape":                     {bytes: "\x1b\x1b\x1b[Ashow\r", want: "show"},
	} {
		for _, plainly := range []bool{true, false} {
			if plainly && c.vtOnly {
				continue
			}
			lines, errs, shown := typed(plainly, c.bytes, &history{}, reading{prompt: "> ", remember: true})
			if got := strings.Join(lines, "|"); got != c.want {
				t.Errorf("%s, plain %v: lines %.100q, want %.100q", name, plainly, got, c.want)
				continue
			}
			if err := errs[len(errs)-1]; !errors.Is(err, c.err) {
				t.Errorf("%s, plain %v: %v, want %v", name, plainly, err, c.err)
			}
			if plainly && strings.Contains(shown, "\x1b") {
				t.Errorf("%s: the plain editor moves the cursor: %q", name, shown)
			}
		}
	}
}

// What is hidden is neither shown nor remembered.
func TestHidden(t *testing.T) {
	past := &history{}
	lines, _, shown := typed(true, " s3c?ret\x7f\x7fxy \r\x1b[A\r", past, reading{prompt: "password: ", hidden: true, remember: false})
	if strings.Join(lines, "|") != " s3c?rxy |" || shown != "password: \npassword: \npassword: " || past.Len() > 0 {
		t.Errorf("lines %q, shown %q, history %q", lines, shown, past.lines)
	}
}

func TestCompletionInTheEditors(t *testing.T) {
	complete := func(line string, pos int, k key) (string, int, string) {
		if k == '?' {
			return line, pos, "  flows\n"
		}
		return line[:pos] + "flows " + line[pos:], pos + len("flows "), ""
	}
	for _, plainly := range []bool{true, false} {
		lines, _, shown := typed(plainly, "show \tx\rshow ?y\r", &history{}, reading{prompt: "> ", complete: complete})
		if got := strings.Join(lines, "|"); got != "show flows x|show y" {
			t.Errorf("plain %v: lines %q", plainly, got)
		}
		if !strings.Contains(shown, "flows\r\n") && !strings.Contains(shown, "  flows\n") {
			t.Errorf("plain %v: shown %q", plainly, shown)
		}
	}
}
