package provisioning

import (
	"strconv"
	"sync"
	"time"

	"sluice/provisioning/config"
	"sluice/provisioning/mqtt"
)

// presenceName is where the store keeps the number of the last session.
const presenceName = "bd_seq"

// A presence numbers the sessions with the broker: a will carries the number
// of its session, so that one which arrives late is told from a newer session.
type presence struct {
	mu    sync.Mutex
	bdSeq uint64
	state string // as last told
	since time.Time
}

// load goes on counting where the last start of the daemon stopped. A number
// that is lost starts again: boot_id tells the two apart.
func (p *presence) load(a *Agent) {
	p.state, p.since = config.StatusDisconnected, now()
	text, err := a.o.Store.Get(presenceName)
	if err != nil {
		return
	}
	p.bdSeq, _ = strconv.ParseUint(string(text), 10, 64)
}

// present makes the status message of a moment in a session's life. It is
// called by the connection, from one goroutine.
func (a *Agent) present(moment mqtt.Presence) mqtt.Message {
	p := &a.presence
	p.mu.Lock()
	defer p.mu.Unlock()
	state := config.StatusLost
	switch moment {
	case mqtt.Lost:
		p.bdSeq++
	case mqtt.Init:
		state = config.StatusInit
		// Not at each attempt: a broker that is away would wear out the flash.
		if err := a.o.Store.Put(presenceName, strconv.AppendUint(nil, p.bdSeq, 10)); err != nil {
			a.log.Error("the number of the session cannot be stored", "error", err)
		}
		a.publishInfo() // NICs come and go
	case mqtt.Ready:
		state = config.StatusReady
	case mqtt.Gone:
		state = config.StatusDisconnected
	}
	at := now()
	body := marshal(config.Status{State: state, BdSeq: p.bdSeq, BootID: a.bootID, Timestamp: at})
	if moment != mqtt.Lost {
		p.state, p.since = state, at
	}
	return mqtt.Message{Topic: a.topic("status"), Payload: body, QoS: 1, Retained: true}
}

// status is what the box tells of itself on its own socket: a session that
// broke is disconnected there.
func (a *Agent) status() config.Status {
	session := a.client.Status()
	p := &a.presence
	p.mu.Lock()
	defer p.mu.Unlock()
	s := config.Status{State: p.state, BdSeq: p.bdSeq, BootID: a.bootID, Timestamp: p.since}
	if !session.Connected && s.State != config.StatusDisconnected {
		s.State, s.Timestamp = config.StatusDisconnected, stamp(session.Since)
	}
	return s
}

// publishInfo says what the box is.
func (a *Agent) publishInfo() { a.retain("info", a.info()) }

func (a *Agent) info() config.Info {
	i := a.o.Info()
	i.Schema = config.InfoSchema
	i.Device = a.o.Device
	i.ConfigSchemas = []string{config.Schema}
	i.AgeRecipient = a.seal.recipient()
	return i
}
