package store

import (
	"bytes"
	"testing"
)

// Whatever a file holds, Load gives what was saved, or passes over it.
func FuzzLoad(f *testing.F) {
	d := newDisk()
	s, _ := open(d)
	if err := s.Save(record(2)); err != nil {
		f.Fatal(err)
	}
	good := d.names[fileName(1)].content
	f.Add(good)
	f.Add([]byte(magic))
	f.Add(good[:headerLength])
	f.Add(append(bytes.Clone(good[:headerLength-1]), '\n', '{', '}'))
	f.Fuzz(func(t *testing.T, content []byte) {
		d := newDisk()
		s, err := open(d)
		if err != nil {
			t.Fatal(err)
		}
		mustSave(t, s, record(1))
		d.names[fileName(2)] = &node{content: content}
		r, passedOver, err := s.Load(nil)
		if err != nil || r == nil {
			t.Fatalf("%v, %v", r, err)
		}
		want, wrong := record(1), 1
		if bytes.Equal(content, good) {
			want, wrong = record(2), 0
		}
		if !same(*r, want) || len(passedOver) != wrong {
			t.Errorf("%q: %+v, %v", content, r, passedOver)
		}
	})
}
