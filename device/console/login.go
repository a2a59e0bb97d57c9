package console

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"

	"sluice/device/console/figure"
)

const (
	maxLogins  = 3 // refused ones, then there is silence again
	resetLogin = "factory-reset"
	// maxWait bounds what is waited for in front of somebody, whatever the
	// daemon says.
	maxWait = 5 * time.Minute
	// Nobody fails so often in so short a time: the line echoes what it is
	// sent, or is joined to something that talks. It is not listened to for a
	// while then, the longer the more often.
	quickly             = 2 * time.Second
	firstDeaf, lastDeaf = time.Second, 30 * time.Second
)

// personName is a name that the box takes.
var personName = regexp.MustCompile(`^[a-z0-9._-]{1,32}$`)

// begin waits until somebody is there who may give commands.
func (s *session) begin(ctx context.Context) error {
	s.edit, s.width, s.height, s.dumb, s.script = nil, s.o.Width, s.o.Height, s.o.Plain, false
	if !s.o.Login {
		s.user = dash(s.o.Name)
		s.print(s.banner(ctx))
		return nil
	}
	var deaf time.Duration
	for {
		if !s.again {
			if err := s.silence(ctx); err != nil {
				return err
			}
			s.print("\n" + s.banner(ctx) + "\n")
		}
		s.again = false
		began := time.Now()
		err := s.login(ctx)
		switch {
		case err == nil:
			return nil
		case errors.Is(err, errSilence) && time.Since(began) < quickly:
			deaf = min(max(firstDeaf, 2*deaf), lastDeaf)
			if err := s.ignore(ctx, deaf); err != nil {
				return err
			}
			continue
		case errors.Is(err, errSilence), errors.Is(err, errInterrupt), errors.Is(err, errIdle):
			s.in.discard()
			deaf = 0
			continue
		}
		return err
	}
}

// ignore takes no notice of what is typed for a while.
func (s *session) ignore(ctx context.Context, d time.Duration) error {
	for end := time.Now().Add(d); time.Now().Before(end); {
		if _, err := s.in.next(ctx, time.Until(end)); err != nil && !errors.Is(err, errTimeout) {
			return err
		}
	}
	return nil
}

// silence waits for Enter and says nothing.
func (s *session) silence(ctx context.Context) error {
	for {
		k, err := s.in.next(ctx, time.Hour)
		switch {
		case errors.Is(err, errTimeout):
		case err != nil:
			return err
		case k == keyEnter:
			s.lastKey = time.Now()
			return nil
		}
	}
}

// errSilence ends a login that does not come about.
var errSilence = errors.New("no login")

// login asks for name and password. After a refusal it asks for the password
// alone: what was typed ahead meanwhile may be one, and must not be shown.
func (s *session) login(ctx context.Context) error {
	name := ""
	for refusals, none := 0, 0; refusals < maxLogins && none < maxLogins; {
		if name == "" {
			var err error
			switch name, err = s.ask(ctx, "login", ""); {
			case err != nil:
				return err
			case name == "":
				none++
				continue
			case name == resetLogin:
				if err := s.factoryReset(ctx); err != nil {
					s.tell(err)
					if isFatal(err) || ctx.Err() != nil {
						return err
					}
				}
				return errInterrupt // of the login: there was no wrong one
			case !personName.MatchString(name): // it is not repeated: it may be the password
				s.print("A name is of 1 to 32 characters: a-z, 0-9, dot, underscore and hyphen.\n")
				name = ""
				none++
				continue
			}
		}
		password, err := s.secret(ctx, "password")
		switch {
		case err != nil:
			return err
		case password == "": // it is another name
			name = ""
			none++
			s.in.discard()
			continue
		}
		err = s.authenticate(ctx, name, password)
		if err == nil {
			s.user = name
			s.print("\n")
			return nil
		}
		if err := s.refused(ctx, err, name); err != nil {
			return err
		}
		refusals++
	}
	return errSilence
}

func (s *session) authenticate(ctx context.Context, name, password string) error {
	var answer struct {
		Session string `json:"session"`
	}
	s.o.Client.SetSession("")
	err := s.request(ctx, "console-login", map[string]string{"name": name, "password": password, "line": s.o.Line}, &answer)
	if err != nil {
		return err
	}
	s.o.Client.SetSession(answer.Session)
	return nil
}

// refused tells why there is no login, and waits as long as the daemon says.
// What is typed meanwhile is for the next password; the name once more, as some
// are used to begin with it, is not.
func (s *session) refused(ctx context.Context, err error, name string) error {
	s.printf("%s\n", sentence(err.Error()))
	var r *refusal
	if !errors.As(err, &r) {
		return errSilence // the daemon is not there
	}
	var data struct {
		Seconds float64 `json:"retry_after_s"`
	}
	if json.Unmarshal(r.data, &data) != nil || data.Seconds <= 0 {
		return nil
	}
	wait := min(time.Duration(data.Seconds*float64(time.Second)), maxWait)
	s.printf("The next try is possible in %s.\n", figure.Lasting(wait))
	end := time.Now().Add(wait)
	var ahead []key
	for {
		if !time.Now().Before(end) { // also where somebody types on and on
			s.lastKey = time.Now()
			s.in.unread(afterName(ahead, name))
			return nil
		}
		k, err := s.in.next(ctx, time.Until(end))
		switch {
		case errors.Is(err, errTimeout):
		case err != nil:
			return err
		case k == keyInterrupt, k == keyEOF:
			return errInterrupt
		case len(ahead) < maxKeys:
			ahead = append(ahead, k)
		}
	}
}

// afterName is what was typed after a line that is the name, or all.
func afterName(keys []key, name string) []key {
	line := []rune(name)
	if len(keys) <= len(line) || keys[len(line)] != keyEnter {
		return keys
	}
	for i, r := range line {
		if keys[i] != key(r) {
			return keys
		}
	}
	return keys[len(line)+1:]
}

func (s *session) logout(ctx context.Context) {
	if !s.o.Login || ctx.Err() != nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	_ = s.request(ctx, "console-logout", nil, nil) // it ends by itself otherwise
	s.o.Client.SetSession("")
}

// factoryReset asks for what only somebody at the box can read.
func (s *session) factoryReset(ctx context.Context) error {
	s.print(fold("A factory reset takes away all configuration, passwords and keys, and starts the box again.\n", s.width))
	serial, err := s.ask(ctx, "serial number, as on the label", "")
	if err != nil {
		return err
	}
	if strings.TrimSpace(serial) == "" {
		return fmt.Errorf("nothing was reset")
	}
	if err := s.request(ctx, "factory-reset", map[string]string{"serial_number": serial}, nil); err != nil {
		return err
	}
	s.print("The box is reset, and starts again.\n")
	return nil
}
