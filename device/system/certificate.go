package system

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"os"
	"path/filepath"
	"sync"
	"time"

	"sluice/device"
)

// certificateName is where the store keeps the box's own certificate and key.
const certificateName = "tls_certificate"

// ownLifetime is how long the box's own certificate is good: nobody renews it,
// and the clock of a box without network may be years behind.
const ownLifetime = 30 * 365 * 24 * time.Hour

// Values keep small values across restarts: store.Store does.
type Values interface {
	// Get returns fs.ErrNotExist where there is none.
	Get(name string) ([]byte, error)
	Put(name string, value []byte) error
}

// A Certificate is what listening sockets with TLS present: the files that the
// configuration names, or else the box's own, which is signed by itself and
// made when it is first asked for. The methods may be called from any goroutine.
type Certificate struct {
	name   string
	dir    string
	values Values

	mu    sync.Mutex
	named *device.TLS // nil: the box's own
	own   *tls.Certificate
	read  *tls.Certificate // from the files
	stamp [2]time.Time     // of those files when they were read
}

// NewCertificate returns the Certificate of a box, whose files are in a
// directory.
func NewCertificate(name, dir string, values Values) *Certificate {
	return &Certificate{name: name, dir: dir, values: values}
}

// Set says which files are presented; nil: the box's own certificate.
func (c *Certificate) Set(named *device.TLS) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.named, c.read = named, nil
}

// Get returns what is to be presented now: a renewed file is used at once.
func (c *Certificate) Get() (*tls.Certificate, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.named != nil {
		return c.files()
	}
	if c.own != nil {
		return c.own, nil
	}
	b, err := c.values.Get(certificateName)
	if err != nil {
		if !errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("the box's own certificate: %w", err)
		}
		if b, err = c.make(); err != nil {
			return nil, fmt.Errorf("the box's own certificate: %w", err)
		}
	}
	own, err := tls.X509KeyPair(b, b)
	if err != nil {
		return nil, errors.New("the box's own certificate in the store is not one") // err may quote it
	}
	c.own = &own
	return c.own, nil
}

// files reads the named files, if they have changed. c.mu is held.
func (c *Certificate) files() (*tls.Certificate, error) {
	paths := [2]string{filepath.Join(c.dir, c.named.CertFile), filepath.Join(c.dir, c.named.KeyFile)}
	var stamp [2]time.Time
	for i, p := range paths {
		at, err := os.Stat(p)
		if err != nil {
			return nil, err
		}
		stamp[i] = at.ModTime()
	}
	if c.read != nil && stamp == c.stamp {
		return c.read, nil
	}
	pair, err := tls.LoadX509KeyPair(paths[0], paths[1])
	if err != nil {
		return nil, fmt.Errorf("%s and %s: %w", c.named.CertFile, c.named.KeyFile, err)
	}
	c.read, c.stamp = &pair, stamp
	return c.read, nil
}

// make makes the box's own certificate and stores it.
func (c *Certificate) make() ([]byte, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, err
	}
	begin := time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC)
	template := x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: c.name}, DNSNames: []string{c.name},
		NotBefore: begin, NotAfter: begin.Add(ownLifetime),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true,
	}
	certificate, err := x509.CreateCertificate(rand.Reader, &template, &template, &key.PublicKey, key)
	if err != nil {
		return nil, err
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	b := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate})
	b = append(b, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})...)
	return b, c.values.Put(certificateName, b)
}
