package main

import (
	"log/slog"
	"net"
	"os"
)

// notify tells the service manager how the daemon is, as sd_notify(3) says:
// one datagram to the socket that the environment names.
func notify(log *slog.Logger, state string) {
	name := os.Getenv("NOTIFY_SOCKET")
	if name == "" {
		return // nobody asked
	}
	// A leading @ is Go's spelling of the abstract namespace too.
	c, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: name, Net: "unixgram"})
	if err == nil {
		_, err = c.Write([]byte(state))
		c.Close()
	}
	if err != nil {
		log.Warn("the service manager cannot be told", "state", state, "error", err)
	}
}
