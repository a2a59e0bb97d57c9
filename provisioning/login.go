package provisioning

import (
	"context"
	"crypto/rand"
	"fmt"
	"math"
	"regexp"
	"sync"
	"time"

	"sluice/device/control"
	"sluice/provisioning/config"
)

const (
	maxSessions  = 32
	sessionIdle  = time.Hour
	maxLoginWait = time.Minute // the longest pause after a failure
	failuresTold = 3           // one by one; further ones at most once a minute
)

// login lets people in at the box's console. There is one password, that of
// the box; the names are for those who read later who did what. Whoever may
// open the control socket needs none of this: it is the console that asks.
type login struct {
	one chan struct{} // held while a password is checked: each check takes 19 MiB

	mu       sync.Mutex
	password password
	failures int       // in a row
	until    time.Time // no password is taken before
	told     time.Time // when a failure was last told
	sessions map[string]*session
}

// A session is what a login began.
type session struct {
	name, line string
	uid        int // whose it is: a token is of no use to other users
	used       time.Time
}

func newLogin() login {
	return login{one: make(chan struct{}, 1), sessions: make(map[string]*session)}
}

var (
	personName = regexp.MustCompile(`^[a-z0-9._-]{1,32}$`)
	lineName   = regexp.MustCompile(`^[A-Za-z0-9/._:-]{0,32}$`)
)

// who returns who a caller is by his session, and on which line. Both are
// empty where he did not log in.
func (a *Agent) who(by control.Caller) (name, line string) {
	l := &a.login
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.sessions[by.Session]
	if s == nil || s.uid != by.UID {
		return "", ""
	}
	at := time.Now()
	if at.Sub(s.used) > sessionIdle {
		delete(l.sessions, by.Session)
		return "", ""
	}
	s.used = at
	return s.name, s.line
}

const sessionEnded = "the session has ended: log in again"

// sessionEnded tells that a caller names a session that is not known: it ended,
// or the daemon was started again. What he asks for would have no name to it.
func (a *Agent) sessionEnded(by control.Caller) bool {
	if by.Session == "" {
		return false
	}
	name, _ := a.who(by)
	return name == ""
}

// tellSession says whose session it is. A console asks before each line, so
// that nobody types on in one that has ended.
func (a *Agent) tellSession(_ context.Context, c *call) (any, error) {
	if err := c.read(&struct{}{}); err != nil {
		return nil, err
	}
	name, line := a.who(*c.by)
	return map[string]string{"name": name, "line": line}, nil
}

// called returns who a caller is in a sentence.
func (a *Agent) called(by control.Caller) string {
	if name, _ := a.who(by); name != "" {
		return name
	}
	return fmt.Sprintf("user %d", by.UID)
}

// audit is what an event tells of a caller.
func audit(name, line string, by control.Caller) map[string]any {
	data := map[string]any{"uid": by.UID, "pid": by.PID}
	if name != "" {
		data["name"] = name
	}
	if line != "" {
		data["line"] = line
	}
	return data
}

// tooEarly returns the refusal of a login while a pause lasts, or nil.
func (l *login) tooEarly() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if wait := time.Until(l.until); wait > 0 {
		return &refused{code: codeTooMany, message: "too soon after a failure: wait", data: retryAfter(wait)}
	}
	return nil
}

func retryAfter(wait time.Duration) map[string]int {
	return map[string]int{"retry_after_s": int(math.Ceil(wait.Seconds()))}
}

// logIn lets someone in who knows the password.
func (a *Agent) logIn(ctx context.Context, c *call) (any, error) {
	var data struct {
		Name     string `json:"name"`
		Password string `json:"password"`
		Line     string `json:"line"`
	}
	if err := c.read(&data); err != nil {
		return nil, no(400, "data needs name, password and line") // the error may quote what was read
	}
	switch {
	case !personName.MatchString(data.Name):
		return nil, no(400, "name: use 1 to 32 of a-z, 0-9, dot, underscore and hyphen") // it may be the password
	case data.Name == data.Password: // a name that is let in is told to many
		return nil, no(400, "the name is the password: press Enter, and then type your name")
	case !lineName.MatchString(data.Line):
		return nil, no(400, "line: use at most 32 letters and digits, such as ttyS1")
	}
	l := &a.login
	if err := l.tooEarly(); err != nil {
		return nil, err
	}
	select {
	case l.one <- struct{}{}:
	case <-ctx.Done():
		return nil, no(408, "the login was given up before its turn came")
	}
	defer func() { <-l.one }()
	if err := l.tooEarly(); err != nil { // one that was tried meanwhile has failed
		return nil, err
	}
	l.mu.Lock()
	p := l.password
	l.mu.Unlock()
	if len(data.Password) > 4*maxPassword || !p.matches(data.Password) {
		return nil, a.loginFailed(data.Line, *c.by)
	}
	if p.First != "" {
		a.settlePassword(password{Hash: newHash(data.Password, passwordCost).String()})
	}
	token := l.begin(data.Name, data.Line, c.by.UID)
	message := data.Name + " logged in"
	if data.Line != "" {
		message += " on " + data.Line
	}
	a.event(config.SeverityInfo, "login", "console", message, audit(data.Name, data.Line, *c.by))
	return map[string]string{"session": token}, nil
}

