// Package system tells what this box is and how it fares: identity, network
// interfaces, and the figures of its telemetry.
package system

import (
	"bytes"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"sluice/device/uplink"
)

// An Identity says which box this is. What cannot be known is empty.
type Identity struct {
	SerialNumber string
	Model        string
}

// An Interface is one NIC of the box.
type Interface struct {
	Name      string
	MAC       string // the permanent one where the driver tells it
	Path      string // udev ID_PATH
	Driver    string
	Carrier   bool
	SpeedMbps int // 0 where there is no carrier or no fixed speed
}

// Figures are how the box fares.
type Figures struct {
	CPUPercent   float64 // of all processors since the last reading, 0-100
	RSSBytes     uint64  // memory of this process
	TemperatureC *float64
	Uptime       time.Duration // of the box
}

// A Box reads what the kernel shows of this machine. Make it with New.
type Box struct {
	files fs.FS // the root directory

	mu         sync.Mutex
	busy, idle uint64 // processor time at the last reading, in ticks
}

// New returns the Box that the program runs on.
func New() *Box { return &Box{files: os.DirFS("/")} }

// Identity returns which box this is: from the firmware (SMBIOS), the device
// tree, or else the operating system's machine id.
func (b *Box) Identity() Identity {
	id := Identity{
		SerialNumber: b.first("sys/class/dmi/id/product_serial", "proc/device-tree/serial-number", "etc/machine-id"),
		Model:        b.first("sys/class/dmi/id/product_name", "proc/device-tree/model"),
	}
	return id
}

// first returns the content of the first file that says something.
func (b *Box) first(names ...string) string {
	for _, name := range names {
		text, err := fs.ReadFile(b.files, name)
		if s := strings.TrimSpace(strings.TrimRight(string(text), "\x00")); err == nil && s != "" {
			return s
		}
	}
	return ""
}

// BootID returns what distinguishes this start of the box from any other.
func (b *Box) BootID() string { return b.first("proc/sys/kernel/random/boot_id") }

// Interfaces returns the box's NICs but the loopback, by name.
func (b *Box) Interfaces() ([]Interface, error) {
	links, err := netlink.LinkList()
	if err != nil {
		return nil, fmt.Errorf("list NICs: %w", err)
	}
	var all []Interface
	for _, l := range links {
		a := l.Attrs()
		if a.Flags&net.FlagLoopback != 0 {
			continue
		}
		mac := a.PermHWAddr
		if mac == nil {
			mac = a.HardwareAddr
		}
		class := "sys/class/net/" + a.Name
		all = append(all, Interface{
			Name: a.Name, MAC: mac.String(), Path: uplink.IDPath(a.Index, a.Name),
			Driver: b.driver(class), Carrier: a.RawFlags&unix.IFF_LOWER_UP != 0, SpeedMbps: b.speed(class),
		})
	}
	slices.SortFunc(all, func(x, y Interface) int { return strings.Compare(x.Name, y.Name) })
	return all, nil
}

func (b *Box) driver(class string) string {
	target, err := fs.ReadLink(b.files, class+"/device/driver")
	if err != nil {
		return ""
	}
	return path.Base(target)
}

// speed is -1 in sysfs, or an error, where there is none.
func (b *Box) speed(class string) int {
	n, err := strconv.Atoi(b.first(class + "/speed"))
	if err != nil || n < 0 {
		return 0
	}
	return n
}

// Figures returns how the box fares now. A figure that the kernel does not
// show is zero.
func (b *Box) Figures() Figures {
	f := Figures{CPUPercent: b.cpu(), TemperatureC: b.temperature()}
	if words := strings.Fields(b.first("proc/self/statm")); len(words) > 1 {
		pages, _ := strconv.ParseUint(words[1], 10, 64)
		f.RSSBytes = pages * uint64(os.Getpagesize())
	}
	if words := strings.Fields(b.first("proc/uptime")); len(words) > 0 {
		s, _ := strconv.ParseFloat(words[0], 64)
		f.Uptime = time.Duration(s * float64(time.Second))
	}
	return f
}

// cpu returns the share of processor time in use since the last call, or since
// the box started; proc_stat(5).
func (b *Box) cpu() float64 {
	text, err := fs.ReadFile(b.files, "proc/stat")
	if err != nil {
		return 0
	}
	line, _, _ := bytes.Cut(text, []byte("\n"))
	words := strings.Fields(string(line))
	if len(words) < 6 || words[0] != "cpu" {
		return 0
	}
	var busy, idle uint64
	for i, w := range words[1:min(len(words), 9)] { // guest time is in user time
		ticks, _ := strconv.ParseUint(w, 10, 64)
		if i == 3 || i == 4 { // idle, iowait
			idle += ticks
		} else {
			busy += ticks
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	usedTicks, idleTicks := busy-b.busy, idle-b.idle
	if idle < b.idle || busy < b.busy { // iowait may go back
		usedTicks, idleTicks = 0, 0
	}
	b.busy, b.idle = busy, idle
	if usedTicks+idleTicks == 0 {
		return 0
	}
	return 100 * float64(usedTicks) / float64(usedTicks+idleTicks)
}

// temperature returns the hottest sensor's, in degrees Celsius; nil without one.
func (b *Box) temperature() *float64 {
	zones, _ := fs.Glob(b.files, "sys/class/thermal/thermal_zone*/temp")
	var hottest *float64
	for _, zone := range zones {
		milli, err := strconv.ParseFloat(b.first(zone), 64)
		if c := milli / 1000; err == nil && (hottest == nil || c > *hottest) {
			hottest = &c
		}
	}
	return hottest
}
