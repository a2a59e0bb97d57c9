package rtmp

import (
	"os"
	"runtime"
	"runtime/debug"
	"sync"
	"testing"

	"sluice/relay/endpoint"
)

func countDescriptors(t *testing.T) int {
	t.Helper()
	all, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(all)
}

// TestComeAndGo has publishers and players come and go in many ways, and looks
// at what they leave behind.
func TestComeAndGo(t *testing.T) {
	takesSeconds(t)
	const many, together = 200, 10
	defer debug.SetGCPercent(debug.SetGCPercent(-1)) // it closes what is forgotten
	r, in, out := serving(t)
	goroutines, descriptors := runtime.NumGoroutine(), countDescriptors(t)
	var all sync.WaitGroup
	all.Go(func() {
		for i := range many {
			in.await(endpoint.Listening)
			p := r.publisher()
			for range 3 {
				_ = p.picture()
			}
			if i%2 == 0 {
				_ = p.say(call(0, "FCUnpublish", 0, nil, "key"), call(0, "deleteStream", 0, nil, p.stream))
			}
			_ = p.link.tcp.Close()
		}
	})
	for range together {
		all.Go(func() {
			for i := range many / together {
				w := r.joining("127.0.0.1")
				for range i % 3 {
					w.read()
				}
				if i%2 == 0 {
					_ = w.say(call(0, "deleteStream", 0, nil, w.stream))
				}
				_ = w.link.tcp.Close()
			}
		})
	}
	all.Wait()
	eventually(t, "goroutines and descriptors are back", func() bool {
		return runtime.NumGoroutine() <= goroutines && countDescriptors(t) <= descriptors
	})
	if p, w := in.ledger.Connections.Load(), out.ledger.Connections.Load(); p != many || w != many {
		t.Errorf("%d publishers, %d players", p, w)
	}
	if n := len(out.Status().Sessions); n != 0 {
		t.Errorf("%d players are left", n)
	}
	out.stop()
	in.stop()
	eventually(t, "the server's are gone as well", func() bool {
		return runtime.NumGoroutine() < goroutines && countDescriptors(t) < descriptors
	})
	balanced(t, in.ledger)
	balanced(t, out.ledger)
}
