package provisioning

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"runtime/pprof"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"sluice/device/system"
	"sluice/device/uplink"
)

// A support bundle is what somebody far away needs to know of a box: one
// .tar.gz, made in memory. It holds what the box tells anyway, and what the
// kernel knows; secrets are in neither. The document console, which shows a
// password, is not in it.

const (
	maxBundle = 8 << 20 // bytes, at the box
	// maxSentBundle is what it may have for the fleet: in base64 it is a third
	// longer, and 8 MiB are what brokers take.
	maxSentBundle = 6<<20 - 1<<16
	maxFile       = 2 << 20 // bytes of one file in it
)

// bundleSlack is what headers, and compression that gains nothing, may add.
const bundleSlack = 1 << 18

// supportBundle makes one.
func (a *Agent) supportBundle(_ context.Context, c *call) (any, error) {
	if err := c.read(&struct{}{}); err != nil {
		return nil, err
	}
	select {
	case a.bundling <- struct{}{}:
	default:
		return nil, &refused{code: codeTooMany, message: "another bundle is being made: try again in a few seconds"}
	}
	defer func() { <-a.bundling }()
	at := now()
	b, err := a.bundle(at, c.roomForBundle())
	if err != nil {
		return nil, err
	}
	return map[string]any{
		"name": fmt.Sprintf("sluice-%s-%s.tar.gz", a.o.Device, at.Format("20060102T150405Z")),
		"size": len(b), "base64": base64.StdEncoding.EncodeToString(b),
	}, nil
}

// roomForBundle is how many bytes the one who asks can be sent.
func (c *call) roomForBundle() int {
	if c.by == nil {
		return maxSentBundle
	}
	return maxBundle
}

// A bundleFile is one file of a bundle.
type bundleFile struct {
	name string
	body []byte
	tail bool // where there is too much of it, the end is what counts
}

// bundle returns a .tar.gz of at most so many bytes. What there is no room for
// is cut, and says so.
func (a *Agent) bundle(at time.Time, most int) ([]byte, error) {
	var out bytes.Buffer
	zipped := gzip.NewWriter(&out)
	archive := tar.NewWriter(zipped)
	room := most - bundleSlack // compression may gain nothing
	for _, f := range a.bundleFiles() {
		body := f.fit(min(room, maxFile))
		room -= len(body)
		err := archive.WriteHeader(&tar.Header{
			Name: "sluice-" + a.o.Device + "/" + f.name, Mode: 0o644, Size: int64(len(body)), ModTime: at, Format: tar.FormatUSTAR,
		})
		if err == nil {
			_, err = archive.Write(body)
		}
		if err != nil {
			return nil, fmt.Errorf("support bundle: %w", err)
		}
	}
	if err := archive.Close(); err != nil {
		return nil, fmt.Errorf("support bundle: %w", err)
	}
	if err := zipped.Close(); err != nil {
		return nil, fmt.Errorf("support bundle: %w", err)
	}
	return out.Bytes(), nil
}

// fit cuts the file so that it has at most so many bytes.
func (f bundleFile) fit(most int) []byte {
	if len(f.body) <= most {
		return f.body
	}
	note := fmt.Sprintf("\n[%d bytes in all: the rest was cut]\n", len(f.body))
	keep := max(0, most-len(note))
	if f.tail {
		return append([]byte(note), f.body[len(f.body)-keep:]...)[:min(most, keep+len(note))]
	}
	return append(bytes.Clone(f.body[:keep]), note...)[:min(most, keep+len(note))]
}

// bundleFiles lists what goes into a bundle, what matters most first.
func (a *Agent) bundleFiles() (files []bundleFile) {
	for _, name := range []string{"info", "reported", "state", "commits", "fleet", "clock", "status", "desired", "saved", "candidate", "telemetry", "update"} {
		if body, ok := a.Document(name); ok {
			files = append(files, bundleFile{name: name + ".json", body: indented(body)})
		}
	}
	files = append(files,
		bundleFile{name: "events.ndjson", body: lines(a.events.newest()), tail: true},
		bundleFile{name: "version.txt", body: []byte(versions())},
	)
	if a.o.LogTail != nil {
		files = append(files, bundleFile{name: "log.txt", body: []byte(strings.Join(a.o.LogTail(maxLogLines), "\n") + "\n"), tail: true})
	}
	network := uplink.NewDump()
	files = append(files,
		bundleFile{name: "network.txt", body: []byte(network.String())},
		bundleFile{name: "network.json", body: indented(marshal(network))},
		bundleFile{name: "sockets.txt", body: sockets()},
		bundleFile{name: "kernel.txt", body: []byte(kernel())},
		bundleFile{name: "goroutines.txt", body: goroutines()},
	)
	return files
}

func indented(body json.RawMessage) []byte {
	var b bytes.Buffer
	if json.Indent(&b, body, "", "  ") != nil {
		return body
	}
	b.WriteByte('\n')
	return b.Bytes()
}

func lines(bodies []json.RawMessage) []byte {
	var b bytes.Buffer
	for _, body := range bodies {
		b.Write(body)
		b.WriteByte('\n')
	}
	return b.Bytes()
}

func sockets() []byte {
	list, err := system.Sockets()
	text := strings.Join(list, "\n") + "\n"
	if err != nil {
		text += "not all could be listed: " + err.Error() + "\n"
	}
	return []byte(text)
}

// versions is what the program was made of.
func versions() string {
	text := fmt.Sprintf("%s %s/%s, %d processors\n", runtime.Version(), runtime.GOOS, runtime.GOARCH, runtime.NumCPU())
	if info, ok := debug.ReadBuildInfo(); ok {
		text += info.String()
	}
	return text
}

// kernel is which one runs, and how memory and load are.
func kernel() string {
	var b strings.Builder
	var u unix.Utsname
	if unix.Uname(&u) == nil {
		for _, field := range [][65]byte{u.Sysname, u.Release, u.Version, u.Machine} {
			b.WriteString(unix.ByteSliceToString(field[:]) + " ")
		}
		b.WriteByte('\n')
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	fmt.Fprintf(&b, "heap %d bytes in use, %d from the system, %d objects, %d collections, %d goroutines\n",
		m.HeapInuse, m.Sys, m.HeapObjects, m.NumGC, runtime.NumGoroutine())
	for _, name := range []string{
		"/proc/loadavg", "/proc/uptime", "/proc/meminfo", "/proc/self/status", "/proc/pressure/cpu", "/proc/pressure/memory", "/proc/pressure/io",
		"/proc/net/snmp", "/proc/net/netstat", "/proc/net/softnet_stat",
	} {
		text, err := os.ReadFile(name)
		if err != nil {
			continue // not every kernel has it
		}
		fmt.Fprintf(&b, "\n%s\n%s", name, text)
	}
	return b.String()
}

// goroutines are where all of them stand, the same stacks counted once: of
// values it shows none, not even addresses.
func goroutines() []byte {
	var b bytes.Buffer
	if err := pprof.Lookup("goroutine").WriteTo(&b, 1); err != nil {
		return []byte(err.Error())
	}
	return b.Bytes()
}
