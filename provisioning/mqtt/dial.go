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
func (c *Client) connect(ctx context.Context, dial DialFunc) (net.Conn, error) {
	var secure *tls.Config
	if c.broker.Scheme == "mqtts" || c.broker.Scheme == "wss" {
		var err error
		if secure, err = c.tlsConfig(); err != nil {
			return nil, err
		}
	}
	if c.broker.Scheme[0] == 'w' {
		return dialWebSocket(ctx, c.broker, dial, secure)
	}
	conn, err := dial(ctx, "tcp", c.broker.Host)
	if err != nil || secure == nil {
		return conn, err
	}
	t := tls.Client(conn, secure)
	if err := t.HandshakeContext(ctx); err != nil {
		conn.Close()
		return nil, fmt.Errorf("TLS with %s: %w", c.broker.Host, err)
	}
	return t, nil
}

// tlsConfig reads the files anew each time: certificates are renewed.
func (c *Client) tlsConfig() (*tls.Config, error) {
	t := &tls.Config{ServerName: c.broker.Hostname(), MinVersion: tls.VersionTLS12}
	if c.cfg.CAFile != "" {
		pem, err := os.ReadFile(c.cfg.CAFile)
		if err != nil {
			return nil, refuse("tls_files", "the broker's CA: %v", err)
		}
		t.RootCAs = x509.NewCertPool()
		if !t.RootCAs.AppendCertsFromPEM(pem) {
			return nil, refuse("tls_files", "%s holds no PEM certificate", c.cfg.CAFile)
		}
	}
	if c.cfg.CertFile != "" {
		pair, err := tls.LoadX509KeyPair(c.cfg.CertFile, c.cfg.KeyFile)
		if err != nil {
			return nil, refuse("tls_files", "the certificate for the broker: %v", err)
		}
		t.Certificates = []tls.Certificate{pair}
	}
	return t, nil
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
