package mqtt

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// certificate makes one for 127.0.0.1, with its files.
func certificate(t *testing.T, dir, name string) (pair tls.Certificate, certFile, keyFile string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	certFile, keyFile = filepath.Join(dir, name+".crt"), filepath.Join(dir, name+".key")
	for file, block := range map[string]*pem.Block{certFile: {Type: "CERTIFICATE", Bytes: der}, keyFile: {Type: "PRIVATE KEY", Bytes: keyDER}} {
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if pair, err = tls.LoadX509KeyPair(certFile, keyFile); err != nil {
		t.Fatal(err)
	}
	return pair, certFile, keyFile
}

// Every transport carries messages both ways; those with TLS present the
// client's certificate and believe the named CA alone.
func TestTransports(t *testing.T) {
	dir := t.TempDir()
	serverPair, serverCert, _ := certificate(t, dir, "broker")
	_, clientCert, clientKey := certificate(t, dir, "box")
	pool := x509.NewCertPool()
	client, _ := os.ReadFile(clientCert)
	pool.AppendCertsFromPEM(client)
	secure := &tls.Config{Certificates: []tls.Certificate{serverPair}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: pool}

	for _, scheme := range []string{"mqtt", "ws", "mqtts", "wss"} {
		t.Run(scheme, func(t *testing.T) {
			cfg := Config{ClientID: "box"}
			var serverTLS *tls.Config
			if strings.HasSuffix(scheme, "s") && scheme != "ws" {
				serverTLS = secure
				cfg.CAFile, cfg.CertFile, cfg.KeyFile = serverCert, clientCert, clientKey
			}
			b := startBroker(t, "", serverTLS, scheme[0] == 'w')
			cfg.Broker = scheme + "://" + b.address
			large := strings.Repeat("0123456789", 30000) // more than a WebSocket frame or TLS record
			got := make(chan string, 1)
			c, _ := start(t, cfg, func(c *Client) {
				c.Subscribe("echo", 1, func(m Message) { got <- string(m.Payload) })
			})
			eventually(t, "ready", func() bool { return c.Status().Ready })
			c.Enqueue("echo", []byte(large))
			if echoed := <-got; echoed != large {
				t.Errorf("%d bytes came back", len(echoed))
			}
			if serverTLS == nil {
				return
			}
			// A broker that the CA does not vouch for is not spoken to.
			cfg.CAFile = clientCert
			wrong, _ := start(t, cfg, nil)
			eventually(t, "refusal", func() bool {
				return strings.Contains(wrong.Status().Reason.Message, "certificate signed by unknown authority") ||
					strings.Contains(wrong.Status().Reason.Message, "failed to verify certificate")
			})
			cfg.CAFile = filepath.Join(dir, "absent")
			absent, _ := start(t, cfg, nil)
			eventually(t, "missing CA", func() bool { return absent.Status().Reason.Code == "tls_files" })
		})
	}
}

func TestConfigsThatAreRefused(t *testing.T) {
	for _, cfg := range []Config{
		{Broker: "mqtt://b", CertFile: "c"},
		{Broker: "mqtt://b", PasswordFile: "p"},
	} {
		if _, err := New(cfg); err == nil {
			t.Errorf("%+v was taken", cfg)
		}
	}
}
