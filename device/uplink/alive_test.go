package uplink

import (
	"context"
	"testing"
	"time"
)

func TestAliveUnlessItHangs(t *testing.T) {
	t.Parallel()
	m := New(nil, quiet())
	if !m.Alive().IsZero() {
		t.Error("it was alive before Run")
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- m.Run(ctx) }()
	defer func() { cancel(); <-ended }()

	later := func() func() bool {
		last := m.Alive()
		return func() bool { return m.Alive().After(last) }
	}
	for range 2 {
		eventually(t, "it lives on though nothing happens", later())
	}

	// A look that does not return.
	m.looking.Lock()
	defer m.looking.Unlock()
	m.Look()
	eventually(t, "it hangs, and is no longer alive", func() bool {
		was := m.Alive()
		time.Sleep(pulse + 500*time.Millisecond)
		return m.Alive().Equal(was)
	})
}
