package mqtt

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// The transport is opened as the URL asks, nothing is said there, and how long
// a certificate is good is told.
func TestReach(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	until := time.Now().Add(48 * time.Hour).UTC().Truncate(time.Second)
	template := x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: until,
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, &template, &template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	said := make(chan int, 9)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			n, _ := c.Read(make([]byte, 100)) // ends when the peer does
			said <- n
			c.Close()
		}
	}()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	dial := new(net.Dialer).DialContext
	got, err := Reach(ctx, Config{Broker: "mqtts://" + l.Addr().String(), CAFile: ca}, dial)
	if err != nil || !got.Equal(until) {
		t.Errorf("until %v, %v; want %v", got, err, until)
	}
	if n := <-said; n != 0 {
		t.Errorf("%d bytes were said", n)
	}
	for url, want := range map[string]string{
		"mqtts://" + l.Addr().String():  "TLS with", // by nobody that is trusted
		"mqtt://127.0.0.1:1":            "refused",
		"mqtt://me:planted@example.com": "holds a user",
		"":                              "no broker",
	} {
		if _, err := Reach(ctx, Config{Broker: url}, dial); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "planted") {
			t.Errorf("%s: %v, want %q", url, err, want)
		}
	}
	if host, port, err := Address("mqtts://broker.example.com"); host != "broker.example.com" || port != "8883" || err != nil {
		t.Errorf("%s %s %v", host, port, err)
	}
}
