package endpoint

import "time"

// A Link is one SRT connection in figures. They are named as in libsrt's
// documentation of statistics (docs/API/statistics.md); counters run from the
// start of the connection. Rates are over the last second, and megabits are of
// whole SRT packets with their IPv4 and UDP headers, as libsrt counts them.
type Link struct {
	Session string `json:"session,omitempty"` // of a listening endpoint
	Peer    string `json:"peer"`              // address and port

	MsRTT    float64 `json:"msRTT"`    // smoothed round-trip time
	MsRTTVar float64 `json:"msRTTVar"` // its mean deviation

	PktSent         uint64  `json:"pktSent"`         // data packets, retransmitted ones included
	PktSndLoss      uint64  `json:"pktSndLoss"`      // reported lost by the peer
	PktRetrans      uint64  `json:"pktRetrans"`      // sent again
	PktSndDrop      uint64  `json:"pktSndDrop"`      // given up as too late to send
	PktFlightSize   uint64  `json:"pktFlightSize"`   // sent and not acknowledged
	PktFlowWindow   uint64  `json:"pktFlowWindow"`   // that the peer has room for
	MbpsSendRate    float64 `json:"mbpsSendRate"`    //
	MsSndBuf        float64 `json:"msSndBuf"`        // time span of what is not acknowledged
	MsSndTsbPdDelay float64 `json:"msSndTsbPdDelay"` // negotiated latency of the peer, for what is sent

	PktRecv             uint64  `json:"pktRecv"`             // data packets, retransmitted ones included
	PktRcvLoss          uint64  `json:"pktRcvLoss"`          // found missing when a later one came
	PktRcvRetrans       uint64  `json:"pktRcvRetrans"`       // came marked as sent again
	PktRcvDrop          uint64  `json:"pktRcvDrop"`          // skipped: they did not come in time
	PktRcvBelated       uint64  `json:"pktRcvBelated"`       // came too late to be used, or twice
	PktRcvUndecrypt     uint64  `json:"pktRcvUndecrypt"`     // could not be decrypted, or were not encrypted and should be
	PktReorderTolerance uint64  `json:"pktReorderTolerance"` // how far packets may overtake each other before a loss is reported
	MbpsRecvRate        float64 `json:"mbpsRecvRate"`        //
	MsRcvBuf            float64 `json:"msRcvBuf"`            // time span of what waits for its time
	MsRcvTsbPdDelay     float64 `json:"msRcvTsbPdDelay"`     // negotiated latency of this end, for what is received
	MsDrift             float64 `json:"msDrift"`             // how far the peer's clock has moved against ours

	// Advice is the least latency that suits this path: enough for a lost
	// packet to be asked for and sent again as often as its losses want. 0
	// until the path is known.
	Advice time.Duration `json:"-"`
}
