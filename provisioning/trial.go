package provisioning

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"time"

	"sluice/device/uplink"
	"sluice/provisioning/config"
	"sluice/relay/endpoint"
	"sluice/relay/srt"
)

// A trial is what the request "test" asks to be tried.
type trial struct {
	Test   string `json:"test"`   // one of trials
	Uplink string `json:"uplink"` // of all but fleet and output, which have their own
	Host   string `json:"host"`   // of ping, dns, tcp, srt, ntp; of multicast the group
	Port   int    `json:"port"`   // of tcp, srt and multicast; of ntp, if it is not 123
	Flow   string `json:"flow"`   // of output
	Output string `json:"output"` // of output
}

// trials are all that there are, in the order in which they are listed.
var trials = []string{"link", "ping", "dns", "tcp", "srt", "ntp", "fleet", "multicast", "output"}

const (
	trialTime = 5 * time.Second // how long a trial may take
	maxTrials = 8               // at a time
)

var (
	errNoUplink  = errors.New("no such uplink")
	errManyTests = &refused{code: codeTooMany, message: "other tests are under way: try again in a few seconds"}
)

func (t trial) check() error {
	host := slices.Contains([]string{"ping", "dns", "tcp", "srt", "ntp", "multicast"}, t.Test)
	port := slices.Contains([]string{"tcp", "srt", "multicast"}, t.Test)
	switch {
	case !slices.Contains(trials, t.Test):
		return fmt.Errorf("test is %q: use %s", t.Test, strings.Join(trials, ", "))
	case host && (t.Host == "" || len(t.Host) > 253):
		return fmt.Errorf("%s needs a host of at most 253 characters", t.Test)
	case port && t.Port < 1, t.Port < 0, t.Port > 65535:
		return fmt.Errorf("%s needs a port from 1 to 65535", t.Test)
	case t.Test == "output" && (t.Flow == "" || t.Output == ""):
		return errors.New("output needs a flow and an output")
	}
	if group, err := netip.ParseAddr(t.Host); t.Test == "multicast" && (err != nil || !group.IsMulticast() || group.Zone() != "") {
		return errors.New("multicast needs the address of a group, such as 239.1.1.1, as its host")
	}
	return nil
}

// try tries what the request asks for. The error says that it cannot even be
// tried: what does not work is a result.
func (a *Agent) try(ctx context.Context, t trial) (*config.TestResult, error) {
	select {
	case a.trials <- struct{}{}:
	default:
		return nil, errManyTests
	}
	defer func() { <-a.trials }()
	ctx, cancel := context.WithTimeout(ctx, trialTime)
	defer cancel()
	switch t.Test {
	case "fleet":
		return a.tryFleet(ctx)
	case "output":
		return a.tryOutput(ctx, t)
	}
	u, status, err := a.uplinkOf(t.Uplink)
	if err != nil {
		return nil, err
	}
	v := &config.TestResult{Test: t.Test, Uplink: u.Name(), Interface: u.Interface()}
	switch t.Test {
	case "link":
		v.Addresses = texts(status.Addresses)
		v.Message = fmt.Sprintf("%s is ready", v.Interface)
		if why := status.Reason; why != nil {
			err = errors.New(why.Message)
		} else if why := status.Routing; why != nil {
			err = errors.New(why.Message)
		}
	case "multicast":
		group, _ := netip.ParseAddr(t.Host) // it was checked
		err = hear(ctx, u, netip.AddrPortFrom(group.Unmap(), uint16(t.Port)), v)
	default:
		err = reach(ctx, u, t, v)
	}
	settle(v, err)
	return v, nil
}

// settle notes in v how a trial ended.
func settle(v *config.TestResult, err error) {
	v.OK = err == nil
	if err != nil {
		v.Message = err.Error()
	}
}

// uplinkOf returns an uplink by its name, the default one for none, and how it
// is.
func (a *Agent) uplinkOf(name string) (endpoint.Uplink, uplink.Status, error) {
	u := a.o.Uplinks.Get(name)
	status := a.o.Uplinks.Status()
	i := slices.IndexFunc(status, func(s uplink.Status) bool { return s.Name == u.Name() })
	if i < 0 {
		return nil, uplink.Status{}, fmt.Errorf("%w: %q is not configured", errNoUplink, name)
	}
	return u, status[i], nil
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
	case "ntp":
		if t.Port == 0 {
			at = netip.AddrPortFrom(found[0], ntpPort)
		}
		var offset time.Duration
		if offset, took, err = askNTP(ctx, u, at); err == nil {
			ms := rounded(milliseconds(offset), 1000)
			v.OffsetMS = &ms
			v.Message = fmt.Sprintf("by %s the clock of the box is %s", found[0], lateness(offset))
		}
	}
	if err != nil {
		return fmt.Errorf("%s: %w", t.Host, plain(err))
	}
	v.TimeMS = milliseconds(took.Truncate(time.Microsecond))
	return nil
}

// lateness says what a clock is that has to be set by an offset.
func lateness(offset time.Duration) string {
	switch rounded := offset.Round(time.Millisecond); {
	case rounded > 0:
		return rounded.String() + " behind"
	case rounded < 0:
		return (-rounded).String() + " ahead"
	}
	return "right"
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