// settlePassword keeps the hash of a first password that was used. Where it
// cannot be stored, the first one stays.
func (a *Agent) settlePassword(p password) {
	if err := a.keepPassword(p); err != nil {
		a.log.Error("the first password is kept as it is", "error", err)
		return
	}
	a.login.mu.Lock()
	a.login.password = p
	a.login.mu.Unlock()
}

// begin makes a session. Where there are too many, the one that was used least
// recently ends: nobody is locked out.
func (l *login) begin(name, line string, uid int) (token string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.failures, l.until = 0, time.Time{}
	oldest := ""
	for t, s := range l.sessions {
		if oldest == "" || s.used.Before(l.sessions[oldest].used) {
			oldest = t
		}
	}
	if len(l.sessions) >= maxSessions {
		delete(l.sessions, oldest)
	}
	token = rand.Text()
	l.sessions[token] = &session{name: name, line: line, uid: uid, used: time.Now()}
	return token
}

// loginFailed makes the next attempt wait: 1 s, 2 s, 4 s and so on. The name
// that was typed is told nowhere: it may be the password, typed a line too early.
func (a *Agent) loginFailed(line string, by control.Caller) error {
	l := &a.login
	l.mu.Lock()
	l.failures++
	failures, at := l.failures, time.Now()
	wait := min(time.Second<<min(failures-1, 10), maxLoginWait)
	l.until = at.Add(wait)
	tell := failures <= failuresTold || at.Sub(l.told) >= time.Minute
	if tell {
		l.told = at
	}
	l.mu.Unlock()
	if tell {
		data := audit("", line, by)
		data["failures"] = failures
		a.event(config.SeverityWarning, "login_failed", "console",
			fmt.Sprintf("a wrong password for the console: %d in a row", failures), data)
	}
	return &refused{code: 401, message: "this is not the password", data: retryAfter(wait)}
}

// logOut ends the caller's session.
func (a *Agent) logOut(_ context.Context, c *call) (any, error) {
	if err := c.read(&struct{}{}); err != nil {
		return nil, err
	}
	name, line := a.who(*c.by)
	if name == "" {
		return nil, nil // it has ended already
	}
	a.login.mu.Lock()
	delete(a.login.sessions, c.by.Session)
	a.login.mu.Unlock()
	a.event(config.SeverityInfo, "logout", "console", name+" logged out", audit(name, line, *c.by))
	return nil, nil
}

// changePassword sets the password, and ends every session but the caller's.
func (a *Agent) changePassword(ctx context.Context, c *call) (any, error) {
	var data struct {
		Password string `json:"password"`
	}
	if err := c.read(&data); err != nil {
		return nil, no(400, "data needs password") // the error may quote it
	}
	if err := checkPassword(data.Password); err != nil {
		return nil, no(400, "%v", err)
	}
	name, line := a.who(*c.by)
	if name == "" && c.by.Session != "" {
		return nil, no(401, "the session has ended: log in again")
	}
	l := &a.login
	select {
	case l.one <- struct{}{}:
	case <-ctx.Done():
		return nil, no(408, "the change was given up before its turn came")
	}
	defer func() { <-l.one }()
	p := password{Hash: newHash(data.Password, passwordCost).String()}
	if err := a.keepPassword(p); err != nil {
		a.log.Error("password not changed", "error", err)
		return nil, no(codeNotStored, "the state directory cannot be written: nothing was changed")
	}
	l.mu.Lock()
	l.password = p
	for token := range l.sessions {
		if token != c.by.Session {
			delete(l.sessions, token)
		}
	}
	l.mu.Unlock()
	a.event(config.SeverityInfo, "password_changed", "console",
		a.called(*c.by)+" changed the console's password", audit(name, line, *c.by))
	return nil, nil
}

// A console document is what the console shows before anyone has logged in.
type consoleDocument struct {
	Name          string `json:"name"` // its host name where it has one, or else its id in the fleet
	SerialNumber  string `json:"serial_number"`
	Model         string `json:"model"`
	Version       string `json:"version"`
	Factory       bool   `json:"factory"` // nothing is configured yet
	FirstPassword string `json:"first_password,omitempty"`
}

// consoleDocument holds the password as long as it was never used: whoever
// reads it stands at the box, or may open its control socket.
func (a *Agent) consoleDocument() consoleDocument {
	i, f := a.info(), a.inForce.Load()
	name := f.document.State.Device.Hostname
	if name == "" {
		name = a.o.Device
	}
	a.login.mu.Lock()
	defer a.login.mu.Unlock()
	return consoleDocument{
		Name: name, SerialNumber: i.SerialNumber, Model: i.Model, Version: i.Version,
		Factory: f.origin == config.OriginFactory, FirstPassword: a.login.password.First,
	}
}
