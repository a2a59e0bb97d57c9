package edit

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode"
)

// An Error says what is wrong with one of the words of a line.
type Error struct {
	Word    int // its index; the number of words where one is missing at the end
	Message string
}

func (e *Error) Error() string { return e.Message }

// Quote writes a word as it is typed: in quotes where it has spaces, quotes or
// a question mark.
func Quote(word string) string {
	word = clean(word)
	if word != "" && !strings.ContainsAny(word, ` "\?`) {
		return word
	}
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(word) + `"`
}

// quote shows a word in a sentence, cut short.
func quote(word string) string {
	const most = 40
	if r := []rune(word); len(r) > most {
		word = string(r[:most]) + "..."
	}
	return strconv.QuoteToGraphic(word)
}

// clean makes text safe to show on a terminal: whatever steers one is written
// as its escape.
func clean(s string) string {
	if strings.IndexFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }) < 0 {
		return s
	}
	q := strconv.QuoteToGraphic(s)
	return strings.ReplaceAll(q[1:len(q)-1], `\"`, `"`)
}

// plain returns a scalar as the word that sets it, "" for anything else.
func plain(v any) string {
	switch v := v.(type) {
	case string:
		return v
	case json.Number:
		return v.String()
	case bool:
		return strconv.FormatBool(v)
	}
	return ""
}

// shown returns a scalar for the eye.
func shown(v any) string {
	switch v := v.(type) {
	case nil:
		return "not set"
	case string:
		if v == "" {
			return `""`
		}
		return clean(v)
	case json.Number, bool:
		return plain(v)
	}
	return "(not shown)"
}

// join lists values: 16, 24 or 32.
func join(values []string, word string) string {
	n := len(values)
	if n < 2 {
		return strings.Join(values, "")
	}
	return strings.Join(values[:n-1], ", ") + " " + word + " " + values[n-1]
}

// choose finds a word among names: itself, or the only one that begins with
// it. several is what it could be.
func choose(word string, names []string) (name string, several []string) {
	if slices.Contains(names, word) {
		return word, nil
	}
	for _, n := range names {
		if word != "" && strings.HasPrefix(n, word) {
			several = append(several, n)
		}
	}
	if len(several) == 1 {
		return several[0], nil
	}
	return "", several
}

// unknown says that a word is none of the names, and what to use.
func unknown(what, word string, names, several []string) string {
	switch {
	case len(several) > 1:
		return fmt.Sprintf("%s is short for %s: type more of it", quote(word), join(several, "and"))
	case len(names) == 0:
		return fmt.Sprintf("there is no %s %s", what, quote(word))
	}
	if near := nearest(word, names); near != "" {
		return fmt.Sprintf("there is no %s %s: did you mean %s?", what, quote(word), near)
	}
	const most = 8
	if len(names) > most {
		names = append(slices.Clone(names[:most]), "...")
		return fmt.Sprintf("there is no %s %s: use one of %s", what, quote(word), strings.Join(names, ", "))
	}
	return fmt.Sprintf("there is no %s %s: use %s", what, quote(word), join(names, "or"))
}

// nearest returns the name that was probably meant, or "".
func nearest(word string, names []string) string {
	if len(word) > 64 {
		return ""
	}
	best, least := "", 1+max(1, len(word)/3)
	for _, n := range names {
		if d := distance(strings.ToLower(word), n); d < least {
			best, least = n, d
		}
	}
	return best
}

// distance is how many bytes have to be put in, taken out or changed to make
// b of a (Levenshtein).
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}

// singular names one item of a list after the list.
func singular(name string) string {
	if s, ok := strings.CutSuffix(name, "sses"); ok {
		return s + "ss"
	}
	return strings.TrimSuffix(name, "s")
}
