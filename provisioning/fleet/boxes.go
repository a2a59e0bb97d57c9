// Package fleet is what the reference fleet manager serves: a list of boxes
// and their state, made of what they publish, and a small MQTT broker for
// where there is no other. It keeps no state but what retained topics hold.
package fleet

import (
	"encoding/json"
	"regexp"
	"slices"
	"strings"
	"sync"

	"sluice/provisioning/config"
)

// Filters are the topics of all boxes that Receive understands.
var Filters = []string{
	"sluice/v1/+/status", "sluice/v1/+/info", "sluice/v1/+/state", "sluice/v1/+/config/reported", "sluice/v1/+/telemetry",
}

// What anyone who may publish can make the fleet manager remember.
const (
	maxBoxes = 2000
	maxBody  = 512 << 10 // bytes of one document: a reported one may exceed a desired one
	maxTotal = 256 << 20 // bytes of all documents
)

// names are the documents of a box by the end of their topic.
var names = map[string]string{
	"status": "status", "info": "info", "state": "state", "config/reported": "reported", "telemetry": "telemetry",
}

var deviceID = regexp.MustCompile(`^[a-z0-9-]{1,63}$`)

// A Box is what one box has published.
type Box struct {
	ID     string
	Status config.Status
	Info   config.Info
	State  config.StateReport
	// Reported is without its State; that is in Documents.
	Reported  config.Reported
	Documents map[string]json.RawMessage // by name: status, info, state, reported, telemetry
}

// Boxes remembers what boxes publish. The zero value knows none.
type Boxes struct {
	mu    sync.Mutex
	boxes map[string]map[string]json.RawMessage
	total int // bytes of all documents
	most  int // bound of total; 0: maxTotal
}

// Receive takes what was published to a topic. What is no document of a box,
// or would be too much to remember, is passed over: it reports whether it was
// taken.
func (b *Boxes) Receive(topic string, body []byte) bool {
	rest, ok := strings.CutPrefix(topic, "sluice/v1/")
	id, end, split := strings.Cut(rest, "/")
	name, known := names[end]
	if !ok || !split || !known || !deviceID.MatchString(id) {
		return false
	}
	if len(body) > maxBody || len(body) > 0 && !readable(name, body) {
		return false
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	box := b.boxes[id]
	total := b.total - len(box[name]) + len(body)
	most := b.most
	if most == 0 {
		most = maxTotal
	}
	switch {
	case len(body) == 0: // the retained message was cleared
		delete(box, name)
		if len(box) == 0 {
			delete(b.boxes, id)
		}
		b.total = total
		return true
	case total > most, box == nil && len(b.boxes) >= maxBoxes:
		return false
	case box == nil:
		if b.boxes == nil {
			b.boxes = make(map[string]map[string]json.RawMessage)
		}
		box = make(map[string]json.RawMessage)
		b.boxes[id] = box
	}
	box[name] = slices.Clone(body)
	b.total = total
	return true
}

// readable tells whether a document is what its name says.
func readable(name string, body []byte) bool {
	var box Box
	return read(&box, name, body) == nil
}

func read(box *Box, name string, body []byte) error {
	switch name {
	case "status":
		return json.Unmarshal(body, &box.Status)
	case "info":
		return json.Unmarshal(body, &box.Info)
	case "state":
		return json.Unmarshal(body, &box.State)
	case "reported":
		err := json.Unmarshal(body, &box.Reported)
		box.Reported.State = nil
		return err
	}
	var figures config.Telemetry
	return json.Unmarshal(body, &figures)
}

// List returns every box, by id.
func (b *Boxes) List() []Box {
	b.mu.Lock()
	ids := make([]string, 0, len(b.boxes))
	for id := range b.boxes {
		ids = append(ids, id)
	}
	b.mu.Unlock()
	slices.Sort(ids)
	all := make([]Box, 0, len(ids))
	for _, id := range ids {
		if box, ok := b.Get(id); ok {
			all = append(all, box)
		}
	}
	return all
}

// Get returns one box.
func (b *Boxes) Get(id string) (Box, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	documents, ok := b.boxes[id]
	if !ok {
		return Box{}, false
	}
	box := Box{ID: id, Documents: make(map[string]json.RawMessage, len(documents))}
	for name, body := range documents {
		box.Documents[name] = body
		if err := read(&box, name, body); err != nil {
			delete(box.Documents, name) // not reached: it was readable when it came
		}
	}
	return box, true
}
