// Package peers is what is measured: the product, what users would otherwise
// run, and plain loops that show what the machine can do.
package peers

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"sluice/bench/load"
	"sluice/bench/wire"
)

// A Job is what a relay is asked to do, on the loopback.
type Job struct {
	In      load.Protocol
	InPorts []int // it listens there; SRT callers come, or datagrams
	Out     load.Protocol
	// Where it calls, or sends datagrams: shared out evenly between the inputs.
	OutPorts []int
	// Where it listens for viewers instead; 0: nowhere.
	Listen     int
	Viewers    int
	Latency    time.Duration // of SRT
	Passphrase string        // of SRT, on both sides; empty for clear text
}

// Terms are what an SRT peer of the relay agrees to.
func (j Job) Terms() wire.Terms {
	return wire.Terms{Latency: j.Latency, Passphrase: j.Passphrase}
}

// Outputs is how many receivers there are.
func (j Job) Outputs() int { return len(j.OutPorts) + j.Viewers }

// A Relay is a program that can do jobs.
type Relay struct {
	Name  string
	About string
	Needs []string // programs that must be installed, or paths that must be there
	// Can tells whether it does such a job at all.
	Can func(Job) bool
	// Prepare, where there is one, is called before the program starts, with
	// an empty directory for it.
	Prepare func(j Job, dir string) error
	// Command returns the command line.
	Command func(j Job, dir string) []string
	// Ready, where there is one, is called once the program runs, and returns
	// when it does its job.
	Ready Ready
}

// Missing returns what is not installed.
func (r Relay) Missing() []string {
	return slices.DeleteFunc(slices.Clone(r.Needs), func(what string) bool {
		if filepath.IsAbs(what) {
			_, err := os.Stat(what)
			return err == nil
		}
		_, err := exec.LookPath(what)
		return err == nil
	})
}

// Names of the relays, as the table of rows and the goals use them.
const (
	Sluice        = "sluice"
	SRTTransmit   = "srt-live-transmit"
	GStreamer     = "gstreamer"
	FFmpeg        = "ffmpeg-tee"
	NginxRTMP     = "nginx-rtmp"
	Gosrt         = "gosrt"
	FloorOffload  = "floor-offload"
	FloorSendmmsg = "floor-sendmmsg"
	Loop          = "write-loop"
)

// All returns every relay. sluiced is the product's daemon, self this program,
// which is the plain relays too.
func All(sluiced, self string) []Relay {
	return []Relay{
		product(sluiced),
		srtTransmit(),
		gstreamer(),
		ffmpeg(),
		nginxRTMP(),
		plain(self, Gosrt, "a relay of a few lines on gosrt: one connection for each output, or one listener", canGosrt),
		plain(self, FloorOffload, "a loop that sends with UDP segmentation offload every 10 ms; SRT without retransmission", datagrams),
		plain(self, FloorSendmmsg, "the same loop with sendmmsg alone", datagrams),
		plain(self, Loop, "one write for each datagram", func(j Job) bool { return datagrams(j) && j.In != load.SRT }),
	}
}

func single(j Job) bool { return len(j.InPorts) == 1 }

// datagrams tells whether a job is to pass datagrams on as they are.
func datagrams(j Job) bool { return single(j) && j.In == j.Out && j.In != load.RTMP }

func srtTransmit() Relay {
	return Relay{
		Name: SRTTransmit, About: "srt-live-transmit (libsrt)", Needs: []string{"srt-live-transmit"},
		Can: func(j Job) bool {
			return single(j) && len(j.OutPorts) == 1 && j.In != load.RTP && j.Out != load.RTP
		},
		Command: func(j Job, _ string) []string {
			return []string{"srt-live-transmit", "-q", "-a:yes", transmitURL(j, j.In, "listener", j.InPorts[0]), transmitURL(j, j.Out, "caller", j.OutPorts[0])}
		},
	}
}

func transmitURL(j Job, p load.Protocol, mode string, port int) string {
	if p == load.UDP {
		host := "127.0.0.1"
		if mode == "listener" {
			host = ""
		}
		return fmt.Sprintf("udp://%s:%d", host, port)
	}
	return srtURL(j, mode, port)
}

// srtURL is understood by all that is built on libsrt.
func srtURL(j Job, mode string, port int) string {
	u := fmt.Sprintf("srt://127.0.0.1:%d?mode=%s&latency=%d", port, mode, j.Latency.Milliseconds())
	if j.Passphrase != "" {
		u += "&passphrase=" + j.Passphrase + "&pbkeylen=16"
	}
	return u
}

func gstreamer() Relay {
	return Relay{
		Name: GStreamer, About: "GStreamer srtsrc ! srtsink (libsrt)", Needs: []string{"gst-launch-1.0"},
		Can: func(j Job) bool { return single(j) && j.In == load.SRT && j.Out == load.SRT },
		Command: func(j Job, _ string) []string {
			command := []string{"gst-launch-1.0", "-q", "srtsrc", "uri=" + srtURL(j, "listener", j.InPorts[0])}
			const sink = "wait-for-connection=false sync=false"
			if j.Listen > 0 {
				return slices.Concat(command, []string{"!", "srtsink", "uri=" + srtURL(j, "listener", j.Listen)}, strings.Fields(sink))
			}
			command = append(command, "!", "tee", "name=t")
			for _, port := range j.OutPorts {
				command = slices.Concat(command, []string{"t.", "!", "queue", "!", "srtsink", "uri=" + srtURL(j, "caller", port)}, strings.Fields(sink+" async=false"))
			}
			return command
		},
	}
}

func ffmpeg() Relay {
	return Relay{
		Name: FFmpeg, About: "ffmpeg with the tee muxer, bytes as they are (-f data)", Needs: []string{"ffmpeg"},
		Can: func(j Job) bool {
			return datagrams(j) && j.Listen == 0 && j.Passphrase == ""
		},
		Command: func(j Job, _ string) []string {
			size := load.PayloadSize
			if j.In == load.RTP {
				size = load.RTPSize
			}
			in := fmt.Sprintf("udp://127.0.0.1:%d?fifo_size=20000&overrun_nonfatal=1&buffer_size=8000000", j.InPorts[0])
			out := func(port int) string { return fmt.Sprintf("udp://127.0.0.1:%d?pkt_size=%d", port, size) }
			if j.In == load.SRT {
				us := j.Latency.Microseconds() // what ffmpeg calls milliseconds elsewhere
				in = fmt.Sprintf("srt://127.0.0.1:%d?mode=listener&latency=%d", j.InPorts[0], us)
				out = func(port int) string {
					return fmt.Sprintf("srt://127.0.0.1:%d?mode=caller&latency=%d&pkt_size=%d", port, us, size)
				}
			}
			var outs []string
			for _, port := range j.OutPorts {
				outs = append(outs, "[f=data]"+out(port))
			}
			return []string{
				"ffmpeg", "-nostdin", "-hide_banner", "-loglevel", "error", "-f", "data", "-raw_packet_size", fmt.Sprint(size),
				"-i", in, "-map", "0", "-c", "copy", "-f", "tee", strings.Join(outs, "|"),
			}
		},
	}
}
