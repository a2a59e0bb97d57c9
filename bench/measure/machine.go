package measure

import (
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"time"
)

// userHZ is the unit of /proc/stat: ticks in a second (proc(5)). Linux has had
// no other to show for decades.
const userHZ = 100

// A Machine is how much its processors did so far, all of them together.
type Machine struct {
	At   time.Time
	Busy time.Duration // neither idle nor waiting for disks
	Idle time.Duration
}

// Now reads /proc/stat.
func Now() (Machine, error) {
	m := Machine{At: time.Now()}
	stat, err := os.ReadFile("/proc/stat")
	if err != nil {
		return m, err
	}
	first, _, _ := strings.Cut(string(stat), "\n")
	fields := strings.Fields(first)
	// cpu user nice system idle iowait irq softirq steal guest guest_nice
	if len(fields) < 9 || fields[0] != "cpu" {
		return m, fmt.Errorf("/proc/stat begins with %q", first)
	}
	for i, f := range fields[1:9] {
		ticks, err := strconv.ParseInt(f, 10, 64)
		if err != nil {
			return m, fmt.Errorf("/proc/stat: %w", err)
		}
		d := time.Duration(ticks) * (time.Second / userHZ)
		if i == 3 || i == 4 {
			m.Idle += d
		} else {
			m.Busy += d
		}
	}
	return m, nil
}

// Others is what ran on the machine from before to after that is not ours, in
// processors: 1 is one of them all the time. Time stolen by a hypervisor is
// others'.
func Others(before, after Machine, ours time.Duration) float64 {
	return max(0, (after.Busy-before.Busy-ours).Seconds()/after.At.Sub(before.At).Seconds())
}

// Idle is how many processors had nothing to do from before to after.
func Idle(before, after Machine) float64 {
	return (after.Idle - before.Idle).Seconds() / after.At.Sub(before.At).Seconds()
}

// Describe returns what the machine is, in one line.
func Describe() string {
	model := runtime.GOARCH
	if info, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		for line := range strings.Lines(string(info)) {
			if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
				model = strings.TrimSpace(value)
				break
			}
		}
	}
	kernel, _ := os.ReadFile("/proc/sys/kernel/osrelease")
	return fmt.Sprintf("%d x %s, Linux %s, %s", runtime.NumCPU(), model, strings.TrimSpace(string(kernel)), runtime.Version())
}
