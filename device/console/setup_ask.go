package console

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// A question is one of a setup.
type question struct {
	name   string                       // of its answer
	text   func() string                // what is asked, without ": "
	more   string                       // what ? says
	before func(context.Context) string // shown above
	needed func() bool                  // nil: always

	proposed func() string // nil: nothing
	choices  []string      // for Tab, and as words that are taken shortened
	check    func(answer string) (string, error)

	secret   bool
	kept     func() bool // of a secret: one is set, and Enter keeps it
	optional bool        // of a secret: Enter is none
}

// errBack is the answer <.
var errBack = errors.New("back to the question before")

// all asks every question that is needed. again is true where an answer wants
// them all once more.
func (w *wizard) all(ctx context.Context, questions []*question) (again bool, err error) {
	var asked []int
	for i := 0; i < len(questions); i++ {
		q := questions[i]
		if q.needed != nil && !q.needed() {
			continue
		}
		err := w.one(ctx, q)
		switch {
		case errors.Is(err, errBack) && len(asked) == 0:
			w.print("This is the first question.\n")
			i--
		case errors.Is(err, errBack):
			i = asked[len(asked)-1] - 1
			asked = asked[:len(asked)-1]
		case err != nil:
			return false, err
		default:
			asked = append(asked, i)
		}
	}
	return false, nil
}

// one asks a question until it has an answer.
func (w *wizard) one(ctx context.Context, q *question) error {
	if q.before != nil && !w.script {
		if err := w.page(ctx, q.before(ctx)); err != nil {
			return err
		}
	}
	for {
		answer, err := w.answer(ctx, q)
		if errors.Is(err, errHelped) {
			continue
		}
		if err != nil {
			return err
		}
		switch answer {
		case "<":
			return errBack
		case "?":
			w.print(w.explained(q))
			continue
		}
		if q.secret {
			err = w.keepSecret(ctx, q, answer)
		} else {
			err = w.take(q, answer)
		}
		switch {
		case err == nil:
			return nil
		case isFatal(err), errors.Is(err, errInterrupt), ctx.Err() != nil:
			return err
		}
		w.print(fold(cleanLines(sentence(err.Error()))+"\n", w.width))
	}
}

// errHelped is the answer ? with Enter after it, which is no yes to what is
// proposed.
var errHelped = errors.New("help was asked for")

// answer reads one: what was given before, or is proposed, is in brackets.
func (w *wizard) answer(ctx context.Context, q *question) (string, error) {
	if q.secret {
		return w.secret(ctx, q.text()+w.secretHint(q))
	}
	proposed := w.answers[q.name]
	if proposed != "" && q.check != nil {
		if _, err := q.check(proposed); err != nil { // an answer before it is another one now
			proposed = ""
		}
	}
	if proposed == "" && q.proposed != nil {
		proposed = q.proposed()
	}
	prompt := q.text() + ": "
	if proposed != "" {
		prompt = q.text() + " [" + proposed + "]: "
	}
	r := reading{prompt: clean(prompt)}
	helped := false
	if !w.script {
		r.complete = func(line string, pos int, k key) (string, int, string) {
			if k == '?' && line == "" {
				helped = true
			}
			return w.complete(q, line, pos, k)
		}
	}
	answer, err := w.question(ctx, r)
	if answer = strings.TrimSpace(answer); answer == "" && helped && err == nil {
		return "", errHelped
	}
	if answer == "" {
		answer = proposed
	}
	return answer, err
}

func (w *wizard) secretHint(q *question) string {
	switch {
	case w.secrets[q.name] != "":
		return " (Enter takes the one just given)"
	case q.kept != nil && q.kept():
		return " (Enter keeps the one that is set)"
	case q.optional:
		return " (Enter for none)"
	}
	return ""
}

// complete answers Tab and ? within a question.
func (w *wizard) complete(q *question, line string, pos int, k key) (newLine string, newPos int, told string) {
	switch {
	case k == '?' && line != "": // it belongs to what is typed: a URL
		return line[:pos] + "?" + line[pos:], pos + 1, ""
	case k == '?':
		return line, pos, w.explained(q)
	}
	var found []choice
	for _, c := range q.choices {
		if strings.HasPrefix(strings.ToLower(c), strings.ToLower(line)) {
			found = append(found, choice{text: c})
		}
	}
	switch len(found) {
	case 0:
		return line, pos, ""
	case 1:
		return found[0].text, len(found[0].text), ""
	}
	return line, pos, list(found)
}

func (w *wizard) explained(q *question) string {
	text := q.more
	if len(q.choices) > 0 {
		text += " One of: " + strings.Join(q.choices, ", ") + "."
	}
	return strings.Join(wrap(text, w.width), "\n") + "\n"
}

// take checks an answer together with those before it.
func (w *wizard) take(q *question, answer string) error {
	if answer == "" {
		return errors.New("this needs an answer: ? says more")
	}
	if len(q.choices) > 0 && q.check == nil {
		i := slices.IndexFunc(q.choices, func(c string) bool { return strings.EqualFold(c, answer) })
		if i < 0 {
			var several []int
			for j, c := range q.choices {
				if strings.HasPrefix(strings.ToLower(c), strings.ToLower(answer)) {
					several = append(several, j)
				}
			}
			if len(several) != 1 {
				return fmt.Errorf("it is %s, not %q", orWords(q.choices), brief(answer))
			}
			i = several[0]
		}
		answer = q.choices[i]
	}
	if q.check != nil {
		var err error
		if answer, err = q.check(answer); err != nil {
			return err
		}
	}
	before, had := w.answers[q.name]
	w.answers[q.name] = answer
	if _, err := w.built(); err != nil {
		if delete(w.answers, q.name); had {
			w.answers[q.name] = before
		}
		return err
	}
	return nil
}

// orWords lists words: yes or no.
func orWords(words []string) string {
	if len(words) < 2 {
		return strings.Join(words, "")
	}
	return strings.Join(words[:len(words)-1], ", ") + " or " + words[len(words)-1]
}

// keepSecret takes a secret, typed twice.
func (w *wizard) keepSecret(ctx context.Context, q *question, value string) error {
	if value == "" {
		if w.secrets[q.name] != "" || q.optional || q.kept != nil && q.kept() {
			return nil
		}
		return errors.New("this needs an answer: ? says more")
	}
	if !w.script {
		again, err := w.secret(ctx, "The same again")
		switch {
		case err != nil:
			return err
		case again != value:
			return errors.New("the two differ: once more")
		}
	}
	before, had := w.secrets[q.name]
	w.secrets[q.name] = value
	if _, err := w.built(); err != nil {
		if delete(w.secrets, q.name); had {
			w.secrets[q.name] = before
		}
		return err
	}
	return nil
}
