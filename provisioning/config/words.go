package config

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// quote shows a string of the document in a sentence.
func quote(s string) string { return strconv.Quote(clip(s)) }

// clip keeps what a sentence shows of a document short.
func clip(s string) string {
	const most = 40
	if r := []rune(s); len(r) > most {
		return string(r[:most]) + "..."
	}
	return s
}

// join lists values: 16, 24 or 32.
func join(values []string, word string) string {
	n := len(values)
	if n < 2 {
		return strings.Join(values, "")
	}
	return strings.Join(values[:n-1], ", ") + " " + word + " " + values[n-1]
}

// count says how many there are: 1 item, 2 items.
func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// singular names one item of a list after the list.
func singular(name string) string {
	if s, ok := strings.CutSuffix(name, "sses"); ok {
		return s + "ss"
	}
	return strings.TrimSuffix(name, "s")
}

// nearest returns the name that was probably meant, or "".
func nearest(name string, known []string) string {
	if len(name) > 64 {
		return ""
	}
	best, least := "", 1+max(1, len(name)/3)
	for _, k := range known {
		if name != "" && strings.HasPrefix(k, name+"_") {
			return k // latency for latency_ms
		}
		if n := distance(strings.ToLower(name), k); n < least {
			best, least = k, n
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

// sortedKeys returns the keys of a map in order.
func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
