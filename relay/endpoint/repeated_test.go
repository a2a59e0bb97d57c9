package endpoint

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"
)

func TestRepeated(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r Repeated
		worth := func(what string, passedOver int, yes bool) {
			t.Helper()
			if n, ok := r.Worth(what); n != passedOver || ok != yes {
				t.Errorf("after %v: %q is worth a line: %v (%d passed over), want %v (%d)", time.Now(), what, ok, n, yes, passedOver)
			}
		}
		worth("refused", 0, true)
		worth("refused", 0, false)
		worth("gone", 0, true) // another one is new
		worth("refused", 0, false)
		time.Sleep(RepeatedEvery)
		worth("refused", 2, true)
		worth("refused", 0, false)
		worth("gone", 0, true)
	})
}

// One who makes up ever new texts does not make the box remember them all.
func TestRepeatedIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r Repeated
		for i := range 10 * mostRepeated {
			if _, yes := r.Worth(fmt.Sprint(i)); !yes {
				t.Fatalf("%d is new, and passed over", i)
			}
			time.Sleep(time.Millisecond)
		}
		if len(r.said) != mostRepeated {
			t.Errorf("%d are remembered, want %d", len(r.said), mostRepeated)
		}
		if _, yes := r.Worth(fmt.Sprint(10*mostRepeated - 1)); yes {
			t.Error("the newest is forgotten")
		}
	})
}
