package image

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net"
	"testing"
)

// Cable puts the cable of a NIC in, or pulls it out: the machine sees its
// carrier come and go. It asks QEMU (docs/interop/qmp-spec.rst of QEMU).
func (m *Machine) Cable(t *testing.T, nic int, in bool) {
	t.Helper()
	conn, err := net.Dial("unix", m.monitor)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	lines := bufio.NewScanner(conn)
	answer := func() {
		t.Helper()
		for lines.Scan() {
			var a struct {
				QMP, Return, Error json.RawMessage
			}
			if err := json.Unmarshal(lines.Bytes(), &a); err != nil || a.Error != nil {
				t.Fatalf("QEMU's answer is %s (%v)", lines.Bytes(), err)
			}
			if a.QMP != nil || a.Return != nil {
				return // anything else is news
			}
		}
		t.Fatalf("QEMU does not answer: %v", lines.Err())
	}
	answer()
	for _, command := range []string{
		`{"execute": "qmp_capabilities"}`,
		fmt.Sprintf(`{"execute": "set_link", "arguments": {"name": "net%d", "up": %t}}`, nic, in),
	} {
		if _, err := fmt.Fprintln(conn, command); err != nil {
			t.Fatal(err)
		}
		answer()
	}
}
