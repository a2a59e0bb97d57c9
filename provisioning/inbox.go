package provisioning

import (
	"bytes"
	"encoding/json"
	"sync"

	"sluice/provisioning/config"
	"sluice/provisioning/mqtt"
)

// An inbox holds the desired document that waits for its turn: the newest
// alone, because it says everything that those before it said.
type inbox struct {
	wake chan struct{} // something waits; capacity 1

	mu      sync.Mutex
	waiting []byte
}

// put returns the document that raw replaces, nil if none waited.
func (i *inbox) put(raw []byte) (replaced []byte) {
	i.mu.Lock()
	replaced, i.waiting = i.waiting, raw
	i.mu.Unlock()
	select {
	case i.wake <- struct{}{}:
	default:
	}
	return replaced
}

func (i *inbox) take() (raw []byte) {
	i.mu.Lock()
	defer i.mu.Unlock()
	raw, i.waiting = i.waiting, nil
	return raw
}

// receiveDesired is called by the connection, and does not wait.
func (a *Agent) receiveDesired(m mqtt.Message) {
	if len(m.Payload) == 0 {
		a.log.Info("the desired configuration was cleared: the one in force stays", "version", a.inForce.Load().version())
		return
	}
	raw := m.Payload
	if len(raw) > config.MaxDocument {
		a.refuseTooLarge(len(m.Payload))
		return
	}
	if replaced := a.inbox.put(raw); replaced != nil && !bytes.Equal(replaced, raw) {
		e := readEnvelope(replaced)
		a.answerAccepted(&config.Accepted{
			Version: e.Version, ClientToken: e.ClientToken,
			Status: config.StatusSuperseded, Timestamp: now(),
		})
	}
}

// An envelope is what an answer repeats of a document that nobody validated.
type envelope struct {
	Version     uint64
	ClientToken string
}

// readEnvelope reads as much as can be read.
func readEnvelope(raw []byte) (e envelope) {
	var fields struct {
		Version     json.RawMessage `json:"version"`
		ClientToken json.RawMessage `json:"client_token"`
	}
	if json.Unmarshal(raw, &fields) != nil {
		return e
	}
	if json.Unmarshal(fields.Version, &e.Version) != nil {
		e.Version = 0
	}
	if json.Unmarshal(fields.ClientToken, &e.ClientToken) != nil || len([]rune(e.ClientToken)) > 64 {
		e.ClientToken = ""
	}
	return e
}
