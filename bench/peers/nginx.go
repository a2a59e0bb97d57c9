package peers

import (
	"fmt"
	"os"
	"path/filepath"

	"sluice/bench/load"
	"sluice/bench/wire"
)

// Where Debian has nginx, which is on no user's PATH, and its RTMP module.
const (
	nginx      = "/usr/sbin/nginx"
	rtmpModule = "/usr/lib/nginx/modules/ngx_rtmp_module.so"
)

func nginxRTMP() Relay {
	file := func(dir string) string { return filepath.Join(dir, "nginx.conf") }
	return Relay{
		Name: NginxRTMP, About: "nginx with its RTMP module, in one process", Needs: []string{nginx, rtmpModule},
		Can: func(j Job) bool { return single(j) && j.In == load.RTMP && j.Out == load.RTMP && j.Listen > 0 },
		Prepare: func(j Job, dir string) error {
			return os.WriteFile(file(dir), nginxConfig(j, dir), 0o600)
		},
		Command: func(_ Job, dir string) []string {
			return []string{nginx, "-p", dir, "-e", "stderr", "-c", file(dir)}
		},
	}
}

// nginxConfig publishes and plays one application on both ports.
func nginxConfig(j Job, dir string) []byte {
	return fmt.Appendf(nil, `daemon off;
master_process off;
load_module %s;
pid %s;
events { worker_connections 1024; }
rtmp {
  access_log off;
  server {
    listen 127.0.0.1:%d;
    listen 127.0.0.1:%d;
    chunk_size %d;
    application %s { live on; }
  }
}
`, rtmpModule, filepath.Join(dir, "pid"), j.InPorts[0], j.Listen, wire.ChunkSize, wire.RTMPApp)
}
