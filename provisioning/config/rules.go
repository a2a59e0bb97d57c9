package config

import (
	"fmt"
	"slices"
	"strings"

	"sluice/device/uplink"
	"sluice/relay/endpoint"
)

// rules returns what is wrong with the document beyond single fields: each
// package checks its own part, and what refers from one to another is checked
// here. Of a stored document, roles that may have been the command line's are
// taken as they are.
func (d *Document) rules(stored bool) []endpoint.Fault {
	local := slices.Clone(d.local)
	if stored {
		for _, u := range d.State.Uplinks {
			local = append(local, u.Name)
		}
	}
	faults := d.State.Device.Validate("/state/device")
	faults = append(faults, uplink.Validate(d.State.Uplinks, local, "/state/uplinks")...)
	if !stored {
		faults = append(faults, sameNIC(d.State.Uplinks)...)
		faults = append(faults, d.references()...)
	}
	return append(faults, d.Engine().Validate("/state")...)
}

// sameNIC reports each uplink that matches the NIC of an earlier one: their
// routing and their ports would be in each other's way. Two that match it by
// different properties only the box can tell.
func sameNIC(uplinks []uplink.Config) (faults []endpoint.Fault) {
	first := make(map[uplink.Match]string)
	for i, u := range uplinks {
		if u.Match == nil || *u.Match == (uplink.Match{}) {
			continue
		}
		m := *u.Match
		m.MAC = strings.ToLower(m.MAC)
		if other, taken := first[m]; taken {
			faults = append(faults, endpoint.Faultf(fmt.Sprintf("/state/uplinks/%d/match", i),
				"match is that of %s: give each uplink its own NIC", other))
			continue
		}
		first[m] = fmt.Sprintf("/state/uplinks/%d", i)
	}
	return faults
}

// references checks that every uplink and region that is named exists.
func (d *Document) references() []endpoint.Fault {
	r := references{known: slices.Clone(d.local), regions: d.State.Regions}
	for _, u := range d.State.Uplinks {
		r.known = append(r.known, u.Name)
	}
	r.needed = len(r.known) > 0 && d.DefaultUplink() == ""

	if m := d.State.Device.Management; m != nil {
		for i, name := range m.Uplinks {
			at := fmt.Sprintf("/state/device/management/uplinks/%d", i)
			r.uplink(name, at)
			if slices.Contains(m.Uplinks[:i], name) {
				r.faults = append(r.faults, endpoint.Faultf(at, "uplink %q stands twice: keep one", name))
			}
		}
	}
	for _, region := range sortedKeys(d.State.Regions) {
		r.uplink(d.State.Regions[region], "/state/regions/"+escape(region))
	}
	for i, f := range d.State.Flows {
		at := fmt.Sprintf("/state/flows/%d", i)
		for j, in := range f.Inputs {
			here := fmt.Sprintf("%s/inputs/%d", at, j)
			r.item(in.Uplink, "", here)
		}
		for j, out := range f.Outputs {
			here := fmt.Sprintf("%s/outputs/%d", at, j)
			if out.RTP == nil {
				r.item(out.Uplink, out.Region, here)
				continue
			}
			own := 0
			for k, dest := range out.RTP.Destinations {
				r.uplink(dest.Uplink, fmt.Sprintf("%s/rtp/destinations/%d/uplink", here, k))
				if dest.Uplink != "" {
					own++
				}
			}
			needed := r.needed
			r.needed = needed && own < len(out.RTP.Destinations)
			r.item(out.Uplink, out.Region, here)
			r.needed = needed
		}
	}
	return r.faults
}

// references collects the faults of names that stand for nothing.
type references struct {
	known   []string // uplinks
	regions map[string]string
	needed  bool // there are uplinks and none is the default
	faults  []endpoint.Fault
}

// uplink checks a name, where there is one.
func (r *references) uplink(name, at string) {
	if name == "" || slices.Contains(r.known, name) {
		return
	}
	advice := "add it to uplinks"
	if near := nearest(name, r.known); near != "" {
		advice = fmt.Sprintf("did you mean %s?", near)
	}
	r.notFound(at, "there is no uplink %s: %s", quote(name), advice)
}

// item checks how an input or output comes to its uplink.
func (r *references) item(uplink, region, at string) {
	_, known := r.regions[region]
	r.uplink(uplink, at+"/uplink")
	switch {
	case uplink != "":
	case region != "" && !known:
		advice := "add it to regions, or name an uplink"
		if near := nearest(region, sortedKeys(r.regions)); near != "" {
			advice = fmt.Sprintf("did you mean %s?", near)
		}
		r.notFound(at+"/region", "there is no region %s: %s", quote(region), advice)
	case region == "" && r.needed:
		r.faults = append(r.faults, endpoint.Faultf(at+"/uplink", "uplink is missing, and there is no default uplink: name one, or give one of uplinks \"default\": true"))
	}
}

func (r *references) notFound(at, format string, args ...any) {
	f := endpoint.Faultf(at, format, args...)
	f.Code = endpoint.CodeNotFound
	r.faults = append(r.faults, f)
}
