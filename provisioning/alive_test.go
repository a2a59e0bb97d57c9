package provisioning

import (
	"testing"
	"testing/synctest"
	"time"

	"sluice/provisioning/store"
)

// hungStore never returns from writing until it is let go.
type hungStore struct {
	*store.Store
	hangs chan struct{}
}

func (s *hungStore) Save(r store.Record) error {
	<-s.hangs
	return s.Store.Save(r)
}

func TestAliveUnlessItHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := &hungStore{hangs: make(chan struct{})}
		b := startBox(t, "", func(o *Options) {
			disk.Store = o.Store.(*store.Store)
			o.Store = disk
		})
		time.Sleep(time.Minute)
		if age := time.Since(b.Alive()); age > time.Second {
			t.Errorf("an idle box was last alive %v ago", age)
		}
		b.publish(document(1, "a", ""))
		time.Sleep(time.Minute)
		if age := time.Since(b.Alive()); age < 59*time.Second {
			t.Errorf("a box that hangs in its store was alive %v ago", age)
		}
		close(disk.hangs)
		time.Sleep(time.Second)
		if age := time.Since(b.Alive()); age > time.Second {
			t.Errorf("a box whose store works again was last alive %v ago", age)
		}
	})
}
