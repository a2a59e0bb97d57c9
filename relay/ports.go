package relay

import (
	"fmt"

	"sluice/relay/endpoint"
	"sluice/relay/rtp"
	"sluice/relay/rtsp"
	"sluice/relay/srt"
)

// A claim is a port that an item listens on. SRT and RTP ports are exclusive
// for each uplink. RTMP and RTSP ones belong to a server that many items
// share: they differ in the name by which they are published to or played.
type claim struct {
	at     string // where the port is configured
	uplink string
	tcp    bool
	port   int
	server string // protocol of a shared server, empty if the port is exclusive
	tls    bool
	name   string // within the server, as in a URL's path; may be secret
	nameAt string // where the name is configured
	label  string // of the name in a sentence, without the name
}

// claims returns the ports of all items. Disabled ones count, so that enabling
// one is never what makes a conflict.
func (c Config) claims(at string) []claim {
	var all []claim
	for i, f := range c.Flows {
		for j, in := range f.Inputs {
			all = append(all, in.claims(fmt.Sprintf("%s/flows/%d/inputs/%d", at, i, j))...)
		}
		for j, out := range f.Outputs {
			all = append(all, out.claims(fmt.Sprintf("%s/flows/%d/outputs/%d", at, i, j))...)
		}
	}
	return all
}

func (in Input) claims(at string) []claim {
	switch {
	case in.Protocol == SRT && in.SRT != nil:
		return srtClaims(in.SRT, in.Uplink, at)
	case in.Protocol == RTP && in.RTP != nil:
		at += "/rtp/port"
		claims := []claim{{at: at, uplink: in.Uplink, port: in.RTP.Port}}
		if in.RTP.Encapsulation == rtp.EncapsulationRTP && in.RTP.Port < 65535 {
			// RFC 3550 section 11: RTCP is received on the next port.
			claims = append(claims, claim{at: at, uplink: in.Uplink, port: in.RTP.Port + 1})
		}
		return claims
	case in.Protocol == RTMP && in.RTMP != nil:
		return []claim{{
			at: at + "/rtmp/port", uplink: in.Uplink, tcp: true, port: in.RTMP.Port,
			server: RTMP, tls: in.RTMP.TLS, name: join(in.RTMP.App, in.RTMP.StreamKey.Reveal()),
			nameAt: at + "/rtmp/stream_key", label: "app and stream_key",
		}}
	case in.Protocol == RTSP && in.RTSP != nil && in.RTSP.Mode == rtsp.ModeListen:
		return []claim{{
			at: at + "/rtsp/port", uplink: in.Uplink, tcp: true, port: in.RTSP.Port,
			server: RTSP, tls: in.RTSP.TLS, name: in.RTSP.Path,
			nameAt: at + "/rtsp/path", label: "path",
		}}
	}
	return nil
}

func (out Output) claims(at string) []claim {
	switch {
	case out.Protocol == SRT && out.SRT != nil:
		return srtClaims(out.SRT, out.Uplink, at)
	case out.Protocol == RTMPPull && out.RTMP != nil:
		return []claim{{
			at: at + "/rtmp/port", uplink: out.Uplink, tcp: true, port: out.RTMP.Port,
			server: RTMP, tls: out.RTMP.TLS, name: join(out.RTMP.App, out.RTMP.StreamKey),
			nameAt: at + "/rtmp/stream_key", label: "app and stream_key",
		}}
	case out.Protocol == RTSP && out.RTSP != nil && out.RTSP.Mode == rtsp.ModeServe:
		return []claim{{
			at: at + "/rtsp/port", uplink: out.Uplink, tcp: true, port: out.RTSP.Port,
			server: RTSP, tls: out.RTSP.TLS, name: out.RTSP.Path,
			nameAt: at + "/rtsp/path", label: "path",
		}}
	}
	return nil
}

func srtClaims(c *srt.Config, uplink, at string) []claim {
	if c.Mode != srt.ModeListener {
		return nil
	}
	return []claim{{at: at + "/srt/port", uplink: uplink, port: c.Port}}
}

// join makes the name of an RTMP stream, or none while a part is missing.
func join(app, key string) string {
	if app == "" || key == "" {
		return ""
	}
	return app + "/" + key
}

// portFaults reports each item that listens where an earlier one does.
func portFaults(c Config, at string) []endpoint.Fault {
	type socket struct {
		uplink string
		tcp    bool
		port   int
	}
	var faults []endpoint.Fault
	first := map[socket]claim{}
	names := map[socket]map[string]claim{}
	said := map[string]bool{} // one fault for each place
	for _, cl := range c.claims(at) {
		s := socket{cl.uplink, cl.tcp, cl.port}
		old, taken := first[s]
		switch {
		case cl.port == 0 || said[cl.at]:
		case !taken:
			first[s] = cl
			names[s] = map[string]claim{cl.name: cl}
		case old.at == cl.at:
		case cl.server == "" || old.server != cl.server:
			faults = append(faults, endpoint.Faultf(cl.at, "%s on %s is taken by %s: use another port", cl.socket(), role(cl.uplink), old.at))
			said[cl.at] = true
		case old.tls != cl.tls:
			faults = append(faults, endpoint.Faultf(cl.at, "%s on %s is used with tls %t by %s: use another port, or the same tls", cl.socket(), role(cl.uplink), old.tls, old.at))
			said[cl.at] = true
		case cl.name != "":
			if same, ok := names[s][cl.name]; ok {
				faults = append(faults, endpoint.Faultf(cl.nameAt, "the same %s on %s of %s is taken by %s: use another", cl.label, cl.socket(), role(cl.uplink), same.nameAt))
				continue
			}
			names[s][cl.name] = cl
		}
	}
	return faults
}

func (c claim) socket() string {
	if c.tcp {
		return fmt.Sprintf("TCP port %d", c.port)
	}
	return fmt.Sprintf("UDP port %d", c.port)
}

func role(uplink string) string {
	if uplink == "" {
		return "the default uplink"
	}
	return "uplink " + uplink
}
