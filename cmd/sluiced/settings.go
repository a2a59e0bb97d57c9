package main

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"sluice/device/control"
	"sluice/device/uplink"
	"sluice/provisioning/mqtt"
)

// defaultConfig is read where it is there; a file that --config names must be.
const defaultConfig = "/etc/sluice/sluiced.conf"

// settings are what the command line and the configuration file say.
type settings struct {
	state, device, control, metrics string
	broker                          mqtt.Config
	brokerUplinks                   []string
	uplinks                         []uplink.Local
	applyEvery                      time.Duration
	passwordFile                    string
	logLevel                        slog.Level
	logJSON                         bool
	showVersion                     bool
}

// raw are the flags as they are written.
type raw struct {
	settings
	uplinkFlags       []string
	levelFlag, format string
	config            string
}

// flags returns the flag set that fills r. A flag's name is its key in the
// configuration file too.
func flags(r *raw) *pflag.FlagSet {
	f := pflag.NewFlagSet("sluiced", pflag.ContinueOnError)
	f.SortFlags = false
	f.Usage = func() {}
	f.StringVar(&r.state, "state", "/var/lib/sluice", "`directory` that keeps the configuration")
	f.StringVar(&r.broker.Broker, "broker", "", "`URL` of the fleet's broker: mqtt://, mqtts://, ws:// or wss://; none: no fleet")
	f.StringVar(&r.device, "device", "", "`id` of this box in its fleet: 1-63 of a-z, 0-9 and - (default the host name)")
	f.StringVar(&r.broker.Username, "broker-user", "", "`name` for the broker")
	f.StringVar(&r.broker.PasswordFile, "broker-password-file", "", "`file` that holds the password for the broker")
	f.StringVar(&r.broker.CAFile, "tls-ca", "", "`file` with the certificates that sign the broker's")
	f.StringVar(&r.broker.CertFile, "tls-cert", "", "`file` with the certificate to show to the broker")
	f.StringVar(&r.broker.KeyFile, "tls-key", "", "`file` with its key")
	f.StringArrayVar(&r.brokerUplinks, "broker-uplink", nil, "NIC `role` that leads to the broker; may be repeated, tried in order")
	f.StringVar(&r.control, "control", control.DefaultSocket, "`socket` for sluicectl and the console")
	f.StringVar(&r.passwordFile, "console-password-file", credential("console.password"), "`file` that holds the console's first password, or its argon2id hash")
	f.StringArrayVar(&r.uplinkFlags, "uplink", nil, "`NAME=INTERFACE`: a NIC role; may be repeated, the first is the default")
	f.StringVar(&r.metrics, "metrics", "", "`address` to serve Prometheus metrics at, such as 127.0.0.1:9464")
	f.DurationVar(&r.applyEvery, "apply-every", time.Second, "`time` in which at most one configuration is applied")
	f.StringVar(&r.levelFlag, "log-level", "info", "debug, info, warn or error")
	f.StringVar(&r.format, "log-format", "text", "text or json")
	f.StringVar(&r.config, "config", defaultConfig, "`file` with any of these, as lines of key = value")
	f.BoolVar(&r.showVersion, "version", false, "print the version")
	return f
}

// credential returns the path of a credential that the service manager hands
// over (systemd.exec(5)), empty where it does not.
func credential(name string) string {
	dir := os.Getenv("CREDENTIALS_DIRECTORY")
	if dir == "" {
		return ""
	}
	path := filepath.Join(dir, name)
	if _, err := os.Stat(path); err != nil {
		return ""
	}
	return path
}

func help() string {
	var r raw
	return "sluiced relays live streams as its configuration says, and reports to the fleet.\n\n" +
		"Usage:\n  sluiced [flags]\n\nFlags:\n" + flags(&r).FlagUsagesWrapped(80) +
		"\nPasswords and keys are given in files. SIGTERM ends the daemon, SIGHUP reads\n" +
		"log-level from the configuration file again and looks at the NICs.\n"
}

