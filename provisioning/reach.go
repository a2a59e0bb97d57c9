package provisioning

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"sluice/device/uplink"
	"sluice/provisioning/config"
	"sluice/provisioning/mqtt"
	"sluice/relay"
	"sluice/relay/endpoint"
	"sluice/relay/srt"
)

// tryFleet tells how the session with the broker is, and what becomes of each
// way to it: name, TCP, TLS. It makes no session, which would end the box's.
func (a *Agent) tryFleet(ctx context.Context) (*config.TestResult, error) {
	v := &config.TestResult{Test: "fleet"}
	broker := a.brokerOf(a.inForce.Load())
	if broker == nil {
		settle(v, errors.New("no broker is configured: the box works on its own"))
		return v, nil
	}
	names := a.waysOf(a.inForce.Load())
	if len(names) == 0 {
		names = []string{""}
	}
	v.Results = make([]config.TestResult, len(names))
	var legs sync.WaitGroup
	for i, name := range names {
		legs.Go(func() { v.Results[i] = a.tryBroker(ctx, *broker, name) })
	}
	legs.Wait()
	s := a.client.Status()
	switch {
	case s.Ready:
		v.Uplink = s.Via
		v.Message = "the session with the broker is up since " + s.Since.UTC().Format(time.RFC3339)
		if s.Via != "" {
			v.Message += ", through " + s.Via
		}
		settle(v, nil)
		return v, nil
	case s.Reason != nil:
		settle(v, fmt.Errorf("there is no session with the broker: %s", s.Reason.Message))
		return v, nil
	}
	settle(v, errors.New("there is no session with the broker yet"))
	return v, nil
}

// tryBroker tries one way to the broker.
func (a *Agent) tryBroker(ctx context.Context, broker mqtt.Config, name string) config.TestResult {
	v := config.TestResult{Test: "fleet", Uplink: name}
	var took time.Duration
	err := func() error {
		host, port, err := mqtt.Address(broker.Broker)
		if err != nil {
			return err
		}
		if u, status, err := a.uplinkOf(name); err == nil {
			v.Uplink, v.Interface = u.Name(), u.Interface()
			if status.Reason != nil {
				return errors.New(status.Reason.Message)
			}
			found, err := uplink.Resolve(ctx, u, host)
			if err != nil {
				return fmt.Errorf("%s cannot be resolved: %w", host, err)
			}
			v.Addresses = texts(found)
		} else if name != "" {
			return err
		}
		begin := time.Now()
		until, err := mqtt.Reach(ctx, broker, a.dialFunc(name))
		if err != nil {
			return fmt.Errorf("%s, port %s: %w", host, port, plain(err))
		}
		took = time.Since(begin)
		v.Message = fmt.Sprintf("%s accepts connections at port %s", host, port)
		if !until.IsZero() {
			v.Message += ", with a certificate that is good until " + until.UTC().Format(time.DateOnly)
		}
		return nil
	}()
	settle(&v, err)
	if err == nil {
		v.TimeMS = milliseconds(took.Truncate(time.Microsecond))
	}
	return v
}

// dialFunc makes connections from an uplink.
func (a *Agent) dialFunc(name string) mqtt.DialFunc {
	if a.o.Dial != nil {
		return a.o.Dial(name)
	}
	return new(net.Dialer).DialContext
}

// A peer is where an output dials to.
type peer struct {
	uplink string
	host   string
	port   int
	how    string // tcp, srt, or udp: nothing answers there
}

// tryOutput tries each destination of an output, through its own uplink.
func (a *Agent) tryOutput(ctx context.Context, t trial) (*config.TestResult, error) {
	o, err := a.output(t.Flow, t.Output)
	if err != nil {
		return nil, err
	}
	v := &config.TestResult{Test: "output", Uplink: o.Uplink}
	peers, err := peersOf(o)
	if err != nil {
		settle(v, err)
		return v, nil
	}
	v.Results = make([]config.TestResult, len(peers))
	var all sync.WaitGroup
	for i, p := range peers {
		all.Go(func() { v.Results[i] = a.tryPeer(ctx, p) })
	}
	all.Wait()
	failed := 0
	for _, r := range v.Results {
		if !r.OK {
			failed++
		}
	}
	switch {
	case failed == 0 && len(peers) == 1:
		v.Message = v.Results[0].Message
	case failed == 0:
		v.Message = "both destinations can be reached"
	case len(peers) == 1:
		err = errors.New(v.Results[0].Message)
	case failed == 1:
		err = errors.New("one of two destinations cannot be reached")
	default:
		err = errors.New("neither destination can be reached")
	}
	settle(v, err)
	return v, nil
}

