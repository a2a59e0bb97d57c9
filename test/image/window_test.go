package image

import (
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"sluice/test/harness"
)

// right and wrong are the router of eth1, and an address that no machine has.
const (
	right = `, "addresses": ["10.77.1.9/24"], "gateway4": "10.77.1.1"`
	wrong = `, "addresses": ["10.77.1.9/24"], "gateway4": "10.77.1.254"`
)

// A wrong gateway that nobody confirms is gone again: from networkd's NIC, and
// not only from a document. So it is after the window, after the daemon was
// killed in it, and after the power was cut in it, when a technician had
// committed it at the serial line.
func TestCommitWindow(t *testing.T) {
	Wanted(t, systemd)
	deb, inside := withPackage(t)
	if !inside {
		return
	}
	lan := NewLan(t)
	began := time.Now()
	b := NewHostBox(t, lan, deb, "device = "+deviceID+"\n")
	routes := func(via string) {
		t.Helper()
		var out string
		harness.Await(t, patience, "the box sends by "+via, func() bool {
			out = string(b.Line.Run(t, time.Minute, "ip route show default dev eth1"))
			return strings.HasPrefix(out, "default via "+via+" ")
		})
	}
	const good, bad = "10.77.1.1", "10.77.1.254"
	b.Apply(t, hosted(1, "", right))
	routes(good)

	b.try(t, hosted(2, "", wrong), "10s")
	routes(bad)
	routes(good)

	b.try(t, hosted(3, "", wrong), "1h")
	routes(bad)
	b.Line.Run(t, time.Minute, "systemctl kill --kill-whom=main --signal=KILL sluiced")
	routes(good)
	if out := string(b.Line.Run(t, time.Minute, "sluicectl get reported")); !strings.Contains(out, "rolled_back") || !strings.Contains(out, good) {
		t.Errorf("reported is %s", out)
	}

	c := b.technician(t, "sync; systemctl stop serial; systemctl start sluice-console@ttyS1")
	c.login(t)
	c.types(t, "configure", "# ")
	c.types(t, "set uplinks wan0 gateway4 "+bad, "# ")
	c.types(t, "commit confirmed 60", "unless confirm is typed")
	harness.Await(t, patience, "networkd has it", func() bool {
		return strings.Contains(c.types(t, "run show uplinks", "ok\r\n"), "gateway "+bad)
	})
	b.Cut()
	b.Start(t)
	routes(good)
	if out := string(b.Line.Run(t, time.Minute, "sluicectl get reported")); !strings.Contains(out, "rolled_back") || strings.Contains(out, bad) {
		t.Errorf("after the power cut it is %s", out)
	}
	// What was typed is the candidate again.
	if out := string(b.Line.Run(t, time.Minute, "sluicectl get candidate")); !strings.Contains(out, bad) {
		t.Errorf("after the power cut the candidate is %s", out)
	}
	b.Cut()
	summarize(t, "%s: a wrong gateway went back after its window, SIGKILL and a power cut; all in %.0f s", systemd, time.Since(began).Seconds())
}

// try applies a document that goes back unless it is confirmed.
func (b *HostBox) try(t *testing.T, document, window string) {
	t.Helper()
	b.Line.Run(t, time.Minute, "printf %s '"+strings.ReplaceAll(document, "\n", " ")+"' >/run/document.json")
	b.Line.Run(t, patience, "sluicectl apply --confirm "+window+" /run/document.json")
}

// A technician sits at the serial line.
type technician struct {
	line *Line
	from int // of what was shown, what nothing was expected of yet
}

// technician leaves the line to the console, which a command starts.
func (b *HostBox) technician(t *testing.T, start string) *technician {
	t.Helper()
	b.Line.Run(t, time.Minute, "systemd-run --quiet sh -c '"+start+"'")
	return &technician{b.Line, len(b.Line.Output())}
}

// sees waits for what is to be shown next, and returns what was shown until
// then.
func (c *technician) sees(t *testing.T, what string) string {
	t.Helper()
	var shown string
	harness.Await(t, patience, fmt.Sprintf("the console shows %q", what), func() bool {
		out := string(c.line.Output()[c.from:])
		i := strings.Index(out, what)
		if i >= 0 {
			shown = out[:i+len(what)]
			c.from += len(shown)
		}
		return i >= 0
	})
	return shown
}

func (c *technician) types(t *testing.T, text, expected string) string {
	t.Helper()
	if _, err := c.line.Write([]byte(text + "\r")); err != nil {
		t.Fatal(err)
	}
	return c.sees(t, expected)
}

var firstPassword = regexp.MustCompile(`Password +(\S+)`)

// login takes the password from what the console shows at first, and has it
// answer line by line.
func (c *technician) login(t *testing.T) {
	t.Helper()
	// It does not listen before its service runs, nor to one who types Enter
	// over and over.
	var typed time.Time
	harness.Await(t, patience, "the console asks who is there", func() bool {
		if time.Since(typed) > 5*time.Second {
			typed = time.Now()
			_, _ = c.line.Write([]byte("\r"))
		}
		return strings.Contains(string(c.line.Output()[c.from:]), "login:")
	})
	banner := c.sees(t, "login:")
	m := firstPassword.FindStringSubmatch(banner)
	if m == nil {
		t.Fatalf("no password is shown: %s", banner)
	}
	c.types(t, "anna", "assword")
	c.types(t, m[1], "> ")
	c.types(t, "terminal script on", "ok")
}
