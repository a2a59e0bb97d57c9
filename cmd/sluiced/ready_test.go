package main

import (
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sluice/device/control"
	"sluice/relay/relaytest"
	"sluice/test/harness"
)

// What the service manager is told to be ready is ready: what was stored is in
// force, and every listener answers.
func TestReadyMeansBound(t *testing.T) {
	harness.NeedRules(t)
	state := t.TempDir()
	p := start(t, "--state", state)
	// More than the box starts at once.
	var flows []string
	var ports []int
	port := func() int {
		ports = append(ports, relaytest.FreePort(t))
		return ports[len(ports)-1]
	}
	for f := range 2 {
		var outputs []string
		for o := range 35 {
			outputs = append(outputs, fmt.Sprintf(`{"id": "o%d", "name": "O%d", "protocol": "SRT", "srt": {"mode": "listener", "port": %d}}`, o, o, port()))
		}
		flows = append(flows, fmt.Sprintf(`{"id": "f%d", "name": "x", "inputs": [{"id": "enc", "protocol": "SRT", "srt": {"mode": "listener", "port": %d}}], "outputs": [%s]}`,
			f, port(), strings.Join(outputs, ",")))
	}
	document := fmt.Sprintf(`{"schema": "sluice.config/v1", "state": {"flows": [%s]}}`, strings.Join(flows, ","))
	if status, body, err := control.NewClient(p.socket).Apply(t.Context(), []byte(document)); err != nil || status != 200 {
		t.Fatalf("apply: %d %s %v", status, body, err)
	}
	p.end(t)

	socket := filepath.Join(t.TempDir(), "notify")
	manager, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: socket, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer manager.Close()
	t.Setenv("NOTIFY_SOCKET", socket)
	read := make(chan string, 1)
	go func() {
		b := make([]byte, 1000)
		manager.SetReadDeadline(time.Now().Add(15 * time.Second))
		n, _ := manager.Read(b)
		for _, port := range ports {
			c, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: port})
			if err == nil {
				c.Close()
				t.Errorf("port %d is free although the daemon is ready", port)
			}
		}
		read <- string(b[:n])
	}()
	p = start(t, "--state", state)
	if said := <-read; !strings.HasPrefix(said, "READY=1\nSTATUS=inputs: 2 ") {
		t.Errorf("the service manager hears %q", said)
	}
	p.end(t)
}
