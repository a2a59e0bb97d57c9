package provisioning

import (
	"context"
	"errors"
	"fmt"

	"sluice/provisioning/config"
	"sluice/relay"
	"sluice/relay/media"
)

const (
	maxInspections = 4   // at a time: each reads the whole stream of a flow
	maxInspected   = 256 // streams that are told of, and those of the programme that is taken
)

var errBusy = errors.New("other inputs are being looked at: try again in a few seconds")

// inspect looks at what the input in use of a flow brings, which takes some
// seconds. The error is relay.ErrNotFound, errBusy, or that of ctx.
func (a *Agent) inspect(ctx context.Context, flow string) (*config.Inspection, error) {
	select {
	case a.looks <- struct{}{}:
	default:
		return nil, errBusy
	}
	defer func() { <-a.looks }()
	v, err := a.o.Engine.Inspect(ctx, flow)
	if err != nil {
		return nil, err
	}
	return inspection(v), nil
}

// inspection is the document of what was seen.
func inspection(v relay.Inspection) *config.Inspection {
	d := &config.Inspection{
		Timestamp: now(), Flow: v.Flow, Input: v.Input, Protocol: v.Protocol, State: v.State, Reason: v.Reason,
		Carriage: carriage(v.Carriage), Conversion: carriage(v.Conversion),
		BitrateBps: v.BitrateBps, MeasuredS: rounded(v.Span.Seconds(), 1000), Note: v.Note, Programs: []config.InspectedProgram{},
	}
	room, left := maxInspected, 0
	for _, p := range v.Programs {
		q := config.InspectedProgram{Number: p.Number, PMTPID: p.PMT, Taken: p.Chosen, Streams: []config.InspectedStream{}}
		for _, s := range p.Streams {
			if room == 0 && !p.Chosen {
				left++
				continue
			}
			room = max(room-1, 0)
			q.Streams = append(q.Streams, config.InspectedStream{
				PID: s.PID, StreamType: s.Type, Type: kind(s.Track), Codec: s.CodecName(),
				Width: s.Width, Height: s.Height, FrameRate: rounded(s.FrameRate, 1000), SampleRate: s.SampleRate, Channels: s.Channels,
				BitrateBps: s.BitrateBps, Carried: s.Carried, LeftOut: s.Reason,
			})
		}
		d.Programs = append(d.Programs, q)
	}
	if left > 0 && d.Note == "" {
		d.Note = fmt.Sprintf("%d more streams are not shown", left)
	}
	return d
}

func carriage(k media.Kind) string {
	switch k {
	case media.TS:
		return config.CarriageTS
	case media.FLV:
		return config.CarriageRTMP
	case media.Datagram:
		return config.CarriageDatagrams
	}
	return ""
}

func kind(track int) string {
	switch track {
	case media.Video:
		return config.StreamVideo
	case media.Audio:
		return config.StreamAudio
	}
	return config.StreamData
}
