package flow

import (
	"context"
	"crypto/sha256"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"sluice/relay/media"
)

// Any interleaving of writing and reading: what a cursor got and what it
// counts as lost are all that was published, in order, none twice.
func TestLedgerAddsUp(t *testing.T) {
	for seed := range uint64(300) {
		random := rand.New(rand.NewPCG(seed, 1))
		f := New(Limits{
			Retain:   time.Duration(random.IntN(400)) * time.Millisecond,
			MaxBytes: (1 + random.IntN(600)) * (8 + slotSize),
		})
		c := open(t, f)
		entry := random.IntN(3) * (1 + random.IntN(200))
		dst := make([]media.Packet, 1+random.IntN(64))
		published, got, lost, last := 0, 0, 0, -1
		read := func() int {
			n, l := c.Poll(dst)
			got, lost = got+n, lost+int(l)
			for _, p := range dst[:n] {
				if number(p) <= last {
					t.Fatalf("seed %d: packet %d after %d", seed, number(p), last)
				}
				last = number(p)
			}
			if got+lost != int(c.Position()) {
				t.Fatalf("seed %d: %d read, %d lost, position %d", seed, got, lost, c.Position())
			}
			return n
		}
		for range 60 {
			switch random.IntN(5) {
			case 0:
				n := random.IntN(700)
				publish(f, published, published+n, entry)
				published += n
			case 1:
				f.SetLimits(Limits{
					Retain:   time.Duration(random.IntN(400)) * time.Millisecond,
					MaxBytes: (1 + random.IntN(600)) * (8 + slotSize),
				})
			default:
				read()
			}
		}
		for read() > 0 {
		}
		if got+lost != published {
			t.Fatalf("seed %d: %d read, %d lost of %d", seed, got, lost, published)
		}
	}
}

// One writer and many readers of every pace, one of them dead: all end, and
// each accounts for every packet; nobody's payload changes.
func TestManyReaders(t *testing.T) {
	const total = 60_000
	f := New(Limits{Retain: 300 * time.Millisecond, MaxBytes: 1 << 20})
	open(t, f) // never read
	dead := open(t, f)
	var readers sync.WaitGroup
	for r := range 16 {
		c := open(t, f)
		readers.Go(func() {
			dst := make([]media.Packet, 1+r*7)
			var got, lost uint64
			last := -1
			for {
				n, l, err := c.Next(context.Background(), dst)
				got, lost = got+uint64(n), lost+l
				for _, p := range dst[:n] {
					if number(p) <= last {
						t.Errorf("reader %d: packet %d after %d", r, number(p), last)
					}
					last = number(p)
				}
				if again, ok := f.At(c.Position() - 1); ok && n > 0 && number(again) != last {
					t.Errorf("reader %d: At gives %d for %d", r, number(again), last)
				}
				if err != nil {
					break
				}
				if r%4 == 3 {
					time.Sleep(time.Millisecond) // a slow one
				}
			}
			if got+lost != total {
				t.Errorf("reader %d: %d read, %d lost of %d", r, got, lost, total)
			}
			if r%4 != 3 && got == 0 {
				t.Errorf("reader %d read nothing", r)
			}
		})
	}
	for n := 0; n < total; n += 10 {
		batch := make([]media.Packet, 10)
		for i := range batch {
			batch[i] = packet(n + i)
			batch[i].RandomAccess = (n+i)%100 == 0
		}
		f.Publish(batch)
		if n%7000 == 0 {
			f.SetLimits(Limits{Retain: time.Duration(50+n/50) * time.Millisecond, MaxBytes: 1 << 20})
		}
	}
	f.Close()
	readers.Wait()
	if dead.Position() != 0 {
		t.Error("the dead cursor moved")
	}
}

// A reader that reads each packet before the next one is published needs every
// single wake-up.
func TestNoWakeUpIsLost(t *testing.T) {
	f, back := New(small), New(small)
	c, answers := open(t, f), open(t, back)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	var echo sync.WaitGroup
	defer echo.Wait()
	defer f.Close()
	echo.Go(func() {
		dst := make([]media.Packet, 1)
		for {
			n, _, err := c.Next(ctx, dst)
			if err != nil {
				return
			}
			back.Publish(dst[:n])
		}
	})
	dst := make([]media.Packet, 1)
	for n := range 20_000 {
		f.Publish([]media.Packet{packet(n)})
		if got, _, err := answers.Next(ctx, dst); err != nil || got != 1 || number(dst[0]) != n {
			t.Fatalf("no answer to packet %d: %v", n, err)
		}
	}
}

