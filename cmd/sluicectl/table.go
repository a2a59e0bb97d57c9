package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"unicode"
	"unicode/utf8"
)

// A table is lines of cells in columns. The last column is for sentences:
// where one does not fit beside the others, it stands below them. The first
// is for names: where one is too long, it stands above.
type table struct {
	head []string
	rows [][]string
}

func (t *table) add(cells ...string) { t.rows = append(t.rows, cells) }

const gap = "  "

func (t *table) print(w io.Writer, width int) {
	all := append([][]string{t.head}, t.rows...)
	last := len(t.head) - 1
	columns := make([]int, last)
	for _, row := range all {
		for i, cell := range row[:last] {
			columns[i] = max(columns[i], utf8.RuneCountInString(clean(cell)))
		}
	}
	if width > 0 {
		room := width - utf8.RuneCountInString(t.head[last])
		for _, w := range columns[1:] {
			room -= w + len(gap)
		}
		columns[0] = min(columns[0], max(room-len(gap), 0))
	}
	for _, row := range all {
		var line strings.Builder
		for i, cell := range row[:last] {
			cell = clean(cell)
			if utf8.RuneCountInString(cell) > columns[i] { // of the first column
				fmt.Fprintln(w, strings.Join(wrap(cell, width), "\n"))
				cell = ""
			}
			line.WriteString(cell + strings.Repeat(" ", columns[i]-utf8.RuneCountInString(cell)) + gap)
		}
		sentence := clean(row[last])
		if whole := line.String() + sentence; width <= 0 || utf8.RuneCountInString(whole) <= width {
			fmt.Fprintln(w, strings.TrimRight(whole, " "))
			continue
		}
		fmt.Fprintln(w, cut(strings.TrimRight(line.String(), " "), width))
		for _, part := range wrap(sentence, width-2*len(gap)) {
			fmt.Fprintln(w, gap+gap+part)
		}
	}
}

// wrap breaks a sentence into lines of at most width columns, between words
// where it can.
func wrap(sentence string, width int) (lines []string) {
	width = max(width, 10)
	line := ""
	for word := range strings.FieldsSeq(sentence) {
		for utf8.RuneCountInString(word) > width {
			runes := []rune(word)
			if line != "" {
				lines = append(lines, line)
				line = ""
			}
			lines = append(lines, string(runes[:width]))
			word = string(runes[width:])
		}
		switch {
		case line == "":
			line = word
		case utf8.RuneCountInString(line)+1+utf8.RuneCountInString(word) <= width:
			line += " " + word
		default:
			lines = append(lines, line)
			line = word
		}
	}
	if line != "" {
		lines = append(lines, line)
	}
	return lines
}

// cut shortens a line to width columns; 0 leaves it.
func cut(line string, width int) string {
	if width <= 0 || utf8.RuneCountInString(line) <= width {
		return line
	}
	runes := []rune(line)
	return strings.TrimRight(string(runes[:width-1]), " ") + "…"
}

// clean makes text of a document safe for a terminal: what others wrote may
// not move the cursor.
func clean(s string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return '·'
		}
		return r
	}, s)
}

// printJSON prints v for programs, and for people who read JSON.
func (c *command) printJSON(v any) error {
	body, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(c.out, "%s\n", body)
	return err
}
