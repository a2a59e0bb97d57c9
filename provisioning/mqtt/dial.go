package mqtt

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"sync"
	"time"

	"github.com/gorilla/websocket"
)

// connect opens the transport to the broker through one dialer: TCP, TLS,
// WebSocket, as its URL asks.
func (t target) connect(ctx context.Context, dial DialFunc) (net.Conn, error) {
	var secure *tls.Config
	if t.broker.Scheme == "mqtts" || t.broker.Scheme == "wss" {
		var err error
		if secure, err = t.tlsConfig(); err != nil {
			return nil, err
		}
	}
	if t.broker.Scheme[0] == 'w' {
		return dialWebSocket(ctx, t.broker, dial, secure)
	}
	conn, err := dial(ctx, "tcp", t.broker.Host)
	if err != nil || secure == nil {
		return conn, err
	}
	secured := tls.Client(conn, secure)
	if err := secured.HandshakeContext(ctx); err != nil {
		conn.Close()
		return nil, fmt.Errorf("TLS with %s: %w", t.broker.Host, err)
	}
	return secured, nil
}

// tlsConfig reads the files anew each time: certificates are renewed.
func (t target) tlsConfig() (*tls.Config, error) {
	c := &tls.Config{ServerName: t.broker.Hostname(), MinVersion: tls.VersionTLS12}
	if t.cfg.CAFile != "" {
		pem, err := os.ReadFile(t.cfg.CAFile)
		if err != nil {
			return nil, refuse("tls_files", "the broker's CA: %v", err)
		}
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM(pem) {
			return nil, refuse("tls_files", "%s holds no PEM certificate", t.cfg.CAFile)
		}
	}
	if t.cfg.CertFile != "" {
		pair, err := tls.LoadX509KeyPair(t.cfg.CertFile, t.cfg.KeyFile)
		if err != nil {
			return nil, refuse("tls_files", "the certificate for the broker: %v", err)
		}
		c.Certificates = []tls.Certificate{pair}
	}
	return c, nil
}

func dialWebSocket(ctx context.Context, broker *url.URL, dial DialFunc, secure *tls.Config) (net.Conn, error) {
	d := websocket.Dialer{
		NetDialContext:  dial,
		TLSClientConfig: secure,
		Subprotocols:    []string{"mqtt"}, // MQTT 3.1.1 section 6
	}
	ws, answer, err := d.DialContext(ctx, broker.String(), nil)
	if err != nil {
		if answer != nil {
			return nil, fmt.Errorf("WebSocket with %s: %w (%s)", broker.Host, err, answer.Status)
		}
		return nil, fmt.Errorf("WebSocket with %s: %w", broker.Host, err)
	}
	return &webSocketConn{Conn: ws}, nil
}

// webSocketConn is a byte stream over binary messages. MQTT packets may stand
// in any number of them (MQTT 3.1.1 section 6).
type webSocketConn struct {
	*websocket.Conn
	message io.Reader  // rest of the message that is being read; nil: none
	writing sync.Mutex // a WebSocket has one writer at a time, paho has two
}

func (c *webSocketConn) Read(p []byte) (int, error) {
	for {
		if c.message == nil {
			_, r, err := c.NextReader()
			if err != nil {
				return 0, err
			}
			c.message = r
		}
		n, err := c.message.Read(p)
		if err == io.EOF {
			c.message, err = nil, nil
		}
		if n > 0 || err != nil {
			return n, err
		}
	}
}

func (c *webSocketConn) Write(p []byte) (int, error) {
	c.writing.Lock()
	defer c.writing.Unlock()
	if err := c.WriteMessage(websocket.BinaryMessage, p); err != nil {
		return 0, err
	}
	return len(p), nil
}

func (c *webSocketConn) SetDeadline(t time.Time) error {
	return errors.Join(c.SetReadDeadline(t), c.SetWriteDeadline(t))
}
