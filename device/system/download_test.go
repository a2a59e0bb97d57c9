package system

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// memoryNet connects a client and a server within a bubble of synctest, whose
// clock stands still for real sockets.
type memoryNet struct{ conns chan net.Conn }

func (m memoryNet) Accept() (net.Conn, error) {
	c, ok := <-m.conns
	if !ok {
		return nil, net.ErrClosed
	}
	return c, nil
}
func (m memoryNet) Close() error   { close(m.conns); return nil }
func (m memoryNet) Addr() net.Addr { return &net.TCPAddr{} }

func (m memoryNet) dial(context.Context, string, string) (net.Conn, error) {
	near, far := net.Pipe()
	m.conns <- far
	return near, nil
}

// fetch downloads from a handler and returns what it got.
func fetch(t *testing.T, url string, h http.Handler) (got []byte, percents []int, err error) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		pipes := memoryNet{make(chan net.Conn)}
		server := &http.Server{Handler: h}
		served := make(chan struct{})
		go func() { defer close(served); _ = server.Serve(pipes) }()
		name := filepath.Join(t.TempDir(), "file")
		file, e := os.Create(name)
		if e != nil {
			t.Fatal(e)
		}
		defer file.Close()
		file.WriteString("what was there before")
		d := newDownload(url, pipes.dial, file)
		d.most = 1 << 20
		began := time.Now()
		err = d.run(t.Context(), func(p int) { percents = append(percents, p) })
		if took := time.Since(began); took > 5*time.Minute {
			t.Errorf("it took %v", took)
		}
		server.Close()
		<-served
		got, _ = os.ReadFile(name)
	})
	return got, percents, err
}

var content = func() []byte {
	b := make([]byte, 300_000)
	for i := range b {
		b[i] = byte(rand.IntN(256))
	}
	return b
}()

// A connection that breaks is made again, and what came stays.
func TestDownload(t *testing.T) {
	var requests, sent atomic.Int64
	for _, tag := range []string{`"v1"`, `W/"v1"`, ""} {
		requests.Store(0)
		sent.Store(0)
		got, percents, err := fetch(t, "http://box/bundle", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			n := requests.Add(1)
			if n == 2 {
				w.WriteHeader(http.StatusServiceUnavailable)
				return
			}
			if tag != "" {
				w.Header().Set("ETag", tag)
			}
			b := &breaking{ResponseWriter: w, left: 1 << 30, sent: &sent}
			if n == 1 {
				b.left = 100_000
			}
			http.ServeContent(b, r, "", time.Time{}, bytes.NewReader(content))
		}))
		if err != nil || !bytes.Equal(got, content) {
			t.Errorf("tag %s: %d bytes, right: %v; %v", tag, len(got), bytes.Equal(got, content), err)
		}
		if len(percents) == 0 || percents[len(percents)-1] != 100 {
			t.Errorf("tag %s: progress %v", tag, percents)
		}
		again := sent.Load() > int64(len(content))+50_000 // what was sent is not all received
		if again == (tag == `"v1"`) {
			t.Errorf("tag %s: %d bytes were sent for %d", tag, sent.Load(), len(content))
		}
	}
}

// breaking breaks the connection off after some bytes.
type breaking struct {
	http.ResponseWriter
	left int
	sent *atomic.Int64
}

func (b *breaking) Write(p []byte) (int, error) {
	if len(p) > b.left {
		n, _ := b.ResponseWriter.Write(p[:b.left])
		b.sent.Add(int64(n))
		panic(http.ErrAbortHandler)
	}
	b.left -= len(p)
	b.sent.Add(int64(len(p)))
	return b.ResponseWriter.Write(p)
}

func TestDownloadFails(t *testing.T) {
	status := func(code int) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) })
	}
	for _, c := range []struct {
		name    string
		handler http.Handler
		message string
	}{
		{"not there", status(404), "404 Not Found"},
		{"the server is ill", status(500), "500 Internal"},
		{"too large", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Length", fmt.Sprint(1<<21))
		}), "more than 1048576"},
		{"too large, and it does not say so", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			for range 1 << 12 {
				w.Write(make([]byte, 1024))
			}
		}), "more than 1048576"},
		{"it stalls", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Length", "1000")
			w.(http.Flusher).Flush()
			<-r.Context().Done()
		}), "sends nothing"},
		{"it redirects for ever", http.RedirectHandler("/bundle", http.StatusFound), "five redirects"},
	} {
		_, _, err := fetch(t, "http://box/bundle", c.handler)
		if err == nil || !strings.Contains(err.Error(), c.message) {
			t.Errorf("%s: %v, want %q", c.name, err, c.message)
		}
	}
}

// https does not lead to http.
func TestDownloadStaysSecure(t *testing.T) {
	plain := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.Write(content) }))
	defer plain.Close()
	secure := httptest.NewTLSServer(http.RedirectHandler(plain.URL, http.StatusFound))
	defer secure.Close()
	file, err := os.Create(filepath.Join(t.TempDir(), "file"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	var d net.Dialer
	down := newDownload(secure.URL, d.DialContext, file)
	down.client.Transport.(*http.Transport).TLSClientConfig = secure.Client().Transport.(*http.Transport).TLSClientConfig
	err = down.attempt(t.Context(), func() {})
	if err == nil || !strings.Contains(err.Error(), "away from https") || down.have > 0 {
		t.Errorf("%d bytes came, %v", down.have, err)
	}
}

func TestRangeBegins(t *testing.T) {
	for header, want := range map[string]bool{"bytes 5-9/10": true, "bytes 6-9/10": false, "5-9/10": false, "bytes */10": false, "bytes 5": false, "": false} {
		if rangeBegins(header, 5) != want {
			t.Errorf("%q begins at 5: %v", header, !want)
		}
	}
}
