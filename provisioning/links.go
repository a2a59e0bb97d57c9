package provisioning

import (
	"math"
	"time"

	"sluice/provisioning/config"
	"sluice/relay/endpoint"
)

// links returns the SRT connections of an item, with figures no finer than
// they are true. Of none it is nil: the document leaves the field out.
func links(all []endpoint.Link) []config.LinkFigures {
	var figures []config.LinkFigures
	for _, l := range all {
		for _, ms := range []*float64{
			&l.MsRTT, &l.MsRTTVar, &l.MsSndBuf, &l.MsSndTsbPdDelay, &l.MsRcvBuf, &l.MsRcvTsbPdDelay, &l.MsDrift,
		} {
			*ms = rounded(*ms, 100)
		}
		for _, mbps := range []*float64{&l.MbpsSendRate, &l.MbpsRecvRate} {
			*mbps = rounded(*mbps, 1000) // to kb/s
		}
		figures = append(figures, config.LinkFigures{
			// A latency is configured in whole milliseconds, and the advice is the least.
			Link: l, AdvisedLatencyMs: int((l.Advice + time.Millisecond - 1) / time.Millisecond),
		})
	}
	return figures
}

// rounded keeps 1/parts of a unit. What is no number is 0: JSON has none, and
// one bad figure would take the whole document with it.
func rounded(f, parts float64) float64 {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return 0
	}
	return math.Round(f*parts) / parts
}