// output returns an output as it is in force, its uplinks named.
func (a *Agent) output(flow, output string) (relay.Output, error) {
	for _, f := range a.inForce.Load().document.Engine().Flows {
		for _, o := range f.Outputs {
			if f.ID == flow && o.ID == output {
				return o, nil
			}
		}
	}
	return relay.Output{}, fmt.Errorf("output %s/%s: %w", flow, output, relay.ErrNotFound)
}

// peersOf lists where an output dials to. The error says that it does not.
func peersOf(o relay.Output) (peers []peer, err error) {
	switch {
	case o.SRT != nil:
		for _, d := range o.SRT.Destinations {
			peers = append(peers, peer{o.Uplink, d.Host, d.Port, "srt"})
		}
	case o.RTMP != nil:
		for _, d := range o.RTMP.Destinations {
			p, err := peerOf(d.URL, map[string]int{"rtmp": 1935, "rtmps": 443})
			if err != nil {
				return nil, err
			}
			peers = append(peers, p.through(o.Uplink))
		}
	case o.RTSP != nil && o.RTSP.URL != "":
		p, err := peerOf(o.RTSP.URL, map[string]int{"rtsp": 554, "rtsps": 322})
		if err != nil {
			return nil, err
		}
		peers = append(peers, p.through(o.Uplink))
	case o.RTP != nil:
		for _, d := range o.RTP.Destinations {
			peers = append(peers, peer{d.Uplink, d.Host, d.Port, "udp"})
		}
	}
	if len(peers) == 0 {
		return nil, fmt.Errorf("%s listens: there is no destination to try, its peers come to the box", o.ID)
	}
	return peers, nil
}

func (p peer) through(uplink string) peer {
	p.uplink = uplink
	return p
}

// peerOf reads a URL that may name no port.
func peerOf(text string, ports map[string]int) (p peer, err error) {
	u, err := url.Parse(text)
	if err != nil {
		return p, errors.New("the URL of the destination cannot be read") // err quotes it
	}
	p = peer{host: u.Hostname(), port: ports[u.Scheme], how: "tcp"}
	if text := u.Port(); text != "" {
		if p.port, err = strconv.Atoi(text); err != nil {
			return p, errors.New("the URL of the destination has no port that can be read")
		}
	}
	return p, nil
}

// tryPeer finds a destination, and what is to answer there.
func (a *Agent) tryPeer(ctx context.Context, p peer) config.TestResult {
	v := config.TestResult{Test: "output", Uplink: p.uplink}
	u, status, err := a.uplinkOf(p.uplink)
	if err != nil {
		settle(&v, err)
		return v
	}
	v.Uplink, v.Interface = u.Name(), u.Interface()
	if status.Reason != nil {
		settle(&v, errors.New(status.Reason.Message))
		return v
	}
	settle(&v, p.try(ctx, u, &v))
	return v
}

func (p peer) try(ctx context.Context, u endpoint.Uplink, v *config.TestResult) error {
	found, err := uplink.Resolve(ctx, u, p.host)
	if err != nil {
		return fmt.Errorf("%s cannot be resolved: %w", p.host, err)
	}
	v.Addresses = texts(found)
	at := netip.AddrPortFrom(found[0], uint16(p.port))
	name := at.String()
	if strings.Trim(p.host, ".") != found[0].String() {
		name = fmt.Sprintf("%s (%s)", p.host, at)
	}
	var took time.Duration
	switch p.how {
	case "srt":
		took, err = srt.Probe(ctx, u, at)
		v.Message = "an SRT listener answers at " + name
	case "tcp":
		took, err = uplink.Connect(ctx, u, at)
		v.Message = name + " accepts connections"
	default:
		_, err = udpSource(ctx, u, at)
		v.Message = name + " can be sent to; whether anybody receives there, it does not tell"
	}
	if err != nil {
		return fmt.Errorf("%s: %w", name, plain(err))
	}
	v.TimeMS = milliseconds(took.Truncate(time.Microsecond))
	return nil
}

// udpSource tells whether the uplink has a way to an address.
func udpSource(ctx context.Context, u endpoint.Uplink, to netip.AddrPort) (net.Addr, error) {
	c, err := u.Dialer().DialContext(ctx, "udp", to.String())
	if err != nil {
		return nil, err
	}
	defer c.Close()
	return c.LocalAddr(), nil
}
