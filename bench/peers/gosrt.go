package peers

import (
	"context"
	"errors"
	"fmt"
	"sync"

	gosrt "github.com/datarhei/gosrt"

	"sluice/bench/load"
)

func canGosrt(j Job) bool { return single(j) && j.In == load.SRT && j.Out == load.SRT }

// runGosrt relays through whole gosrt connections.
func runGosrt(ctx context.Context, j Job) error {
	c := gosrt.DefaultConfig()
	c.Latency = j.Latency
	c.ReceiverLatency, c.PeerLatency = j.Latency, j.Latency
	c.PayloadSize = load.PayloadSize
	c.Passphrase = j.Passphrase
	if j.Passphrase != "" {
		c.PBKeylen = 16
	}
	var mu sync.Mutex
	var outputs []gosrt.Conn
	add := func(o gosrt.Conn) {
		mu.Lock()
		defer mu.Unlock()
		outputs = append(outputs, o)
	}
	in, err := gosrt.Listen("srt", fmt.Sprintf("127.0.0.1:%d", j.InPorts[0]), c)
	if err != nil {
		return err
	}
	defer context.AfterFunc(ctx, in.Close)()
	if j.Listen > 0 {
		out, err := gosrt.Listen("srt", fmt.Sprintf("127.0.0.1:%d", j.Listen), c)
		if err != nil {
			return err
		}
		defer context.AfterFunc(ctx, out.Close)()
		go func() {
			for {
				if o, err := accept(out, j); err == nil {
					add(o)
				} else if ctx.Err() != nil {
					return
				}
			}
		}()
	}
	for _, port := range j.OutPorts {
		go func() {
			if o, err := gosrt.Dial("srt", fmt.Sprintf("127.0.0.1:%d", port), c); err == nil {
				add(o) // an output that is missing stays silent, and is seen to
			}
		}()
	}
	source, err := accept(in, j)
	if err != nil {
		return errors.Join(ctx.Err(), err)
	}
	defer context.AfterFunc(ctx, func() { source.Close() })()
	for {
		p, err := source.ReadPacket()
		if err != nil {
			return ctx.Err()
		}
		mu.Lock()
		for _, o := range outputs {
			_, _ = o.Write(p.Data()) // a full queue loses the packet
		}
		mu.Unlock()
		p.Decommission()
	}
}

func accept(l gosrt.Listener, j Job) (gosrt.Conn, error) {
	request, err := l.Accept2()
	if err != nil {
		return nil, err
	}
	if j.Passphrase != "" {
		if err := request.SetPassphrase(j.Passphrase); err != nil {
			request.Reject(gosrt.REJ_BADSECRET)
			return nil, err
		}
	}
	return request.Accept()
}
