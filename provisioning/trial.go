package provisioning

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"time"

	"sluice/device/uplink"
	"sluice/provisioning/config"
	"sluice/relay/endpoint"
	"sluice/relay/srt"
)

// A trial is what the request "test" asks to be tried through one uplink.
type trial struct {
	Test   string `json:"test"` // link, ping, dns, tcp or srt
	Uplink string `json:"uplink"`
	Host   string `json:"host"` // of all but link
	Port   int    `json:"port"` // of tcp and srt
}

// trialTime is how long a trial may take.
const trialTime = 5 * time.Second

var errNoUplink = errors.New("no such uplink")

func (t trial) check() error {
	switch {
	case !slices.Contains([]string{"link", "ping", "dns", "tcp", "srt"}, t.Test):
		return fmt.Errorf("test is %q: use link, ping, dns, tcp or srt", t.Test)
	case t.Test != "link" && (t.Host == "" || len(t.Host) > 253):
		return fmt.Errorf("%s needs a host of at most 253 characters", t.Test)
	case (t.Test == "tcp" || t.Test == "srt") && (t.Port < 1 || t.Port > 65535):
		return fmt.Errorf("%s needs a port from 1 to 65535", t.Test)
	}
	return nil
}

// try tries what the request asks for. The error is errNoUplink alone: what
// does not work is a result.
func (a *Agent) try(ctx context.Context, t trial) (*config.TestResult, error) {
	status := a.o.Uplinks.Status()
	u := a.o.Uplinks.Get(t.Uplink)
	i := slices.IndexFunc(status, func(s uplink.Status) bool { return s.Name == u.Name() })
	if i < 0 {
		return nil, fmt.Errorf("%w: %q is not configured", errNoUplink, t.Uplink)
	}
	v := &config.TestResult{Test: t.Test, Uplink: u.Name(), Interface: u.Interface()}
	ctx, cancel := context.WithTimeout(ctx, trialTime)
	defer cancel()
	var err error
	switch t.Test {
	case "link":
		v.Addresses = texts(status[i].Addresses)
		v.Message = fmt.Sprintf("%s is ready", v.Interface)
		if why := status[i].Reason; why != nil {
			err = errors.New(why.Message)
		} else if why := status[i].Routing; why != nil {
			err = errors.New(why.Message)
		}
	default:
		err = reach(ctx, u, t, v)
	}
	v.OK = err == nil
	if err != nil {
		v.Message = err.Error()
	}
	return v, nil
}

// reach finds the host, and what is to answer there, and notes it in v.
func reach(ctx context.Context, u endpoint.Uplink, t trial, v *config.TestResult) error {
	begin := time.Now()
	found, err := uplink.Resolve(ctx, u, t.Host)
	if err != nil {
		return fmt.Errorf("%s cannot be resolved: %w", t.Host, err)
	}
	took := time.Since(begin)
	at := netip.AddrPortFrom(found[0], uint16(t.Port))
	v.Addresses = texts(found[:1])
	switch t.Test {
	case "dns":
		v.Addresses = texts(found)
		v.Message = fmt.Sprintf("%s has %d addresses", t.Host, len(found))
	case "ping":
		took, err = uplink.Ping(ctx, u, found[0])
		v.Message = fmt.Sprintf("%s answers", found[0])
	case "tcp":
		took, err = uplink.Connect(ctx, u, at)
		v.Message = fmt.Sprintf("%s accepts connections", at)
	case "srt":
		took, err = srt.Probe(ctx, u, at)
		v.Message = fmt.Sprintf("an SRT listener answers at %s", at)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", t.Host, plain(err))
	}
	v.TimeMS = float64(took.Microseconds()) / 1000
	return nil
}

// plain takes off an error what package net says of the socket.
func plain(err error) error {
	if e := (*net.OpError)(nil); errors.As(err, &e) {
		err = e.Err
	}
	if e := (*os.SyscallError)(nil); errors.As(err, &e) {
		err = e.Err
	}
	return err
}