func TestPublishedPayloadsNeverChange(t *testing.T) {
	f := New(Limits{Retain: time.Hour, MaxBytes: 1 << 30})
	var slab media.Slab
	random := rand.New(rand.NewPCG(1, 1))
	var before [][32]byte
	scratch := make([]byte, 1316)
	for n := range 3000 {
		for i := range scratch {
			scratch[i] = byte(random.Uint32())
		}
		p := packet(n)
		p.Data = slab.Copy(scratch[:1+random.IntN(1316)])
		p.Header = slab.Copy(scratch[:12])
		before = append(before, sha256.Sum256(append(p.Data, p.Header...)))
		f.Publish([]media.Packet{p})
	}
	for pos, want := range before {
		p, ok := f.At(uint64(pos))
		if !ok || sha256.Sum256(append(p.Data, p.Header...)) != want {
			t.Fatalf("packet %d is not what was published", pos)
		}
	}
}

func TestPublishAllocatesOncePerBatch(t *testing.T) {
	f := New(small)
	c := open(t, f)
	batch := make([]media.Packet, 32)
	dst := make([]media.Packet, 64)
	n := 0
	run := func() {
		for i := range batch {
			batch[i] = media.Packet{Format: session, Arrival: epoch.Add(time.Duration(n) * time.Millisecond), Data: dst[0].Data}
			n++
		}
		f.Publish(batch)
		c.Poll(dst)
	}
	for range 100 {
		run()
	}
	if got := testing.AllocsPerRun(1000, run); got != 1 {
		t.Errorf("%v allocations a batch, want 1", got)
	}
}

func BenchmarkPublish(b *testing.B) {
	for _, cursors := range []int{1, 32, 128} {
		b.Run(map[int]string{1: "1 cursor", 32: "32 cursors", 128: "128 cursors"}[cursors], func(b *testing.B) {
			f := New(Limits{Retain: time.Second, MaxBytes: 64 << 20})
			var readers sync.WaitGroup
			for range cursors {
				c := open(b, f)
				readers.Go(func() {
					dst := make([]media.Packet, 64)
					for {
						if _, _, err := c.Next(context.Background(), dst); err != nil {
							return
						}
					}
				})
			}
			batch := make([]media.Packet, 16)
			data := make([]byte, 1316)
			n := 0
			b.ReportAllocs()
			for b.Loop() {
				for i := range batch {
					batch[i] = media.Packet{Format: session, Arrival: epoch.Add(time.Duration(n) * 100 * time.Microsecond), Data: data}
					n++
				}
				f.Publish(batch)
			}
			f.Close()
			readers.Wait()
		})
	}
}

// Reading costs no memory.
func TestPollDoesNotAllocate(t *testing.T) {
	c, dst := polled(t)
	start := c.pos
	got := testing.AllocsPerRun(1000, func() {
		c.pos = start
		if n, _ := c.Poll(dst); n != len(dst) {
			t.Fatalf("%d packets were there, want %d", n, len(dst))
		}
	})
	if got != 0 {
		t.Errorf("%v allocations a batch", got)
	}
}

func BenchmarkPoll(b *testing.B) {
	c, dst := polled(b)
	start := c.pos
	b.ReportAllocs()
	for b.Loop() {
		c.pos = start
		c.Poll(dst)
	}
}

// polled returns a reader and room for all that it has not read yet.
func polled(tb testing.TB) (*Cursor, []media.Packet) {
	f := New(Limits{Retain: time.Second, MaxBytes: 64 << 20})
	c := open(tb, f)
	batch := make([]media.Packet, 16)
	for i := range batch {
		batch[i] = media.Packet{Format: session, Arrival: epoch, Data: make([]byte, 1316)}
	}
	f.Publish(batch)
	return c, make([]media.Packet, len(batch))
}
