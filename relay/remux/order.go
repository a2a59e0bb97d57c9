package remux

import "slices"

// maxReorder is the most pictures that H.264 and HEVC keep for reordering.
const maxReorder = 16

// An order makes the DTS of a video stream that has none, though its pictures
// are not in the order in which they are shown (2.4.3.7 asks for a DTS there).
// With n pictures to reorder, the DTS of a picture is the time of the one that
// is shown n pictures before the last of those that have come.
type order struct {
	depth  int
	window []int64 // times not yet given out, rising
	recent []int64 // times of the last pictures
	first  int64
	last   int64
}

// dts returns the DTS of the next picture. depth is what the stream says of its
// reordering, duration that of a picture.
func (o *order) dts(pts int64, depth int, duration int64) int64 {
	if n := len(o.recent); n > 0 {
		if step := pts - o.recent[n-1]; step > forward || step < -forward {
			*o = order{depth: o.depth}
		}
	}
	if len(o.recent) == 0 {
		o.first, o.last = pts, pts-int64(maxReorder+1)*duration
	}
	// What has come and is shown later: the stream may know less than it does.
	later := 0
	for _, t := range o.recent {
		if t > pts {
			later++
		}
	}
	o.depth = min(max(o.depth, depth, later), maxReorder)
	if len(o.recent) == maxReorder {
		o.recent = append(o.recent[:0], o.recent[1:]...)
	}
	o.recent = append(o.recent, pts)
	at, _ := slices.BinarySearch(o.window, pts)
	o.window = slices.Insert(o.window, at, pts)
	t := o.first - int64(o.depth+1-len(o.window))*duration
	if len(o.window) > o.depth {
		t = o.window[0]
		o.window = append(o.window[:0], o.window[1:]...)
	}
	o.last = min(max(t, o.last+1), pts)
	return o.last
}
