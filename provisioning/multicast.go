package provisioning

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"sluice/provisioning/config"
	"sluice/relay/endpoint"
	"sluice/relay/udp"
)

const (
	hearTime   = trialTime - time.Second // how long a group is listened to
	maxSources = 16                      // that are told of
)

// hear joins a group on the uplink's NIC and notes in v what arrives: packets,
// bytes and who sent them. It ends early once it has heard enough to tell.
func hear(ctx context.Context, u endpoint.Uplink, group netip.AddrPort, v *config.TestResult) error {
	if why := u.Ready(); why != nil {
		return errors.New(why.Message)
	}
	network := "udp4"
	if group.Addr().Is6() {
		network = "udp6"
	}
	conn, err := udp.Listen(ctx, u, network, int(group.Port()), udp.Options{})
	if err != nil {
		var taken *endpoint.Error
		if errors.As(err, &taken) && taken.Reason.Code == "port_taken" {
			return fmt.Errorf("%w: where an input of the box receives on it, that input tells more", err)
		}
		return err
	}
	defer conn.Close()
	if err := conn.Join(group.Addr(), netip.Addr{}); err != nil {
		return fmt.Errorf("%s cannot be joined on %s: %w", group.Addr(), v.Interface, plain(err))
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	begin := time.Now()
	if err := conn.SetReadDeadline(begin.Add(hearTime)); err != nil {
		return err
	}
	var packets, bytes uint64
	var sources []netip.AddrPort
	r := udp.NewReader(conn, 32, 1<<16)
	for ctx.Err() == nil {
		batch, err := r.Read()
		if err != nil {
			break
		}
		for _, d := range batch {
			if d.To != group.Addr() {
				continue // it was sent to the port, and not to the group
			}
			packets, bytes = packets+1, bytes+uint64(len(d.Data))
			if !slices.Contains(sources, d.From) && len(sources) < maxSources {
				sources = append(sources, d.From)
			}
		}
	}
	took := time.Since(begin)
	v.Packets, v.Bytes, v.Sources = &packets, &bytes, []string{}
	for _, s := range sources {
		v.Sources = append(v.Sources, s.String())
	}
	if packets == 0 {
		return fmt.Errorf("%s was joined on %s, and nothing came in %s", group, v.Interface, took.Round(time.Millisecond))
	}
	v.Message = fmt.Sprintf("%d packets for %s came in %s, %.1f Mbit/s, from %s",
		packets, group, took.Round(time.Millisecond), float64(bytes*8)/took.Seconds()/1e6, sources[0])
	if n := len(sources); n > 1 {
		v.Message += fmt.Sprintf(" and %d others", n-1)
	}
	return nil
}
