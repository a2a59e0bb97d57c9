package console

import (
	"strings"
	"testing"
)

func TestLoginAndLogout(t *testing.T) {
	s := sit(t, Options{Client: newFakeBox(t, "testdata/none.json"), Login: true, Line: "ttyS9"})
	s.login()
	if strings.Contains(s.shown(), "staple") {
		t.Errorf("the password is shown:\n%s", s.shown())
	}
	s.send("logout\r")
	if err := s.ends(); err != nil {
		t.Error(err)
	}
}

// A wrong word is marked where it was typed.
func TestCaret(t *testing.T) {
	s := sit(t, Options{Client: newFakeBox(t, "testdata/none.json"), Name: "root"})
	s.expect("> ")
	if got := s.do("terminal widht 80", "sluice> "); !strings.Contains(got, "\n                 ^\r\nThere is no widht here") {
		t.Errorf("%q", got)
	}
}
