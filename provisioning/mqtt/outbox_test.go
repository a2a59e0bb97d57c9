package mqtt

import (
	"fmt"
	"math"
	"testing"
	"time"
)

func bodies(entries []*entry) string {
	s := ""
	for _, e := range entries {
		s += e.message.Topic + "=" + string(e.message.Payload) + " "
	}
	return s
}

func TestOutbox(t *testing.T) {
	o := newOutbox(3)
	o.setRetained("a", []byte("1"))
	o.setRetained("b", []byte("1"))
	o.setRetained("a", []byte("2"))
	waiting := &entry{message: Message{Topic: "q", Payload: []byte("0")}, done: make(chan error, 1)}
	o.enqueue(waiting)
	for i := 1; i <= 4; i++ {
		o.enqueue(&entry{message: Message{Topic: "q", Payload: fmt.Append(nil, i)}})
	}
	o.offer("t", []byte("1"))
	o.offer("t", []byte("2"))
	if err := <-waiting.done; err != errOvertaken {
		t.Errorf("the one who waited got %v", err)
	}
	if n := o.droppedCount(); n != 2 {
		t.Errorf("%d dropped", n)
	}
	sent := make(map[string]*entry)
	first := o.take(3, sent)
	if got := bodies(first); got != "a=2 b=1 q=2 " {
		t.Errorf("first %s", got)
	}
	// Not acknowledged: they are sent again in the next session, what was
	// offered is not.
	o.beginSession()
	all := o.take(16, sent)
	if got := bodies(all); got != "a=2 b=1 q=2 q=3 q=4 " {
		t.Errorf("again %s", got)
	}
	sent["a"], sent["b"] = all[0], all[1]
	o.forget(all...)
	// Overtaken while it was on its way: the new body is sent too.
	o.setRetained("a", []byte("3"))
	o.offer("t", []byte("3"))
	if got := bodies(o.take(16, sent)); got != "a=3 t=3 " {
		t.Errorf("then %s", got)
	}
}

func TestBackoffIsExponentialWithFullJitter(t *testing.T) {
	b := backoff{min: time.Second, max: time.Minute}
	for round, bound := range []time.Duration{1, 2, 4, 8, 16, 32, 60, 60, 60} {
		bound *= time.Second
		low, high := bound, time.Duration(0)
		for range 300 {
			b.failures = round
			d := b.next()
			if d < 0 || d > bound {
				t.Fatalf("after %d failures: %v", round, d)
			}
			low, high = min(low, d), max(high, d)
		}
		// 300 draws all above a quarter, or all below three: once in 10^37.
		if low > bound/4 || high < 3*bound/4 {
			t.Errorf("after %d failures: only between %v and %v of %v", round, low, high, bound)
		}
	}
	b.failures = math.MaxInt
	if d := b.next(); d < 0 || d > time.Minute {
		t.Errorf("after very many: %v", d)
	}
	if b.reset(); b.next() > time.Second {
		t.Error("not reset")
	}
}
