package mqtt

import (
	"context"
	"net"
	"os"
	"runtime"
	"sync"
	"testing"

	"sluice/relay/relaytest"
)

// Sessions that break leave neither goroutines nor descriptors behind.
func TestSessionsLeaveNothingBehind(t *testing.T) {
	relaytest.TakesSeconds(t)
	b := startBroker(t, "", nil, false)
	descriptors := func() int {
		all, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Fatal(err)
		}
		return len(all)
	}
	before, open := runtime.NumGoroutine(), descriptors()

	var mu sync.Mutex
	var conn net.Conn
	dial := func(ctx context.Context, network, address string) (net.Conn, error) {
		c, err := (&net.Dialer{}).DialContext(ctx, network, address)
		mu.Lock()
		defer mu.Unlock()
		conn = c
		return c, err
	}
	sessions := make(chan struct{}, 1)
	_, stop := start(t, Config{
		Broker: "mqtt://" + b.address, ClientID: "box",
		MinBackoff: 1, MaxBackoff: 1,
		Dialers: func() []Dialer { return []Dialer{{"wan0", dial}} },
		Presence: func(p Presence) Message {
			if p == Ready {
				sessions <- struct{}{}
			}
			return presence(p)
		},
	}, func(c *Client) { c.Subscribe("box/in", 1, func(Message) {}) })
	for range 50 {
		<-sessions
		mu.Lock()
		conn.(*net.TCPConn).CloseRead() // as if the other end had gone
		mu.Unlock()
	}
	<-sessions
	stop()
	eventually(t, "goroutines are back to where they were", func() bool { return runtime.NumGoroutine() <= before })
	eventually(t, "descriptors are back to where they were", func() bool { return descriptors() <= open })
}
