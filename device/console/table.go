package console

import "strings"

// A table is lines of cells in columns. The last column is for sentences:
// where one does not fit beside the others, it stands below them. The first is
// for names: where one is too long, it stands above.
type table struct {
	head []string
	rows [][]string
}

func (t *table) add(cells ...string) { t.rows = append(t.rows, cells) }

const gap = "  "

// lines returns the table in so many columns. Cells are cleaned.
func (t *table) lines(width int) string {
	all := append([][]string{t.head}, t.rows...)
	last := len(t.head) - 1
	widths := make([]int, last)
	for _, row := range all {
		for i, cell := range row[:last] {
			widths[i] = max(widths[i], columns(clean(cell)))
		}
	}
	room := width - columns(t.head[last])
	for _, w := range widths[min(1, last):] {
		room -= w + len(gap)
	}
	if last > 0 {
		widths[0] = min(widths[0], max(room-len(gap), 0))
	}
	var b strings.Builder
	for _, row := range all {
		line := ""
		for i, cell := range row[:last] {
			cell = clean(cell)
			if columns(cell) > widths[i] { // of the first column
				b.WriteString(strings.Join(wrap(cell, width), "\n") + "\n")
				cell = ""
			}
			line += pad(cell, widths[i]) + gap
		}
		sentence := clean(row[last])
		if columns(line+sentence) <= width {
			b.WriteString(strings.TrimRight(line+sentence, " ") + "\n")
			continue
		}
		b.WriteString(cut(strings.TrimRight(line, " "), width) + "\n")
		for _, part := range wrap(sentence, width-2*len(gap)) {
			b.WriteString(gap + gap + part + "\n")
		}
	}
	return b.String()
}

// paragraph writes a sentence beside its label, on as many lines as it takes.
func paragraph(label, text string, width int) string {
	var b strings.Builder
	parts := wrap(clean(text), width-columns(label))
	if len(parts) == 0 {
		parts = []string{"-"}
	}
	for _, part := range parts {
		b.WriteString(label + part + "\n")
		label = strings.Repeat(" ", columns(label))
	}
	return b.String()
}

// labelled writes what is known, side by side.
func labelled(label string, width int, parts ...string) string {
	var known []string
	for _, p := range parts {
		if p != "" {
			known = append(known, p)
		}
	}
	return paragraph(pad(label, 11), strings.Join(known, ", "), width)
}
