package peers

import (
	"context"
	"encoding/json"
	"fmt"
	"net"

	"sluice/bench/wire"
)

// plain is a relay that this program is itself, when it is started as
// `bench relay NAME JOB`.
func plain(self, name, about string, can func(Job) bool) Relay {
	return Relay{
		Name: name, About: about, Can: can,
		Command: func(j Job, _ string) []string {
			job, err := json.Marshal(j)
			if err != nil {
				panic(err) // strings and numbers alone
			}
			return []string{self, "relay", name, string(job)}
		},
	}
}

// Run is the plain relay of a name. It ends with ctx.
func Run(ctx context.Context, name, job string) error {
	var j Job
	if err := json.Unmarshal([]byte(job), &j); err != nil {
		return fmt.Errorf("job: %w", err)
	}
	switch name {
	case Gosrt:
		return runGosrt(ctx, j)
	case FloorOffload:
		return runFloor(ctx, j, true)
	case FloorSendmmsg:
		return runFloor(ctx, j, false)
	case Loop:
		return runLoop(ctx, j)
	}
	return fmt.Errorf("there is no plain relay %q", name)
}

// runLoop is what everybody writes first.
func runLoop(ctx context.Context, j Job) error {
	in, err := wire.Listen(j.InPorts[0])
	if err != nil {
		return err
	}
	defer context.AfterFunc(ctx, func() { in.Close() })()
	out, err := wire.Listen(0)
	if err != nil {
		return err
	}
	defer out.Close()
	var to []*net.UDPAddr
	for _, port := range j.OutPorts {
		to = append(to, &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: port})
	}
	b := make([]byte, 2048)
	for {
		n, err := in.Read(b)
		if err != nil {
			return ctx.Err()
		}
		for _, a := range to {
			_, _ = out.WriteToUDP(b[:n], a)
		}
	}
}
