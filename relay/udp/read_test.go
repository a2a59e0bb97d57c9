package udp

import "testing"

// Datagrams that are written and read again, in batches on both sides.
func BenchmarkWriteRead(b *testing.B) {
	const datagrams, size = 16, 1328
	from, to := listen(b, "udp4", Options{}), listen(b, "udp4", Options{Receive: 4 << 20})
	w, r := NewWriter(from, 32), NewReader(to, 32, 2000)
	messages := numbered(datagrams, size, at(four, to))
	b.SetBytes(datagrams * size)
	b.ReportAllocs()
	for b.Loop() {
		if sent, err := w.Write(messages); sent != datagrams || err != nil {
			b.Fatalf("wrote %d: %v", sent, err)
		}
		for got := 0; got < datagrams; {
			d, err := r.Read()
			if err != nil {
				b.Fatal(err)
			}
			got += len(d)
		}
	}
}
