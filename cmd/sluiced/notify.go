package main

import (
	"log/slog"
	"net"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

// A manager is the service manager that started the daemon and wants to be
// told how it is, as sd_notify(3) says: in datagrams to the socket that the
// environment names. It may be called from any goroutine.
type manager struct {
	socket string        // empty: nobody asked
	watch  time.Duration // within which it wants to hear that the daemon lives; 0: never
	log    *slog.Logger
	deaf   atomic.Bool // the last attempt failed
}

// newManager reads the environment of the process with that id.
func newManager(getenv func(string) string, pid int, log *slog.Logger) *manager {
	m := &manager{socket: getenv("NOTIFY_SOCKET"), log: log}
	if of := getenv("WATCHDOG_PID"); of != "" && of != strconv.Itoa(pid) {
		return m // another process is watched
	}
	if usec, err := strconv.ParseInt(getenv("WATCHDOG_USEC"), 10, 64); err == nil && usec > 0 {
		m.watch = time.Duration(usec) * time.Microsecond
	}
	return m
}

// tell sends NAME=VALUE pairs, all in one message.
func (m *manager) tell(state ...string) {
	if m.socket == "" {
		return
	}
	err := send(m.socket, strings.Join(state, "\n"))
	if failed := err != nil; m.deaf.Swap(failed) != failed && failed {
		m.log.Warn("the service manager cannot be told", "state", state, "error", err)
	}
}

func send(socket, message string) error {
	// A leading @ is Go's spelling of the abstract namespace too.
	c, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: socket, Net: "unixgram"})
	if err != nil {
		return err
	}
	defer c.Close()
	// A manager that reads nothing must not hold the daemon up.
	if err := c.SetWriteDeadline(time.Now().Add(time.Second)); err != nil {
		return err
	}
	_, err = c.Write([]byte(message))
	return err
}

// environment is the manager of this process.
func environment(log *slog.Logger) *manager { return newManager(os.Getenv, os.Getpid(), log) }
