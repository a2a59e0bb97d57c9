package rtmp

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sluice/relay/endpoint"
	"sluice/relay/relaytest"
)

// Where Debian has nginx, which is on no user's PATH, and its RTMP module.
const (
	nginxProgram = "/usr/sbin/nginx"
	rtmpModule   = "/usr/lib/nginx/modules/ngx_rtmp_module.so"
)

// nginxConfig has two applications, to push to and to pull from. Players are
// told when a stream ends.
const nginxConfig = `daemon off;
master_process off;
load_module %s;
pid %s;
error_log stderr info;
events {}
rtmp {
  access_log off;
  server {
    listen 127.0.0.1:%d;
    publish_notify on;
    application up { live on; }
    application down { live on; %s }
  }
}
`

// An nginx is one with its RTMP module.
type nginx struct {
	*program
	port   int
	config string
}

// startNginx starts one with more for the application that is pushed to.
func startNginx(t *testing.T, more string) *nginx {
	t.Helper()
	n := &nginx{port: relaytest.FreePort(t)}
	dir := t.TempDir()
	n.config = write(t, "nginx.conf", fmt.Sprintf(nginxConfig, rtmpModule, filepath.Join(dir, "pid"), n.port, more))
	n.start(t)
	return n
}

// start starts it, again if it was killed.
func (n *nginx) start(t *testing.T) {
	t.Helper()
	n.program = start(t, nginxProgram, "-p", filepath.Dir(n.config), "-e", "stderr", "-c", n.config)
	listening(t, n.port)
}

// listening waits until something listens on a port. It does not connect:
// some programs take the first connection for the one.
func listening(t *testing.T, port int) {
	t.Helper()
	const listens = "0A"
	eventually(t, fmt.Sprintf("somebody listens on port %d", port), func() bool {
		b, err := os.ReadFile("/proc/net/tcp")
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(b)) {
			if f := strings.Fields(line); f[3] == listens && strings.HasSuffix(f[1], fmt.Sprintf(":%04X", port)) {
				return true
			}
		}
		return false
	})
}

// url is that of an application, without a stream.
func (n *nginx) url(app string) string { return fmt.Sprintf("rtmp://127.0.0.1:%d/%s", n.port, app) }

// plays waits until somebody plays a stream from it.
func (n *nginx) plays(name string) {
	n.t.Helper()
	eventually(n.t, "somebody plays from nginx", func() bool { return strings.Contains(n.out.String(), "play: name='"+name+"'") })
}

// TestRefused lets nginx ask a server of ours whether we may publish or play,
// which says no.
func TestRefused(t *testing.T) {
	for _, c := range []struct {
		ask string
		run func(r *rig, app string, key endpoint.Secret) *running
	}{
		{"publish", func(r *rig, app string, key endpoint.Secret) *running {
			cfg := pushTo(app)
			cfg.Destinations[0].StreamKey = key
			return r.output(cfg).running
		}},
		{"play", func(r *rig, app string, key endpoint.Secret) *running {
			return r.input(InputConfig{URL: app, StreamKey: key}).running
		}},
	} {
		t.Run(c.ask, func(t *testing.T) {
			t.Parallel()
			asked := make(chan string, 1)
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				_ = r.ParseForm()
				asked <- r.Form.Get("call") + " " + r.Form.Get("name") + " " + r.Form.Get("token")
				w.WriteHeader(http.StatusForbidden)
			}))
			defer server.Close()
			n := startNginx(t, "on_"+c.ask+" "+server.URL+"/;")
			r := newRig(t)
			began := time.Now()
			err := c.run(r, n.url("down"), endpoint.NewSecret("pushed?token=battery-staple")).wait()
			if took := time.Since(began); took > 2*time.Second {
				t.Errorf("it took %v", took)
			}
			if got := <-asked; got != c.ask+" pushed battery-staple" {
				t.Errorf("nginx asked about %q", got)
			}
			phase, why := endpoint.Explain(err)
			if phase != endpoint.Refused || why.Code != "peer" || !strings.Contains(why.Message, fmt.Sprintf("127.0.0.1:%d refused", n.port)) {
				t.Errorf("phase %d, reason %+v", phase, why)
			}
			if strings.Contains(r.log.String()+why.Message, "battery") {
				t.Error("the key is shown")
			}
		})
	}
}
