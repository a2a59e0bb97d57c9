package harness

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

// RTMPServer is nginx as a server of RTMP at an address: what is published to
// its application app can be played there. It returns the command that starts
// it.
func RTMPServer(t *testing.T, address string) (path string, args []string) {
	t.Helper()
	dir := t.TempDir()
	conf := filepath.Join(dir, "nginx.conf")
	if err := os.WriteFile(conf, fmt.Appendf(nil, `
load_module /usr/lib/nginx/modules/ngx_rtmp_module.so;
daemon off; user root; worker_processes 1; pid %s/pid; error_log stderr;
events { worker_connections 64; }
rtmp { server { listen %s; application app { live on; } } }
`, dir, address), 0o600); err != nil {
		t.Fatal(err)
	}
	return Need(t, "nginx", "nginx"), []string{"-p", dir, "-c", conf, "-e", "stderr"}
}