// readSettings reads the command line, and the configuration file for what the
// command line does not say. An error is one of usage.
func readSettings(args []string) (*settings, error) {
	var r raw
	f := flags(&r)
	if err := f.Parse(args); err != nil {
		return nil, err
	}
	if f.NArg() > 0 {
		return nil, fmt.Errorf("there is an argument too many: %q", f.Arg(0))
	}
	if r.showVersion {
		return &r.settings, nil
	}
	if err := readConfig(f, r.config); err != nil {
		return nil, err
	}
	if r.broker.Broker == "" { // what is meant for one would be left out in silence
		for _, name := range []string{"broker-user", "broker-password-file", "broker-uplink", "tls-ca", "tls-cert", "tls-key"} {
			if f.Changed(name) {
				return nil, fmt.Errorf("--%s needs --broker", name)
			}
		}
	}
	return r.check()
}

// readConfig sets the flags that the command line did not.
func readConfig(f *pflag.FlagSet, path string) error {
	file, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) && !f.Changed("config") {
		return nil
	}
	if err != nil {
		return fmt.Errorf("configuration file: %w", err)
	}
	defer file.Close()
	given := make(map[string]bool)
	f.Visit(func(flag *pflag.Flag) { given[flag.Name] = true })
	lines := bufio.NewScanner(file)
	for n := 1; lines.Scan(); n++ {
		line := strings.TrimSpace(lines.Text())
		if line == "" || line[0] == '#' {
			continue
		}
		key, value, ok := strings.Cut(line, "=")
		key, value = strings.TrimSpace(key), strings.TrimSpace(value)
		if !ok {
			return fmt.Errorf("%s:%d: this is not key = value", path, n)
		}
		if f.Lookup(key) == nil || key == "config" || key == "version" {
			return fmt.Errorf("%s:%d: there is no setting %q", path, n, key)
		}
		if given[key] {
			continue // the command line wins
		}
		if err := f.Set(key, value); err != nil {
			return fmt.Errorf("%s:%d: %w", path, n, err)
		}
	}
	if err := lines.Err(); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}

var deviceID = regexp.MustCompile(`^[a-z0-9-]{1,63}$`)

// check turns flags into settings, or says what is wrong with them.
func (r *raw) check() (*settings, error) {
	s := &r.settings
	if err := s.logLevel.UnmarshalText([]byte(r.levelFlag)); err != nil {
		return nil, fmt.Errorf("--log-level is %q: use debug, info, warn or error", r.levelFlag)
	}
	switch r.format {
	case "text":
	case "json":
		s.logJSON = true
	default:
		return nil, fmt.Errorf("--log-format is %q: use text or json", r.format)
	}
	if s.applyEvery <= 0 {
		return nil, fmt.Errorf("--apply-every is %v: use more than nothing, such as 1s", s.applyEvery)
	}
	seen := make(map[string]bool)
	for _, text := range r.uplinkFlags {
		l, err := uplink.ParseLocal(text)
		if err != nil {
			return nil, fmt.Errorf("--uplink: %w", err)
		}
		if seen[l.Name] {
			return nil, fmt.Errorf("--uplink: %s is given twice", l.Name)
		}
		if i := slices.IndexFunc(s.uplinks, func(o uplink.Local) bool { return o.Interface == l.Interface }); i >= 0 {
			return nil, fmt.Errorf("--uplink: %s and %s have the same NIC, %s: give each its own", s.uplinks[i].Name, l.Name, l.Interface)
		}
		seen[l.Name] = true
		s.uplinks = append(s.uplinks, l)
	}
	if s.state == "" || s.control == "" {
		return nil, errors.New("--state and --control may not be empty")
	}
	if s.device == "" {
		host, err := os.Hostname()
		name, _, _ := strings.Cut(strings.ToLower(host), ".")
		if err != nil || !deviceID.MatchString(name) {
			return nil, errors.New("--device is missing, and the host name will not do: give 1-63 of a-z, 0-9 and -")
		}
		s.device = name
	}
	if !deviceID.MatchString(s.device) {
		return nil, fmt.Errorf("--device is %q: use 1-63 of a-z, 0-9 and -", s.device)
	}
	if s.broker.Broker == "" {
		return s, nil
	}
	if _, err := mqtt.New(s.broker); err != nil {
		return nil, fmt.Errorf("--broker: %w", err)
	}
	return s, nil
}
