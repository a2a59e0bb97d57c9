package peers

import (
	"context"
	"net"
	"net/netip"
	"time"

	"github.com/datarhei/gosrt/packet"

	"sluice/bench/load"
	"sluice/bench/wire"
)

// collect is how long the floor collects packets before it sends them.
const collect = 10 * time.Millisecond

// inputBatches bounds what is read of the input at a time, in batches.
const inputBatches = 16

// A floor is the least that a relay can do on this machine: one loop, payloads
// shared by all outputs, many datagrams for each system call. Its SRT
// acknowledges and answers acknowledgements, and never sends again.
type floor struct {
	job     Job
	offload bool
	in, out *net.UDPConn
	source  *wire.Session
	next    uint32 // of the source
	acks    uint32
	acked   time.Time
	outputs []*floorOutput
	byID    map[uint32]*floorOutput
	reader  [inputBatches]*wire.Reader
	control *wire.Reader
	writer  wire.Writer
}

// A floorOutput is one receiver.
type floorOutput struct {
	to      wire.Address
	session *wire.Session // of SRT
	answer  []byte        // to the conclusion of a viewer
	next    uint32
	sent    uint32
	headers []byte // of one round
	cipher  []byte // payloads of one round, encrypted for this output
}

func runFloor(ctx context.Context, j Job, offload bool) error {
	f := &floor{job: j, offload: offload, byID: map[uint32]*floorOutput{}, control: wire.NewReader(320)}
	for i := range f.reader {
		f.reader[i] = wire.NewReader(1500)
	}
	var err error
	if f.in, err = wire.Listen(j.InPorts[0]); err != nil {
		return err
	}
	defer f.in.Close()
	if f.out, err = wire.Listen(j.Listen); err != nil {
		return err
	}
	defer f.out.Close()
	for _, port := range j.OutPorts {
		to := netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), uint16(port))
		o := &floorOutput{to: wire.AddressOf(to)}
		if j.Out == load.SRT {
			session, err := wire.Dial(ctx, f.out, to, j.Terms())
			if err != nil {
				return err
			}
			f.join(session, o)
		}
		f.outputs = append(f.outputs, o)
	}
	ticks := time.NewTicker(collect)
	defer ticks.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticks.C:
		}
		f.round()
	}
}

func (f *floor) join(s *wire.Session, o *floorOutput) {
	o.session, o.next = s, s.Initial
	f.byID[s.ID] = o
}

// round moves everything that waits.
func (f *floor) round() {
	in, out := wire.Descriptor(f.in), wire.Descriptor(f.out)
	if f.job.Out == load.SRT {
		f.hear(out)
	}
	var payloads [][]byte
	for _, r := range f.reader {
		n := r.Read(in)
		for i := range n {
			if p := f.receive(r.Datagram(i)); p != nil {
				payloads = append(payloads, p)
			}
		}
		if n < wire.Batch {
			break
		}
	}
	if len(payloads) > 0 {
		for _, o := range f.outputs {
			f.send(o, payloads)
		}
		f.writer.Flush(out)
	}
	if now := time.Now(); f.source != nil && f.next != 0 && now.Sub(f.acked) >= collect {
		f.acks++
		f.acked = now
		_, _ = f.in.WriteToUDPAddrPort(f.source.ACK(f.acks, f.next), wire.AddrPort(&f.source.To))
	}
}

// receive returns what of a datagram goes to the outputs.
func (f *floor) receive(d wire.Datagram) []byte {
	switch {
	case f.job.In != load.SRT:
		return d.Data
	case wire.IsControl(d.Data):
		if reply, session, err := wire.Answer(d.Data, d.From, f.job.Terms()); err == nil && reply != nil && f.source == nil {
			f.source = session
			_, _ = f.in.WriteToUDPAddrPort(reply, wire.AddrPort(d.From))
		}
		return nil
	case f.source == nil || len(d.Data) <= wire.HeaderSize:
		return nil
	}
	sequence := wire.Sequence(d.Data)
	f.next = (sequence + 1) & wire.MaxSequence
	payload := d.Data[wire.HeaderSize:]
	if f.source.Key != nil && wire.Encrypted(d.Data) {
		f.source.Key.Crypt(payload, payload, sequence)
	}
	return payload
}

// hear takes what SRT receivers say.
func (f *floor) hear(out int) {
	for n := wire.Batch; n == wire.Batch; {
		n = f.control.Read(out)
		for i := range n {
			d := f.control.Datagram(i)
			if !wire.IsControl(d.Data) {
				continue
			}
			if wire.Destination(d.Data) == 0 {
				f.admit(d)
				continue
			}
			o := f.byID[wire.Destination(d.Data)]
			if o == nil || wire.Control(d.Data) != packet.CTRLTYPE_ACK {
				continue
			}
			if reply := o.session.ACKACK(d.Data); reply != nil {
				f.writer.Add(&o.to, 0, reply)
			}
		}
	}
	f.writer.Flush(out)
}

// admit shakes hands with a viewer.
func (f *floor) admit(d wire.Datagram) {
	for _, o := range f.outputs {
		if o.to == *d.From {
			_, _ = f.out.WriteToUDPAddrPort(o.answer, wire.AddrPort(d.From))
			return
		}
	}
	reply, session, err := wire.Answer(d.Data, d.From, f.job.Terms())
	if err != nil || reply == nil {
		return
	}
	_, _ = f.out.WriteToUDPAddrPort(reply, wire.AddrPort(d.From))
	if session != nil {
		o := &floorOutput{to: *d.From, answer: reply}
		f.join(session, o)
		f.outputs = append(f.outputs, o)
	}
}

// send adds a round's payloads for one output to what is written.
func (f *floor) send(o *floorOutput, payloads [][]byte) {
	var parts [][]byte // of one message
	header := 0
	if o.session != nil {
		header = wire.HeaderSize
		o.headers = grown(o.headers, len(payloads)*wire.HeaderSize)
		if o.session.Key != nil {
			o.cipher = grown(o.cipher, len(payloads)*load.PayloadSize)
		}
	}
	together := 0
	size := header + len(payloads[0])
	for i, p := range payloads {
		if o.session != nil {
			h := o.headers[i*wire.HeaderSize:][:wire.HeaderSize]
			o.sent++
			o.session.DataHeader(h, o.next, o.sent, o.session.Timestamp())
			if o.session.Key != nil {
				c := o.cipher[i*load.PayloadSize:][:len(p)]
				o.session.Key.Crypt(c, p, o.next)
				p = c
			}
			o.next = (o.next + 1) & wire.MaxSequence
			parts = append(parts, h)
		}
		parts = append(parts, p)
		together++
		if !f.offload || together == wire.MaxSegments || i == len(payloads)-1 {
			segment := 0
			if together > 1 {
				segment = size
			}
			f.writer.Add(&o.to, segment, parts...)
			parts, together = parts[:0], 0
		}
	}
}

func grown(b []byte, n int) []byte {
	if cap(b) < n {
		return make([]byte, n)
	}
	return b[:n]
}
