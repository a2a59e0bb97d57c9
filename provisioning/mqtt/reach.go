package mqtt

import (
	"context"
	"crypto/tls"
	"errors"
	"net/url"
	"time"

	"sluice/device"
)

// Reach opens the transport to a broker through one dialer, TCP, TLS and
// WebSocket as its URL asks, and closes it again. It speaks no MQTT there: a
// second session of the same client would end the first. Where the broker
// shows a certificate, until says how long that is good. The error is one
// sentence without a password.
func Reach(ctx context.Context, cfg Config, dial DialFunc) (until time.Time, err error) {
	t, err := newTarget(cfg)
	if err != nil {
		return until, err
	}
	if t.broker == nil {
		return until, errors.New("there is no broker")
	}
	conn, err := t.connect(ctx, dial)
	if err != nil {
		return until, err
	}
	defer conn.Close()
	inner := conn
	if ws, ok := conn.(*webSocketConn); ok {
		inner = ws.NetConn()
	}
	if secured, ok := inner.(*tls.Conn); ok {
		if chain := secured.ConnectionState().PeerCertificates; len(chain) > 0 {
			until = chain[0].NotAfter
		}
	}
	return until, nil
}

// Address returns the host and the port of a broker's URL.
func Address(broker string) (host, port string, err error) {
	var u *url.URL
	if u, err = device.ParseBroker(broker); err != nil {
		return "", "", err
	}
	return u.Hostname(), u.Port(), nil
}
