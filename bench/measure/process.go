// Package measure reads from the kernel what processes cost, and how busy the
// machine is with others.
package measure

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// A Cost is what a tree of processes used so far.
type Cost struct {
	CPU     time.Duration // user and system time of all its threads
	PeakRSS uint64        // bytes, the sum of each process's highest
}

// Tree returns what a process and its descendants used so far. A descendant
// that has ended does not count: what relays does not end.
func Tree(root int) (Cost, error) {
	pids, err := tree(root)
	if err != nil {
		return Cost{}, err
	}
	var c Cost
	for _, pid := range pids {
		cpu, err := processTime(pid)
		if err != nil && pid == root {
			return Cost{}, fmt.Errorf("process %d: %w", pid, err)
		}
		c.CPU += cpu
		c.PeakRSS += peak(pid)
	}
	return c, nil
}

// processTime reads a process's CPU-time clock, which counts nanoseconds
// rather than ticks (clock_getcpuclockid(3); the number is made as
// MAKE_PROCESS_CPUCLOCK of the kernel does).
func processTime(pid int) (time.Duration, error) {
	const schedulerClock = 2
	var t unix.Timespec
	if err := unix.ClockGettime(int32(^pid<<3|schedulerClock), &t); err != nil {
		return 0, err
	}
	return time.Duration(t.Nano()), nil
}

// Self is the CPU time of this process.
func Self() time.Duration {
	var t unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_PROCESS_CPUTIME_ID, &t)
	return time.Duration(t.Nano())
}

// peak is VmHWM of proc(5), in bytes, 0 where the process is gone.
func peak(pid int) uint64 {
	status, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	lines := bufio.NewScanner(bytes.NewReader(status))
	for lines.Scan() {
		if value, ok := strings.CutPrefix(lines.Text(), "VmHWM:"); ok {
			kib, _ := strconv.ParseUint(strings.Fields(value)[0], 10, 64)
			return kib << 10
		}
	}
	return 0
}

// tree returns a process and its descendants.
func tree(root int) ([]int, error) {
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		return nil, err
	}
	children := map[int][]int{}
	for _, path := range stats {
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(path)))
		if err != nil {
			continue
		}
		if parent, ok := parentOf(path); ok {
			children[parent] = append(children[parent], pid)
		}
	}
	all := []int{root}
	for i := 0; i < len(all); i++ {
		all = slices.Concat(all, children[all[i]])
	}
	return all, nil
}

// parentOf reads the fourth field of /proc/PID/stat; the second, the name in
// parentheses, may hold anything.
func parentOf(path string) (int, bool) {
	stat, err := os.ReadFile(path)
	if err != nil {
		return 0, false
	}
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	if len(fields) < 2 {
		return 0, false
	}
	parent, err := strconv.Atoi(fields[1])
	return parent, err == nil
}
