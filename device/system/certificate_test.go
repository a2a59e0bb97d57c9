package system

import (
	"crypto/x509"
	"encoding/pem"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"

	"sluice/device"
)

type values map[string][]byte

func (v values) Get(name string) ([]byte, error) {
	if b, ok := v[name]; ok {
		return b, nil
	}
	return nil, fs.ErrNotExist
}

func (v values) Put(name string, b []byte) error {
	v[name] = b
	return nil
}

func leaf(t *testing.T, c *Certificate) *x509.Certificate {
	t.Helper()
	got, err := c.Get()
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := x509.ParseCertificate(got.Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	return parsed
}

func TestOwnCertificateStays(t *testing.T) {
	stored := values{}
	first := leaf(t, NewCertificate("box-1", t.TempDir(), stored))
	if err := first.VerifyHostname("box-1"); err != nil {
		t.Error(err)
	}
	if again := leaf(t, NewCertificate("box-1", t.TempDir(), stored)); !again.Equal(first) {
		t.Error("after a restart the box presents another certificate")
	}
	stored[certificateName] = []byte("not one")
	if _, err := NewCertificate("box-1", t.TempDir(), stored).Get(); err == nil {
		t.Error("what is not a certificate is presented")
	}
}

func TestNamedCertificateIsReadAnew(t *testing.T) {
	dir := t.TempDir()
	c := NewCertificate("box-1", dir, values{})
	own := leaf(t, c)
	write := func(name string, at time.Time) {
		t.Helper()
		v := values{}
		leaf(t, NewCertificate(name, dir, v))
		certificate, key := pem.Decode(v[certificateName])
		for file, b := range map[string][]byte{"cert.pem": pem.EncodeToMemory(certificate), "key.pem": key} {
			path := filepath.Join(dir, file)
			if err := os.WriteFile(path, b, 0o600); err != nil {
				t.Fatal(err)
			}
			if err := os.Chtimes(path, at, at); err != nil {
				t.Fatal(err)
			}
		}
	}
	c.Set(&device.TLS{CertFile: "cert.pem", KeyFile: "key.pem"})
	if _, err := c.Get(); err == nil {
		t.Error("files that are not there make no error")
	}
	now := time.Now()
	write("named", now)
	if got := leaf(t, c); got.Subject.CommonName != "named" {
		t.Errorf("%s is presented", got.Subject.CommonName)
	}
	write("renewed", now.Add(time.Second))
	if got := leaf(t, c); got.Subject.CommonName != "renewed" {
		t.Errorf("%s is presented after the files were renewed", got.Subject.CommonName)
	}
	c.Set(nil)
	if got := leaf(t, c); !got.Equal(own) {
		t.Error("the box's own certificate is not presented again")
	}
}
