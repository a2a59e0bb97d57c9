package store

import (
	"errors"
	"io/fs"
	"maps"
	"slices"
)

// errCut is what every call returns once the power is gone.
var errCut = errors.New("power cut")

// A disk is a fileSystem in memory that forgets, when its power is cut, what
// was not synced: contents of files, and names of the directory.
type disk struct {
	names   map[string]*node // as the running system sees the directory
	durable []map[string]*node
	// durable[0] is the directory as last synced; each later one has one more
	// change applied, and a cut may leave any of them.

	steps int // calls that change something so far
	cutAt int // the call at which the power goes; 0: never
	fail  int // the call that fails alone, the system running on; 0: none
}

type node struct {
	content []byte
	synced  []byte
}

func newDisk() *disk {
	return &disk{names: map[string]*node{}, durable: []map[string]*node{{}}}
}

// step counts a call and tells whether it happens. Of a call at which the
// power goes, half happens.
func (d *disk) step() error {
	d.steps++
	if d.cutAt > 0 && d.steps >= d.cutAt {
		return errCut
	}
	if d.steps == d.fail {
		return errors.New("no space left on device")
	}
	return nil
}

func (d *disk) changed() { d.durable = append(d.durable, maps.Clone(d.names)) }

func (d *disk) Create(name string) (file, error) {
	if err := d.step(); err != nil {
		return nil, err
	}
	n := &node{}
	d.names[name] = n
	d.changed()
	return &openFile{d, n}, nil
}

func (d *disk) Rename(from, to string) error {
	if err := d.step(); err != nil {
		return err
	}
	d.names[to] = d.names[from]
	delete(d.names, from)
	d.changed()
	return nil
}

func (d *disk) Remove(name string) error {
	if err := d.step(); err != nil {
		return err
	}
	delete(d.names, name)
	d.changed()
	return nil
}

func (d *disk) Sync() error {
	if err := d.step(); err != nil {
		return err
	}
	d.durable = []map[string]*node{maps.Clone(d.names)}
	return nil
}

func (d *disk) Read(name string) ([]byte, error) {
	n, ok := d.names[name]
	if !ok {
		return nil, fs.ErrNotExist
	}
	return slices.Clone(n.content), nil
}

func (d *disk) List() ([]string, error) { return slices.Sorted(maps.Keys(d.names)), nil }

type openFile struct {
	d *disk
	n *node
}

func (f *openFile) Write(p []byte) (int, error) {
	if err := f.d.step(); err != nil {
		f.n.content = append(f.n.content, p[:len(p)/2]...)
		return len(p) / 2, err
	}
	f.n.content = append(f.n.content, p...)
	return len(p), nil
}

func (f *openFile) Sync() error {
	if err := f.d.step(); err != nil {
		return err
	}
	f.n.synced = slices.Clone(f.n.content)
	return nil
}

func (f *openFile) Close() error { return f.d.step() }

// afterCut returns every disk that the power cut may leave: each state of the
// directory since its last sync, with contents that were not synced written
// out in full, in part, or not at all.
func (d *disk) afterCut() []*disk {
	var left []*disk
	for _, names := range d.durable {
		for _, written := range []int{0, 1, 2} {
			after := newDisk()
			for name, n := range names {
				content := n.synced
				if extra := n.content[min(len(n.synced), len(n.content)):]; len(extra) > 0 {
					content = slices.Concat(n.synced, extra[:len(extra)*written/2])
				}
				after.names[name] = &node{content: content, synced: content}
			}
			after.durable = []map[string]*node{maps.Clone(after.names)}
			left = append(left, after)
		}
	}
	return left
}
