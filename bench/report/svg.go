package report

import (
	"fmt"
	"html"
	"io"
	"slices"
	"strings"

	"sluice/bench/peers"
)

// The measures of the picture, in pixels.
const (
	width     = 900
	labelled  = 190 // room for the names
	barHeight = 13
	rowGap    = 34
	plotWidth = width - labelled - 90
)

// SVG draws the CPU for each delivered Gbit: a bar for each relay of each row,
// with a line from the lowest run to the highest.
func SVG(w io.Writer, f *File) {
	scale := 0.0
	var rows []Row
	for _, r := range f.Rows {
		measured := false
		for _, s := range r.Series {
			if c := s.Over(Run.PerGbit); len(c) > 0 {
				scale = max(scale, slices.Max(c))
				measured = true
			}
		}
		if measured {
			rows = append(rows, r)
		}
	}
	var b strings.Builder
	y := 46
	for _, r := range rows {
		y += rowGap
		fmt.Fprintf(&b, `<text x="10" y="%d" font-weight="bold">%s</text>`+"\n", y-8, html.EscapeString(r.Title))
		for _, s := range r.Series {
			c := s.Over(Run.PerGbit)
			fmt.Fprintf(&b, `<text x="%d" y="%d" text-anchor="end">%s</text>`+"\n", labelled-8, y+barHeight-3, html.EscapeString(s.Relay))
			if len(c) == 0 {
				fmt.Fprintf(&b, `<text x="%d" y="%d" fill="#777">%s</text>`+"\n", labelled, y+barHeight-3, html.EscapeString(why(s)))
			} else {
				bar(&b, y, c, scale, s.Relay == peers.Sluice)
			}
			y += barHeight + 3
		}
	}
	fmt.Fprintf(w, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" font-family="sans-serif" font-size="11" fill="#222">
<rect width="%d" height="%d" fill="#fff"/>
<text x="10" y="20" font-size="15">CPU of the relay, core-seconds for each delivered Gbit: less is better</text>
<text x="10" y="38" fill="#777">%s, %s</text>
%s</svg>
`, width, y+20, width, y+20, html.EscapeString(f.Machine), f.Date.Format("2006-01-02"), b.String())
}

func bar(b *strings.Builder, y int, c Figures, scale float64, ours bool) {
	x := func(v float64) float64 { return labelled + v/scale*plotWidth }
	color := "#b8c4ce"
	if ours {
		color = "#1f77b4"
	}
	m := c.Median()
	fmt.Fprintf(b, `<rect x="%d" y="%d" width="%.1f" height="%d" fill="%s"/>`+"\n", labelled, y, x(m)-labelled, barHeight, color)
	fmt.Fprintf(b, `<path d="M%.1f %d H%.1f" stroke="#000" stroke-width="1"/>`+"\n", x(slices.Min(c)), y+barHeight/2, x(slices.Max(c)))
	fmt.Fprintf(b, `<text x="%.1f" y="%d">%.2f</text>`+"\n", x(slices.Max(c))+5, y+barHeight-3, m)
}
