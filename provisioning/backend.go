package provisioning

import (
	"context"
	"encoding/json"
	"strconv"
	"strings"

	"sluice/device/control"
	"sluice/provisioning/config"
)

var _ control.Backend = (*Agent)(nil)

// Document returns the current body of a document: control.Backend.
func (a *Agent) Document(name string) (json.RawMessage, bool) {
	switch name {
	case "desired":
		return a.inForce.Load().document.RedactedDesired(), true
	case "telemetry":
		return marshal(a.telemetry()), true
	case "info":
		return marshal(a.info()), true
	case "status":
		if a.brokerOf(a.inForce.Load()) == nil {
			return nil, false // there is no session to tell of
		}
		return marshal(a.status()), true
	case "saved":
		return a.saved(0)
	case "commits":
		return a.commits()
	case "fleet":
		return marshal(a.fleet()), true
	case "schema":
		return config.JSONSchema(), true
	case "candidate":
		return marshal(a.candidateDocument()), true
	case "clock":
		return marshal(newKernelClock().document(now())), true
	case "console":
		return marshal(a.consoleDocument()), true
	case "reported", "state", "update":
		return a.board.get(name)
	}
	// saved-1 is the one before saved.
	if back, ok := strings.CutPrefix(name, "saved-"); ok {
		if n, err := strconv.ParseUint(back, 10, 16); err == nil {
			return a.saved(int(n))
		}
	}
	return nil, false
}

// Watch tells of state, telemetry, reported and event, first as they are and
// then as they change: control.Backend.
func (a *Agent) Watch(ctx context.Context, send func(name string, body json.RawMessage) error) error {
	return a.board.watch(ctx, send)
}
