package remux_test

import (
	"os"
	"syscall"
	"testing"
	"time"

	"sluice/relay/media"
	"sluice/relay/remux"
)

// stream is 4 s of 4 Mbit/s.
func stream(b *testing.B) []byte {
	b.Helper()
	file := b.TempDir() + "/source.ts"
	run(b, "ffmpeg", "-v", "error", "-nostdin", "-f", "lavfi", "-i", "testsrc2=size=640x360:rate=25:duration=4", "-f", "lavfi", "-i", "aevalsrc=0.3*random(0)|0.3*random(1):s=48000:d=4",
		"-c:v", "libx264", "-preset", "ultrafast", "-b:v", "4M", "-minrate", "4M", "-maxrate", "4M", "-bufsize", "1M", "-nal-hrd", "cbr", "-c:a", "aac", "-b:a", "128k", "-f", "mpegts", file)
	data, err := os.ReadFile(file)
	if err != nil {
		b.Fatal(err)
	}
	return data
}

// cpu is how much time of processors the process has had, that of the garbage
// collector included.
func cpu(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// report reports the figure that counts: ms/Mbit, of CPU for each megabit of
// the stream.
func report(b *testing.B, spent time.Duration, size int) {
	b.ReportMetric(float64(spent.Microseconds())/1000/float64(b.N)/(float64(size)*8/1e6), "ms/Mbit")
}

func BenchmarkDemux(b *testing.B) {
	data := stream(b)
	b.SetBytes(int64(len(data)))
	b.ReportAllocs()
	n := 0
	begun := cpu(b)
	for b.Loop() {
		d := remux.NewDemux(remux.Options{})
		newPacer().feed(d, data, 4*time.Second, func(media.Packet) { n++ })
	}
	if n == 0 {
		b.Fatal("no messages")
	}
	report(b, cpu(b)-begun, len(data))
}

func BenchmarkMux(b *testing.B) {
	data := stream(b)
	var packets []media.Packet
	d := remux.NewDemux(remux.Options{})
	newPacer().feed(d, data, 4*time.Second, func(p media.Packet) { packets = append(packets, p) })
	b.SetBytes(int64(len(data)))
	b.ReportAllocs()
	n := 0
	begun := cpu(b)
	for b.Loop() {
		m := remux.NewMux()
		for _, p := range packets {
			m.Feed(p, func(media.Packet) { n++ })
		}
	}
	if n == 0 {
		b.Fatal("no datagrams")
	}
	report(b, cpu(b)-begun, len(data))
}
