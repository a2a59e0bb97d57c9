package rtp

import (
	"errors"

	"github.com/pion/rtp"
)

var (
	errNotRTP = errors.New("not RTP version 2")
	errRTCP   = errors.New("RTCP on the RTP port")
)

// parse splits a datagram into its RTP header, CSRCs and extension included,
// and its payload without the padding (RFC 3550 section 5.1). h keeps memory
// from one call to the next.
func parse(h *rtp.Header, b []byte) (header, payload []byte, err error) {
	if len(b) < 12 || b[0]>>6 != 2 {
		return nil, nil, errNotRTP
	}
	if b[1] >= 192 && b[1] <= 223 { // RFC 5761 section 4
		return nil, nil, errRTCP
	}
	n, err := h.Unmarshal(b)
	if err != nil || n > len(b) {
		return nil, nil, errNotRTP
	}
	end := len(b)
	if h.Padding {
		padding := int(b[end-1])
		if padding == 0 || padding > end-n {
			return nil, nil, errNotRTP
		}
		end -= padding
	}
	return b[:n], b[n:end], nil
}

// payloadMPEGTS is the payload type of MPEG-TS (RFC 3551 table 5).
const payloadMPEGTS = 33

// clockRate is of the RTP timestamps of MPEG-TS (RFC 2250 section 2).
const clockRate = 90_000
