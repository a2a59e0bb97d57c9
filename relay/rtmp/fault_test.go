package rtmp

import (
	"strings"
	"testing"

	"sluice/relay/endpoint"
)

// TestFault has connections panic, wherever they can: each ends alone, and who
// waits for it does not wait for ever.
func TestFault(t *testing.T) {
	t.Parallel()
	r, in, out := serving(t)
	good := r.publisher()
	stop := good.live()
	watcher := r.player()
	watcher.sees(5)
	faults := func() int { return strings.Count(r.log.String(), "panicked") }

	// A stranger.
	r.transport.mu.Lock()
	var s *server
	for _, s = range r.transport.servers {
	}
	r.transport.mu.Unlock()
	s.register(nil)
	c := r.callFrom("127.0.0.1", "in")
	_ = c.publishes("key")
	c.hungUp()
	s.unregister(nil)
	eventually(t, "a stranger's is logged", func() bool { return faults() == 1 })

	// A player, when it is written to.
	fan := out.Output.(*listenOutput).fan
	second := r.player()
	second.awaits("it plays", func() bool { return second.got > 0 })
	fan.mu.Lock()
	fan.served[1].mu.Lock()
	fan.served[1].feed.cursor = nil
	fan.served[1].mu.Unlock()
	fan.mu.Unlock()
	_ = second.over()
	eventually(t, "it has left", func() bool { return len(out.Status().Sessions) == 1 })
	if n := faults(); n != 2 {
		t.Errorf("%d faults are logged", n)
	}

	_, n := watcher.seen()
	watcher.sees(n + 20)
	watcher.intact()
	if err := stop(); err != nil {
		t.Error(err)
	}

	// A publisher.
	_ = good.link.tcp.Close()
	in.await(endpoint.Listening)
	in.Input.(*listenInput).to = nil
	bad := r.publisher()
	bad.pictures(1)
	bad.hungUp()
	in.await(endpoint.Listening)
	if n := faults(); n != 3 {
		t.Errorf("%d faults are logged", n)
	}
	in.stop()
	out.stop()
}
