package console

import (
	"errors"
	"slices"
	"strings"

	"sluice/device/console/edit"
)

// A builder makes the candidate of the answers.
type builder struct {
	tree *edit.Tree
	err  error
}

// built returns the candidate as the answers change it. Those that were not
// given yet change nothing.
func (w *wizard) built() (*edit.Tree, error) {
	b := &builder{tree: w.tree.Clone()}
	if name := w.is("hostname"); name != "" {
		b.set([]string{"device", "hostname"}, name)
	}
	for _, n := range w.nics { // first, as roles may change places
		if role, was := w.is("role "+n.Name), w.roleOf(n); role != "" && was != "" && was != role {
			b.remove("uplinks", was)
		}
	}
	for _, n := range w.nics {
		w.buildNIC(b, n)
	}
	if d := w.byDefault(); d != "" {
		for _, name := range b.tree.Names("uplinks") {
			if name != d {
				b.remove("uplinks", name, "default")
			}
		}
		if d != w.local.first() { // which is it by itself
			b.set([]string{"uplinks", d, "default"}, "true")
		}
	}
	if ntp := w.is("ntp"); ntp == none {
		b.remove("device", "ntp")
	} else if ntp != "" {
		b.set([]string{"device", "ntp"}, strings.Fields(ntp)...)
	}
	w.buildBroker(b)
	if w.is("flow") == yes && w.is("flow name") != "" {
		w.buildFlow(b)
	}
	return b.tree, b.err
}

// byDefault is the default uplink as the answers have it, or "". What was
// answered of a role that was taken back since is no answer.
func (w *wizard) byDefault() string {
	roles := w.roles()
	switch d := w.is("default"); {
	case len(roles) == 1:
		return roles[0]
	case slices.Contains(roles, d):
		return d
	}
	return ""
}

func (w *wizard) buildNIC(b *builder, n nic) {
	role, was := w.is("role "+n.Name), w.roleOf(n)
	if role == "" || role == none {
		return
	}
	up := []string{"uplinks", role}
	if !w.local.has(role) { // nothing needs to be said of one that there is anyway
		b.set(up)
	}
	if was != role { // it may have been another NIC's
		b.remove("uplinks", role, "match")
		if n.MAC != "" {
			b.set(append(up, "match", "mac"), n.MAC)
		} else {
			b.set(append(up, "match", "interface"), n.Name)
		}
	}
	address := w.is("address " + n.Name)
	if address == "" {
		return
	}
	b.remove("uplinks", role, "dhcp4")
	b.remove("uplinks", role, "addresses")
	static := len(w.addresses(n)) > 0
	if address == byDHCP {
		b.set(append(up, "dhcp4"), "true")
	} else if static {
		b.set(append(up, "addresses"), strings.Fields(address)...)
	}
	gateway, dns := w.is("gateway "+n.Name), w.is("dns "+n.Name)
	if !static {
		gateway, dns = none, none
	}
	if gateway != "" {
		b.remove("uplinks", role, "gateway4")
		b.remove("uplinks", role, "gateway6")
	}
	if gateway != "" && gateway != none {
		field := "gateway4"
		if strings.Contains(gateway, ":") {
			field = "gateway6"
		}
		b.set(append(up, field), gateway)
	}
	if dns != "" {
		b.remove("uplinks", role, "nameservers")
	}
	if dns != "" && dns != none {
		b.set(append(up, "nameservers"), strings.Fields(dns)...)
	}
}

func (w *wizard) buildBroker(b *builder) {
	at := []string{"device", "management", "broker"}
	switch u := w.is("broker"); u {
	case "":
		return
	case none:
		b.remove(at...)
		return
	default:
		b.set(append(at, "url"), u)
	}
	switch user := w.is("broker user"); user {
	case "":
	case none:
		b.remove(append(at, "username")...)
		b.remove(append(at, "password")...)
	default:
		b.set(append(at, "username"), user)
		b.secret(append(at, "password"), w.secrets["broker password"])
	}
}

func (w *wizard) buildFlow(b *builder) {
	flow := []string{"flows", flowID(w.is("flow name"))}
	b.set(append(flow, "name"), w.is("flow name"))
	in := append(flow, "inputs", firstInput)
	set := func(item []string, answer string, path ...string) {
		if v := w.given(answer); v != "" {
			b.set(append(item[:len(item):len(item)], path...), v)
		}
	}
	several := len(w.uplinksOf(b.tree)) > 1
	set(in, "input", "protocol")
	if several {
		set(in, "input uplink", "uplink")
	}
	switch w.is("input") {
	case "SRT":
		b.set(append(in, "srt", "mode"), "listener")
		set(in, "input port", "srt", "port")
		b.secret(append(in, "srt", "passphrase"), w.secrets["input passphrase"])
	case "RTMP":
		set(in, "input port", "rtmp", "port")
		b.secret(append(in, "rtmp", "stream_key"), w.secrets["input key"])
	case "RTP":
		set(in, "input port", "rtp", "port")
		set(in, "input group", "rtp", "multicast")
	}
	if w.given("output") == "" {
		return
	}
	out := append(flow[:2:2], "outputs", firstOutput)
	b.set(append(out, "name"), "Output 1")
	if several {
		set(out, "output uplink", "uplink")
	}
	switch w.is("output") {
	case "RTMP":
		b.set(append(out, "protocol"), "RTMP_PUSH")
		set(out, "output url", "rtmp", "destinations", "1", "url")
		b.secret(append(out, "rtmp", "destinations", "1", "stream_key"), w.secrets["output key"])
	case "RTP":
		b.set(append(out, "protocol"), "RTP")
		set(out, "output host", "rtp", "destinations", "1", "host")
		set(out, "output port", "rtp", "destinations", "1", "port")
	default:
		b.set(append(out, "protocol"), "SRT")
		if w.is("output") == "SRT-caller" {
			b.set(append(out, "srt", "mode"), "caller")
			set(out, "output host", "srt", "destinations", "1", "host")
			set(out, "output port", "srt", "destinations", "1", "port")
		} else {
			b.set(append(out, "srt", "mode"), "listener")
			set(out, "output port", "srt", "port")
		}
		set(out, "output latency", "srt", "latency_ms")
		b.secret(append(out, "srt", "passphrase"), w.secrets["output passphrase"])
	}
}

// set puts a value, unless something went wrong before.
func (b *builder) set(path []string, values ...string) {
	if b.err != nil {
		return
	}
	_, b.err = b.tree.Set(append(path[:len(path):len(path)], values...)...)
}

// secret puts one that was given.
func (b *builder) secret(path []string, value string) {
	if b.err == nil && value != "" {
		b.err = b.tree.SetSecret(path[:len(path):len(path)], value)
	}
}

// remove takes out what may not be there.
func (b *builder) remove(path ...string) {
	if b.err != nil {
		return
	}
	_, err := b.tree.Delete(path...)
	if fault := (*edit.Error)(nil); err != nil && !errors.As(err, &fault) {
		b.err = err
	}
}
