package measure

import (
	"os"
	"os/exec"
	"testing"
	"time"
)

func TestTreeCountsChildren(t *testing.T) {
	shell := exec.Command("sh", "-c", "while :; do :; done & echo; wait")
	out, err := shell.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := shell.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := out.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	pids, err := tree(shell.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		for _, pid := range pids {
			if p, err := os.FindProcess(pid); err == nil {
				_ = p.Kill()
			}
		}
		_ = shell.Wait()
	}()
	if len(pids) != 2 {
		t.Fatalf("the tree is %v, want a shell and its child", pids)
	}
	deadline := time.Now().Add(20 * time.Second)
	for {
		c, err := Tree(shell.Process.Pid)
		if err != nil {
			t.Fatal(err)
		}
		shellAlone, err := processTime(shell.Process.Pid)
		if err != nil {
			t.Fatal(err)
		}
		if c.CPU > shellAlone+50*time.Millisecond && c.PeakRSS > 100<<10 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("the tree used %+v, the shell alone %v: the child does not count", c, shellAlone)
		}
		<-time.After(10 * time.Millisecond)
	}
}

func TestTreeOfNothing(t *testing.T) {
	gone := exec.Command("true")
	if err := gone.Run(); err != nil {
		t.Fatal(err)
	}
	if c, err := Tree(gone.Process.Pid); err == nil {
		t.Errorf("a process that is not there costs %+v", c)
	}
}

func TestOthers(t *testing.T) {
	begin := time.Now()
	before := Machine{At: begin, Busy: 10 * time.Second, Idle: 10 * time.Second}
	after := Machine{At: begin.Add(2 * time.Second), Busy: 13 * time.Second, Idle: 11 * time.Second}
	if got := Others(before, after, 2*time.Second); got != 0.5 {
		t.Errorf("others %v, want 0.5", got)
	}
	if got := Idle(before, after); got != 0.5 {
		t.Errorf("idle %v, want 0.5", got)
	}
	if got := Others(before, after, 4*time.Second); got != 0 {
		t.Errorf("others %v, want 0: the ticks are coarse", got)
	}
}

func TestNow(t *testing.T) {
	m, err := Now()
	if err != nil || m.Busy <= 0 || m.Idle <= 0 {
		t.Errorf("%+v, %v", m, err)
	}
}
