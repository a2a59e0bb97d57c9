package rtmp

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"strings"
	"testing"
	"time"

	"sluice/relay/endpoint"
	"sluice/relay/relaytest"
)

// An authority signs certificates.
type authority struct {
	t    *testing.T
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{t: t}
	a.cert, a.key = a.sign(&x509.Certificate{
		Subject: pkix.Name{CommonName: "test authority"}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	})
	return a
}

// sign signs a certificate, the first one by itself.
func (a *authority) sign(cert *x509.Certificate) (*x509.Certificate, *ecdsa.PrivateKey) {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	cert.SerialNumber = big.NewInt(time.Now().UnixNano())
	cert.NotBefore, cert.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	parent, signer := a.cert, a.key
	if parent == nil {
		parent, signer = cert, key
	}
	der, err := x509.CreateCertificate(rand.Reader, cert, parent, &key.PublicKey, signer)
	if err != nil {
		a.t.Fatal(err)
	}
	signed, err := x509.ParseCertificate(der)
	if err != nil {
		a.t.Fatal(err)
	}
	return signed, key
}

// roots are those that trust it.
func (a *authority) roots() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(a.cert)
	return pool
}

// forLoopback signs a certificate for a server on the loopback.
func (a *authority) forLoopback() (*x509.Certificate, *ecdsa.PrivateKey) {
	return a.sign(&x509.Certificate{
		Subject: pkix.Name{CommonName: "127.0.0.1"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	})
}

// serves lets a box present a certificate of the authority, and trust others.
func (a *authority) serves(o *Options) {
	cert, key := a.forLoopback()
	o.Certificate = func() (*tls.Certificate, error) {
		return &tls.Certificate{Certificate: [][]byte{cert.Raw}, PrivateKey: key}, nil
	}
	o.Roots = a.roots()
}

// inFront lets stunnel stand in front of a server that knows no TLS. It returns
// its port.
func (a *authority) inFront(t *testing.T, of int) int {
	t.Helper()
	cert, key := a.forLoopback()
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	both := pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der})
	both = append(both, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Raw})...)
	port := relaytest.FreePort(t)
	start(t, "stunnel4", write(t, "stunnel.conf", fmt.Sprintf(`foreground = yes
pid =
syslog = no
[rtmps]
accept = 127.0.0.1:%d
connect = 127.0.0.1:%d
cert = %s
`, port, of, write(t, "cert.pem", string(both)))))
	listening(t, port)
	return port
}

// TestUntrustedServer has stunnel present a certificate to us that somebody else
// signed.
func TestUntrustedServer(t *testing.T) {
	t.Parallel()
	n := startNginx(t, "")
	port := newAuthority(t).inFront(t, n.port)
	r := newRig(t, newAuthority(t).serves)
	app := fmt.Sprintf("rtmps://127.0.0.1:%d/down", port)
	for way, err := range map[string]error{
		"push": r.output(pushTo(app)).wait(),
		"pull": r.input(InputConfig{URL: app, StreamKey: endpoint.NewSecret("pushed")}).wait(),
	} {
		phase, why := endpoint.Explain(err)
		want := fmt.Sprintf("the certificate of 127.0.0.1:%d is not trusted", port)
		if phase != endpoint.Connecting || why.Code != "certificate" || !strings.HasPrefix(why.Message, want) {
			t.Errorf("%s: phase %d, reason %+v", way, phase, why)
		}
	}
	if strings.Contains(n.out.String(), "connect: app") {
		t.Error("we speak RTMP with it")
	}
}

// TestVerifiedByPlayer has ffmpeg check our certificate: it plays if it knows
// who signed it, and if not the log says why it left.
func TestVerifiedByPlayer(t *testing.T) {
	t.Parallel()
	source := clip(t, 3)
	known, stranger := newAuthority(t), newAuthority(t)
	r := newRig(t, known.serves)
	cfg := r.playHere()
	cfg.TLS = true
	out := r.output(cfg)
	out.await(endpoint.Listening)
	trusting := func(a *authority) viewer {
		file := write(t, "ca.pem", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.cert.Raw})))
		return watch(t, secure(r.out()), "-tls_verify", "1", "-ca_file", file)
	}
	// This one says so before it leaves; ffprobe may have shaken hands by then.
	if c, err := tls.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", r.port), &tls.Config{RootCAs: stranger.roots()}); err == nil {
		c.Close()
		t.Error("a stranger's certificate is trusted")
	}
	eventually(t, "the log says why", func() bool { return strings.Contains(r.log.String(), "does not trust our certificate") })
	if err := trusting(stranger).wait(); err == nil {
		t.Error("it takes any certificate: this proves nothing")
	}
	player := trusting(known)
	out.await(endpoint.Connected)
	r.replay(out).stream(messages(t, source), 0)
	out.stop()
	player.saw().is(t, framesOf(t, source), 0)
}
