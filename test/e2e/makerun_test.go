package e2e

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"sluice/relay/relaytest"
	"sluice/test/harness"
)

// make run is what a newcomer tries first: its outputs can be played, one can
// be added as it says, and Ctrl-C leaves nothing behind.
func TestMakeRun(t *testing.T) {
	t.Parallel()
	first := freeBlock(t)
	dir := filepath.Join(t.TempDir(), "run")
	cmd := exec.Command("make", "run")
	cmd.Dir = filepath.Join("..", "..")
	cmd.Env = append(os.Environ(), fmt.Sprintf("PORTS=%d", first), "RUN_DIR="+dir)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	out := &harness.Output{}
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	group := cmd.Process.Pid
	ended := make(chan struct{})
	go func() {
		_ = cmd.Wait() // make says 2 or 130 when it is interrupted
		close(ended)
	}()
	t.Cleanup(func() {
		_ = syscall.Kill(-group, syscall.SIGKILL) // where the test failed before its end
		<-ended
		if t.Failed() {
			t.Logf("--- make run:\n%s", out.Bytes())
		}
	})
	harness.Await(t, 120*time.Second, "make run says what to play", func() bool {
		select {
		case <-ended:
			t.Fatal("make run has ended")
		default:
		}
		return bytes.Contains(out.Bytes(), []byte("Ctrl-C ends everything"))
	})

	// Every line that is offered works: ffprobe plays what ffplay would.
	said := string(out.Bytes())
	playable := regexp.MustCompile(`(?m)^ *ffplay '?([^'\n]+)'?$`).FindAllStringSubmatch(said, -1)
	if len(playable) != 6 {
		t.Fatalf("%d things to play instead of 5 and one to add:\n%s", len(playable), said)
	}
	add := regexp.MustCompile(`(?m)^ *(bin/sluicectl .* output add .*)$`).FindString(said)
	shell := exec.Command("bash", "-c", add)
	shell.Dir = cmd.Dir
	if answer, err := shell.CombinedOutput(); add == "" || err != nil {
		t.Fatalf("%s: %v\n%s", add, err, answer)
	}
	for _, p := range playable {
		probe(t, p[1])
	}

	// Ctrl-C reaches the whole foreground group; the script alone must do.
	script := 0
	for pid, line := range processesOf(t, group, dir) {
		if strings.HasPrefix(line, "bash scripts/run") {
			script = pid
		}
	}
	if script == 0 {
		t.Fatalf("scripts/run is not among %v", processesOf(t, group, dir))
	}
	if err := syscall.Kill(script, syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	select {
	case <-ended:
	case <-time.After(20 * time.Second):
		t.Fatal("make run did not end")
	}
	harness.Await(t, 5*time.Second, "no process is left", func() bool { return len(processesOf(t, group, dir)) == 0 })
}

// A port that is taken is told of in one line.
func TestMakeRunTellsOfATakenPort(t *testing.T) {
	t.Parallel()
	first := freeBlock(t)
	conn, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: first + 100})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	cmd := exec.Command(filepath.Join("..", "..", "scripts", "run"))
	cmd.Env = append(os.Environ(), fmt.Sprintf("PORTS=%d", first), "RUN_DIR="+t.TempDir())
	out, err := cmd.CombinedOutput()
	if err == nil {
		t.Error("it runs all the same")
	}
	if want := fmt.Sprintf("UDP port %d is in use", first+100); !strings.Contains(string(out), want) || bytes.Count(out, []byte("\n")) != 1 {
		t.Errorf("not one line that says %q:\n%s", want, out)
	}
}

// probe asserts that there are pictures and sound at a URL.
func probe(t *testing.T, url string) {
	t.Helper()
	deadline := time.Now().Add(30 * time.Second)
	for {
		cmd := exec.Command(harness.Need(t, "timeout", "coreutils"), "15", harness.Need(t, "ffprobe", "ffmpeg"),
			"-v", "error", "-analyzeduration", "3000000", "-show_entries", "stream=codec_name,width", "-of", "csv=p=0", url)
		got, err := cmd.CombinedOutput()
		if err == nil && bytes.Contains(got, []byte("h264,960")) && bytes.Contains(got, []byte("aac")) {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s does not play: %v\n%s", url, err, got)
		}
	}
}

// freeBlock returns the first of the ports that make run uses.
func freeBlock(t *testing.T) int {
	return relaytest.FreePorts(t, 0, 80, 83, 100, 101, 104, 106, 108, 110)
}

// processesOf returns the command lines of processes, by id, that are of a
// group or were started with a directory in their arguments.
func processesOf(t *testing.T, group int, dir string) map[int]string {
	t.Helper()
	all, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		t.Fatal(err)
	}
	found := make(map[int]string)
	for _, stat := range all {
		b, err := os.ReadFile(stat)
		if err != nil {
			continue // it has ended meanwhile
		}
		// pid (name) state parent group ...; the name may hold anything.
		fields := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:]))
		line, _ := os.ReadFile(filepath.Join(filepath.Dir(stat), "cmdline"))
		if fields[2] == fmt.Sprint(group) || bytes.Contains(line, []byte(dir)) {
			pid, err := strconv.Atoi(filepath.Base(filepath.Dir(stat)))
			if err != nil {
				t.Fatal(err)
			}
			found[pid] = string(bytes.ReplaceAll(line, []byte{0}, []byte{' '}))
		}
	}
	return found
}
