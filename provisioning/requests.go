package provisioning

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"sluice/device/control"
	"sluice/provisioning/config"
	"sluice/relay"
)

const (
	maxLogLines  = 1000
	someLogLines = 100
)

// A request is something that the box can be asked to do.
type request struct {
	local bool // only someone at the box may ask for it
	slow  bool // it takes seconds, and holds up no other
	quiet bool // it is no event of its own: it changes nothing, or tells itself
	do    func(a *Agent, ctx context.Context, c *call) (result any, err error)
}

// A call is one request, as it is carried out.
type call struct {
	data json.RawMessage
	by   *control.Caller // nil: the fleet
	// afterwards, if it is set, is done once the answer was given.
	afterwards func(context.Context)
}

// read reads the data of a request strictly: a misspelt field may be the one
// that matters.
func (c *call) read(into any) error {
	if len(c.data) == 0 {
		return nil
	}
	if err := decode(c.data, into); err != nil {
		return no(400, "data cannot be read: %v", err)
	}
	return nil
}

// requests are all that there are, by name.
func requests() map[string]request {
	return map[string]request{
		"output-kick":    {do: (*Agent).kick},
		"flow-restart":   {do: (*Agent).restartFlow},
		"input-inspect":  {do: (*Agent).inspectInput, slow: true},
		"log-tail":       {do: (*Agent).logTail, quiet: true},
		"output-explain": {do: (*Agent).explainOutput, quiet: true},
		"test":           {do: (*Agent).test, slow: true},
		"identify":       {do: (*Agent).identify, slow: true},
		"reboot":         {do: (*Agent).reboot, slow: true},
		"support-bundle": {do: (*Agent).supportBundle, slow: true},

		"commit-confirm": {do: settleCommit(confirmIt), local: true, quiet: true},
		"commit-cancel":  {do: settleCommit(cancelIt), local: true, quiet: true},

		"factory-reset": {do: (*Agent).factoryReset, local: true, quiet: true},

		"candidate-put":      {do: (*Agent).putCandidate, local: true, quiet: true},
		"candidate-check":    {do: (*Agent).checkCandidate, local: true, quiet: true},
		"candidate-commit":   {do: (*Agent).commitCandidate, local: true, quiet: true},
		"candidate-discard":  {do: (*Agent).discardCandidate, local: true, quiet: true},
		"candidate-rollback": {do: (*Agent).rollBackCandidate, local: true, quiet: true},

		"console-login":    {do: (*Agent).logIn, local: true, quiet: true},
		"console-logout":   {do: (*Agent).logOut, local: true, quiet: true},
		"console-password": {do: (*Agent).changePassword, local: true, quiet: true},
		"console-session":  {do: (*Agent).tellSession, local: true, quiet: true},
	}
}

// A refused request says why, with a code of HTTP, and may carry data.
type refused struct {
	code    int
	message string
	data    any
}

func (r *refused) Error() string { return r.message }

func no(code int, format string, args ...any) error {
	return &refused{code: code, message: fmt.Sprintf(format, args...)}
}

// perform carries out a request of by, of the fleet where by is nil, or says
// why not. What it returns beside the answer is done once that was given.
func (a *Agent) perform(ctx context.Context, name string, r config.Request, by *control.Caller) (config.Response, func(context.Context)) {
	wanted, ok := requests()[name]
	if !ok || wanted.local && by == nil {
		return refusal(r.Transaction, 404, "there is no request %q", name), nil
	}
	c := &call{data: r.Data, by: by}
	result, err := wanted.do(a, ctx, c)
	if err != nil {
		return failure(r.Transaction, err), nil
	}
	response := config.Response{Transaction: r.Transaction, Status: "ok"}
	if result != nil {
		response.Data = marshal(result)
	}
	return response, c.afterwards
}

// failure is the answer of a request that could not be carried out.
func failure(transaction string, err error) config.Response {
	code := codeInternal
	var why *refused
	switch {
	case errors.As(err, &why):
		r := refusal(transaction, why.code, "%s", why.message)
		if why.data != nil {
			r.Data = marshal(why.data)
		}
		return r
	case errors.Is(err, relay.ErrNotFound), errors.Is(err, errNoUplink):
		code = 404
	case errors.Is(err, errBusy):
		code = codeTooMany
	}
	return refusal(transaction, code, "%v", err)
}

