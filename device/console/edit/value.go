package edit

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// read makes a value of one word, or says in a sentence that names the field
// what to use instead.
func read(n *node, name, word string) (any, error) {
	if len(n.Enum) > 0 {
		return choice(n, name, word)
	}
	switch n.Type {
	case "boolean":
		return boolean(name, word)
	case "integer":
		i, err := strconv.ParseInt(word, 10, 64)
		if err != nil {
			if bounds := span(n.Minimum, n.Maximum); bounds != "" {
				return nil, fmt.Errorf("%s is %s: use a whole number, %s", name, quote(word), bounds)
			}
			return nil, fmt.Errorf("%s is %s: use a whole number", name, quote(word))
		}
		if !holds(n.Minimum, n.Maximum, i) {
			return nil, fmt.Errorf("%s is %d: use %s", name, i, span(n.Minimum, n.Maximum))
		}
		return json.Number(strconv.FormatInt(i, 10)), nil
	case "string":
		if err := text(n, name, word, quote(word)); err != nil {
			return nil, err
		}
		return word, nil
	}
	return nil, fmt.Errorf("%s cannot be set at the console", name)
}

func choice(n *node, name, word string) (any, error) {
	values := texts(n.Enum)
	found, _ := choose(word, values)
	if found == "" {
		var lower []string
		for _, v := range values {
			lower = append(lower, strings.ToLower(v))
		}
		if l, _ := choose(strings.ToLower(word), lower); l != "" {
			found = values[slices.Index(lower, l)]
		}
	}
	if found == "" {
		return nil, fmt.Errorf("%s is %s: use %s", name, quote(word), join(values, "or"))
	}
	if n.Type == "integer" {
		return json.Number(found), nil
	}
	return found, nil
}

func boolean(name, word string) (any, error) {
	switch strings.ToLower(word) {
	case "true", "yes", "on":
		return true, nil
	case "false", "no", "off":
		return false, nil
	}
	return nil, fmt.Errorf("%s is %s: use true or false", name, quote(word))
}

// text checks a string; seen is how it is shown in a sentence.
func text(n *node, name, word, seen string) error {
	if len(word) > maxWord || !utf8.ValidString(word) {
		return fmt.Errorf("%s is not a text that can be read", name)
	}
	if length := int64(utf8.RuneCountInString(word)); !holds(n.MinLength, n.MaxLength, length) {
		return fmt.Errorf("%s has %d characters: use %s", name, length, span(n.MinLength, n.MaxLength))
	}
	if n.pattern != nil && !n.pattern.MatchString(word) {
		form := n.Form
		if form == "" {
			form = "the form " + n.Pattern
		}
		return fmt.Errorf("%s is %s: use %s", name, seen, form)
	}
	if form := address(n.Format, word); form != "" {
		return fmt.Errorf("%s is %s: use %s", name, seen, form)
	}
	return nil
}

// address says what a word should be that has not the format it needs.
func address(format, word string) string {
	_, notAddr := netip.ParseAddr(word)
	_, notPrefix := netip.ParsePrefix(word)
	switch {
	case format == "ip-address" && notAddr != nil:
		return "an IP address"
	case format == "ip-prefix" && notPrefix != nil:
		return "an IP address with its prefix length, such as 192.0.2.9/24"
	case format == "ip-network" && notAddr != nil && notPrefix != nil:
		return "a CIDR prefix such as 203.0.113.0/28"
	}
	return ""
}

func holds(lo, hi *int64, n int64) bool {
	return (lo == nil || *lo <= n) && (hi == nil || n <= *hi)
}

// secretText returns the form of a secret that is a string.
func secretText(n *node) *node {
	for _, one := range n.OneOf {
		if one.Type == "string" {
			return one
		}
	}
	return &node{Type: "string"}
}
