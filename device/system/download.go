package system

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// maxBundle is the largest firmware that is downloaded, in bytes: more
	// than a slot holds.
	maxBundle = 1 << 30
	// stallTime is how long a download may bring nothing before it is begun
	// again where it stands.
	stallTime = 30 * time.Second
	// fruitless is how many attempts in a row may bring nothing.
	fruitless    = 5
	attemptPause = 5 * time.Second
)

// A download brings a file from a web server, over networks that break.
type download struct {
	client *http.Client
	url    string
	file   *os.File
	most   int64 // bytes

	have, size int64  // bytes; size is -1 until it is known
	tag        string // ETag of what have is the beginning of
}

// newDownload returns one that dials with dial and writes to a file, which it
// empties first.
func newDownload(url string, dial DialFunc, file *os.File) *download {
	return &download{
		client: &http.Client{
			Transport: &http.Transport{
				DialContext: dial, TLSHandshakeTimeout: stallTime, ResponseHeaderTimeout: stallTime,
				DisableKeepAlives: true, DisableCompression: true,
			},
			CheckRedirect: func(r *http.Request, via []*http.Request) error {
				switch {
				case len(via) > 5:
					return final{errors.New("more than five redirects")}
				case via[0].URL.Scheme == "https" && r.URL.Scheme != "https":
					return final{errors.New("a redirect away from https")}
				}
				return nil
			},
		},
		url: url, file: file, most: maxBundle, size: -1,
	}
}

// A final error is not mended by another attempt.
type final struct{ error }

func (f final) Unwrap() error { return f.error }

// run downloads it all. progress is called with percents as they grow.
func (d *download) run(ctx context.Context, progress func(percent int)) error {
	last := -1
	tell := func() {
		if d.size <= 0 {
			return
		}
		if percent := int(100 * d.have / d.size); percent > last {
			last = percent
			progress(percent)
		}
	}
	for idle := 0; ; {
		before := d.have
		err := d.attempt(ctx, tell)
		if err == nil {
			return d.file.Sync()
		}
		if idle++; d.have > before {
			idle = 0
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if errors.As(err, &final{}) || idle >= fruitless {
			return fmt.Errorf("download: %w", err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(attemptPause):
		}
	}
}

// attempt asks for what is missing (RFC 9110 section 14), and takes it.
func (d *download) attempt(parent context.Context, tell func()) error {
	ctx, cancel := context.WithCancel(parent)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, d.url, nil)
	if err != nil {
		return final{err}
	}
	if d.have > 0 && d.tag != "" {
		r.Header.Set("Range", fmt.Sprintf("bytes=%d-", d.have))
		r.Header.Set("If-Range", d.tag)
	}
	resp, err := d.client.Do(r)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	switch {
	case resp.StatusCode == http.StatusPartialContent && rangeBegins(resp.Header.Get("Content-Range"), d.have):
	case resp.StatusCode == http.StatusOK:
		if err := d.restart(resp); err != nil {
			return err
		}
	case resp.StatusCode >= 500 || resp.StatusCode == http.StatusTooManyRequests:
		return fmt.Errorf("the server answers %s", resp.Status)
	default:
		return final{fmt.Errorf("the server answers %s", resp.Status)}
	}
	// What stalls is given up.
	stalled := time.AfterFunc(stallTime, cancel)
	defer stalled.Stop()
	b := make([]byte, 64<<10)
	for {
		n, err := resp.Body.Read(b)
		if n > 0 {
			stalled.Reset(stallTime)
			if d.have+int64(n) > d.most {
				return final{fmt.Errorf("it has more than %d bytes", d.most)}
			}
			if _, err := d.file.WriteAt(b[:n], d.have); err != nil {
				return final{err}
			}
			d.have += int64(n)
			tell()
		}
		switch {
		case err == nil:
		case ctx.Err() != nil && parent.Err() == nil:
			return fmt.Errorf("the server sends nothing for %v", stallTime)
		case !errors.Is(err, io.EOF):
			return err
		case d.size >= 0 && d.have < d.size:
			return io.ErrUnexpectedEOF
		default:
			return nil
		}
	}
}

// restart takes the answer of a server that begins at the beginning.
func (d *download) restart(resp *http.Response) error {
	d.have, d.size, d.tag = 0, resp.ContentLength, resp.Header.Get("ETag")
	if strings.HasPrefix(d.tag, "W/") {
		d.tag = "" // a weak one does not name bytes (RFC 9110 section 8.8.1)
	}
	if d.size > d.most {
		return final{fmt.Errorf("it has %d bytes, more than %d", d.size, d.most)}
	}
	if err := d.file.Truncate(0); err != nil {
		return final{err}
	}
	var disk unix.Statfs_t
	if err := unix.Fstatfs(int(d.file.Fd()), &disk); err == nil {
		if free := int64(disk.Bavail) * int64(disk.Bsize); d.size > free {
			return final{fmt.Errorf("it has %d bytes, and the box %d free: make room", d.size, free)}
		}
	}
	return nil
}

// rangeBegins tells whether a Content-Range begins at that byte.
func rangeBegins(header string, at int64) bool {
	rest, ok := strings.CutPrefix(header, "bytes ")
	first, _, dash := strings.Cut(rest, "-")
	n, err := strconv.ParseInt(first, 10, 64)
	return ok && dash && err == nil && n == at
}