// Request carries out an action for someone at the box: control.Backend. It
// needs neither transaction nor expires.
func (a *Agent) Request(ctx context.Context, name string, raw []byte, by control.Caller) (int, json.RawMessage) {
	var response config.Response
	var afterwards func(context.Context)
	var r config.Request
	var err error
	called := a.called(by) // before it may end his session
	person, line := a.who(by)
	if len(bytes.TrimSpace(raw)) > 0 {
		r, err = readRequest(raw)
	}
	switch {
	case err != nil:
		response = refusal(r.Transaction, 400, "%v", err)
	case !r.Expires.IsZero() && !time.Now().Before(r.Expires):
		response = refusal(r.Transaction, 408, "the request expired at %s", r.Expires.UTC().Format(time.RFC3339))
	case name != "console-login" && name != "console-logout" && a.sessionEnded(by):
		response = refusal(r.Transaction, 401, "%s", sessionEnded)
	default:
		response, afterwards = a.perform(ctx, name, r, &by)
	}
	if response.Error != nil {
		return response.Error.Code, marshal(response)
	}
	if !requests()[name].quiet {
		a.event(config.SeverityInfo, "request", name, fmt.Sprintf("%s was carried out for %s on the box", name, called), audit(person, line, by))
	}
	if afterwards != nil {
		a.action.later(afterwards)
	}
	return 200, marshal(response)
}

// later has something done once the one who asks has his answer, however busy
// the box is. Where the like is to be done already, that is enough.
func (s *actions) later(do func(context.Context)) {
	select {
	case s.last <- do:
	default:
	}
}

// readRequest reads one strictly.
func readRequest(raw []byte) (r config.Request, err error) {
	if err := decode(raw, &r); err != nil {
		return r, fmt.Errorf("the request cannot be read: %w", err)
	}
	return r, nil
}

func decode(raw []byte, into any) error {
	d := json.NewDecoder(bytes.NewReader(raw))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return err
	}
	if d.More() {
		return errors.New("something follows the object")
	}
	return nil
}

func (a *Agent) kick(_ context.Context, c *call) (any, error) {
	var data struct {
		Flow    string `json:"flow"`
		Output  string `json:"output"`
		Session string `json:"session"`
	}
	if err := c.read(&data); err != nil {
		return nil, err
	}
	if data.Flow == "" || data.Output == "" || data.Session == "" {
		return nil, no(400, "data needs flow, output and session")
	}
	return nil, a.o.Engine.Kick(data.Flow, data.Output, data.Session)
}

// readFlow reads data that names a flow alone.
func (c *call) readFlow() (string, error) {
	var data struct {
		Flow string `json:"flow"`
	}
	err := c.read(&data)
	if err == nil && data.Flow == "" {
		err = no(400, "data needs flow")
	}
	return data.Flow, err
}

func (a *Agent) restartFlow(_ context.Context, c *call) (any, error) {
	flow, err := c.readFlow()
	if err != nil {
		return nil, err
	}
	return nil, a.o.Engine.RestartFlow(flow)
}

func (a *Agent) inspectInput(ctx context.Context, c *call) (any, error) {
	flow, err := c.readFlow()
	if err != nil {
		return nil, err
	}
	return a.inspect(ctx, flow)
}

func (a *Agent) logTail(_ context.Context, c *call) (any, error) {
	var data struct {
		Lines *int `json:"lines"`
	}
	if err := c.read(&data); err != nil {
		return nil, err
	}
	lines := someLogLines
	if data.Lines != nil {
		lines = *data.Lines
	}
	switch {
	case lines < 1 || lines > maxLogLines:
		return nil, no(400, "lines is %d: use 1 to %d", lines, maxLogLines)
	case a.o.LogTail == nil:
		return nil, no(501, "the box keeps no log lines")
	}
	return map[string][]string{"lines": append([]string{}, a.o.LogTail(lines)...)}, nil
}

func (a *Agent) test(ctx context.Context, c *call) (any, error) {
	var t trial
	if err := c.read(&t); err != nil {
		return nil, err
	}
	if err := t.check(); err != nil {
		return nil, no(400, "%v", err)
	}
	return a.try(ctx, t)
}
