package remux

// A rateMeter measures how many frames there are in a second, from their DTS.
type rateMeter struct {
	begin  int64
	last   int64
	frames int64
	value  float64
}

func (m *rateMeter) add(dts int64) {
	if m.frames > 0 {
		if d := dts - m.last; d <= 0 || d > 5000*millisecond {
			m.frames = 0
		}
	}
	if m.frames == 0 {
		m.begin = dts
	}
	m.last = dts
	m.frames++
	if span := dts - m.begin; span >= 1000*millisecond {
		m.value = common(float64(m.frames-1) * 90000 / float64(span))
		m.begin, m.frames = dts, 1
	}
}

func (m *rateMeter) rate() float64 { return m.value }

// common returns the usual frame rate that is as good as equal to v.
func common(v float64) float64 {
	for _, base := range []float64{24, 25, 30, 48, 50, 60, 100, 120} {
		for _, rate := range []float64{base, base * 1000 / 1001} {
			if d := v/rate - 1; d > -0.0004 && d < 0.0004 {
				return rate
			}
		}
	}
	return v
}
