package device

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"sluice/relay/endpoint"
)

// Validate returns what is wrong with a Config beyond what the tags say.
// Pointers begin with at, which stands for it.
func (c Config) Validate(at string) []endpoint.Fault {
	var faults []endpoint.Fault
	for i, host := range c.NTP {
		here := fmt.Sprintf("%s/ntp/%d", at, i)
		if wrong := endpoint.CheckHost(host); wrong != "" {
			faults = append(faults, endpoint.Faultf(here, "time server %s", wrong))
		} else if slices.Contains(c.NTP[:i], host) {
			faults = append(faults, endpoint.Faultf(here, "time server %q stands twice: keep one", host))
		}
	}
	if c.Management != nil && c.Management.Broker != nil {
		faults = append(faults, c.Management.Broker.validate(at+"/management/broker")...)
	}
	return faults
}

func (b Broker) validate(at string) []endpoint.Fault {
	var faults []endpoint.Fault
	u, err := ParseBroker(b.URL)
	if err != nil {
		faults = append(faults, endpoint.Faultf(at+"/url", "%v", err))
	}
	if b.Password.IsSet() && b.Username == "" {
		faults = append(faults, endpoint.Faultf(at+"/password", "password needs a username (MQTT 3.1.1 section 3.1.2.9): give one"))
	}
	if b.CAFile != "" && err == nil && (u.Scheme == "mqtt" || u.Scheme == "ws") {
		faults = append(faults, endpoint.Faultf(at+"/ca_file", "ca_file is of no use with %s: use mqtts or wss, or leave it out", u.Scheme))
	}
	return faults
}

// The ports of brokers that name none (IANA; RFC 9110 section 4.2).
var brokerPorts = map[string]string{"mqtt": "1883", "mqtts": "8883", "ws": "80", "wss": "443"}

// ParseBroker reads a broker's URL and fills in its port. A URL may not hold a
// user or password: URLs are seen in process lists and logs.
func ParseBroker(s string) (*url.URL, error) {
	u, err := url.Parse(s)
	if err != nil {
		return nil, errors.New("the broker is not a URL such as mqtts://broker.example.com") // err would repeat it all
	}
	if u.User != nil {
		return nil, errors.New("the broker's URL holds a user: give it apart, and the password in a file")
	}
	port, ok := brokerPorts[u.Scheme]
	if !ok {
		return nil, fmt.Errorf("the broker's scheme is %q: use mqtt, mqtts, ws or wss", u.Scheme)
	}
	if u.Hostname() == "" {
		return nil, errors.New("the broker's URL names no host")
	}
	if u.Scheme[0] == 'm' && strings.Trim(u.Path, "/") != "" {
		return nil, fmt.Errorf("the broker's URL has the path %q: only ws and wss have one", u.Path)
	}
	if n, err := strconv.Atoi(u.Port()); u.Port() != "" && (err != nil || n < 1 || n > 65535) {
		return nil, fmt.Errorf("the broker's port is %s: use 1 to 65535", u.Port())
	}
	if u.Port() == "" {
		u.Host = net.JoinHostPort(u.Hostname(), port)
	}
	return u, nil
}
