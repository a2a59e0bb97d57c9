package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/pflag"
	"golang.org/x/term"

	"sluice/provisioning/config"
)

// secretFlags say where secrets come from: a file, or a prompt. None is ever
// an argument: those are seen in process lists and shell histories.
type secretFlags struct {
	passphraseFile, streamKeyFile, passwordFile string
	askPassphrase, askStreamKey, askPassword    bool
}

func (s *secretFlags) register(f *pflag.FlagSet) {
	f.StringVar(&s.passphraseFile, "passphrase-file", "", "SRT: `file` that holds the passphrase, - for standard input")
	f.BoolVar(&s.askPassphrase, "ask-passphrase", false, "SRT: ask for the passphrase")
	f.StringVar(&s.streamKeyFile, "stream-key-file", "", "RTMP_PUSH: `file` that holds the stream key, - for standard input")
	f.BoolVar(&s.askStreamKey, "ask-stream-key", false, "RTMP_PUSH: ask for the stream key")
	f.StringVar(&s.passwordFile, "password-file", "", "RTMP_PUSH, RTSP: `file` that holds the password, - for standard input")
	f.BoolVar(&s.askPassword, "ask-password", false, "RTMP_PUSH, RTSP: ask for the password")
}

func (s *secretFlags) given() bool { return *s != secretFlags{} }

// putSecrets reads the secrets and puts them where the output has them.
func (c *command) putSecrets(o object, s *secretFlags) error {
	login := "rtsp"
	if o["rtmp"] != nil {
		login = "rtmp"
	}
	for _, each := range []struct {
		name, object, field, file string
		ask                       bool
	}{
		{"passphrase", "srt", "passphrase", s.passphraseFile, s.askPassphrase},
		{"stream key", "rtmp", "stream_key", s.streamKeyFile, s.askStreamKey},
		{"password", login, "password", s.passwordFile, s.askPassword},
	} {
		if each.file == "" && !each.ask {
			continue
		}
		sub, ok := o[each.object].(object)
		if !ok {
			return usagef("an output of protocol %v has no %s", o["protocol"], each.name)
		}
		secret, err := c.readSecret(each.name, each.file)
		if err != nil {
			return err
		}
		if each.object == "rtmp" {
			// The same for every destination: others are set by document.
			for _, d := range objects(sub["destinations"]) {
				d[each.field] = secret
			}
			continue
		}
		sub[each.field] = secret
	}
	return nil
}

// readSecret reads a secret from a file, or asks for it twice.
func (c *command) readSecret(name, file string) (string, error) {
	if file != "" {
		body, err := c.readFile(file)
		if err != nil {
			return "", err
		}
		body = bytes.TrimSuffix(bytes.TrimSuffix(body, []byte("\n")), []byte("\r"))
		if len(body) == 0 {
			return "", fmt.Errorf("%s holds no %s", file, name)
		}
		return string(body), nil
	}
	terminal, ok := c.in.(*os.File)
	if !ok || !term.IsTerminal(int(terminal.Fd())) {
		return "", fmt.Errorf("there is no terminal to ask for the %s: give it in a file", name)
	}
	var typed [2]string
	for i, prompt := range []string{"The " + name + ": ", "Once more: "} {
		fmt.Fprint(c.err, prompt)
		b, err := term.ReadPassword(int(terminal.Fd()))
		fmt.Fprintln(c.err)
		if err != nil {
			return "", fmt.Errorf("the %s: %w", name, err)
		}
		typed[i] = string(b)
	}
	switch {
	case typed[0] != typed[1]:
		return "", errors.New("the two are not the same")
	case typed[0] == "":
		return "", fmt.Errorf("the %s is empty", name)
	}
	return typed[0], nil
}

// readFile reads a file, or standard input for -, no more than a document is
// long.
func (c *command) readFile(name string) ([]byte, error) {
	in := c.in
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		in = f
	}
	body, err := io.ReadAll(io.LimitReader(in, config.MaxDocument+1))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	if len(body) > config.MaxDocument {
		return nil, fmt.Errorf("%s is larger than %d KiB", name, config.MaxDocument>>10)
	}
	return body, nil
}
