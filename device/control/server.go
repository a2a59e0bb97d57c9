package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"time"
)

// MaxBody is the largest request body that is read, in bytes: that of the
// largest document that the box takes.
const MaxBody = 256 << 10

const (
	headerTimeout = 5 * time.Second
	bodyTimeout   = 30 * time.Second // headers included
	writeTimeout  = 10 * time.Second // for each write to a watcher
	closeTimeout  = 5 * time.Second  // for requests under way when the server ends
)

// A Problem is the body of an answer that the server itself gives, because a
// request never reached the box.
type Problem struct {
	Code    int    `json:"code"` // HTTP status
	Message string `json:"message"`
}

// A Change is one line of what Watch streams.
type Change struct {
	Name string          `json:"name"`
	Body json.RawMessage `json:"body"`
}

// sessionHeader carries what a login gave the caller.
const sessionHeader = "Sluice-Session"

// maxSession bounds it, in bytes.
const maxSession = 128

type callerKey struct{}

// Serve answers on l until parent is done, and closes it:
//
//	GET  /v1/documents/NAME     a document
//	POST /v1/documents/desired  apply a document
//	POST /v1/requests/NAME      an action
//	GET  /v1/watch              a line of JSON for each document that changes
func Serve(parent context.Context, l net.Listener, backend Backend, log *slog.Logger) error {
	ctx, cancel := context.WithCancel(parent)
	s := &server{backend: backend, log: log}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/documents/{name}", s.document)
	mux.HandleFunc("POST /v1/documents/desired", s.apply)
	mux.HandleFunc("POST /v1/requests/{name}", s.request)
	mux.HandleFunc("GET /v1/watch", s.watch)
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		problem(w, http.StatusNotFound, "there is no %s %s", r.Method, r.URL.Path)
	})
	hs := &http.Server{
		Handler:           mux,
		ReadHeaderTimeout: headerTimeout,
		ReadTimeout:       bodyTimeout,
		IdleTimeout:       time.Minute,
		MaxHeaderBytes:    16 << 10,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelDebug),
		BaseContext:       func(net.Listener) context.Context { return ctx },
		ConnContext: func(ctx context.Context, c net.Conn) context.Context {
			who, err := caller(c)
			if err != nil {
				log.Warn("control socket: the caller is unknown", "error", err)
				return ctx
			}
			return context.WithValue(ctx, callerKey{}, who)
		},
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		<-ctx.Done()
		end, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeTimeout)
		defer cancel()
		if hs.Shutdown(end) != nil {
			hs.Close()
		}
	}()
	err := hs.Serve(l)
	cancel()
	<-ended
	if !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("control socket: %w", err)
	}
	return parent.Err()
}

type server struct {
	backend Backend
	log     *slog.Logger
}

func (s *server) document(w http.ResponseWriter, r *http.Request) {
	name := r.PathValue("name")
	body, ok := s.backend.Document(name)
	if !ok {
		problem(w, http.StatusNotFound, "there is no document %q", name)
		return
	}
	answer(w, http.StatusOK, body)
}

func (s *server) apply(w http.ResponseWriter, r *http.Request) {
	who, body, ok := s.read(w, r)
	if !ok {
		return
	}
	status, a := s.backend.Apply(r.Context(), body, who)
	answer(w, status, a)
}

func (s *server) request(w http.ResponseWriter, r *http.Request) {
	who, body, ok := s.read(w, r)
	if !ok {
		return
	}
	status, a := s.backend.Request(r.Context(), r.PathValue("name"), body, who)
	answer(w, status, a)
}

// read returns who asks and what, or answers why it cannot.
func (s *server) read(w http.ResponseWriter, r *http.Request) (Caller, []byte, bool) {
	who, known := r.Context().Value(callerKey{}).(Caller)
	if !known {
		problem(w, http.StatusForbidden, "the system does not tell who is asking")
		return Caller{}, nil, false
	}
	if who.Session = r.Header.Get(sessionHeader); len(who.Session) > maxSession {
		problem(w, http.StatusBadRequest, "%s has more than %d bytes", sessionHeader, maxSession)
		return Caller{}, nil, false
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, MaxBody))
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		problem(w, http.StatusRequestEntityTooLarge, "the body is larger than %d KiB", MaxBody>>10)
		return Caller{}, nil, false
	case err != nil:
		problem(w, http.StatusBadRequest, "the body could not be read: %v", err)
		return Caller{}, nil, false
	}
	return who, body, true
}

func (s *server) watch(w http.ResponseWriter, r *http.Request) {
	conn := http.NewResponseController(w)
	conn.SetReadDeadline(time.Time{}) // a watcher says nothing, and stays
	w.Header().Set("Content-Type", "application/x-ndjson")
	w.WriteHeader(http.StatusOK)
	if conn.Flush() != nil {
		return
	}
	lines := json.NewEncoder(w)
	err := s.backend.Watch(r.Context(), func(name string, body json.RawMessage) error {
		if err := conn.SetWriteDeadline(time.Now().Add(writeTimeout)); err != nil {
			return err
		}
		if err := lines.Encode(Change{Name: name, Body: body}); err != nil {
			return err
		}
		return conn.Flush()
	})
	if err != nil && r.Context().Err() == nil {
		s.log.Debug("control socket: a watcher ended", "error", err)
	}
}

func answer(w http.ResponseWriter, status int, body json.RawMessage) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	w.Write(body) // a caller that is gone has nobody to tell
}

func problem(w http.ResponseWriter, status int, format string, args ...any) {
	body, err := json.Marshal(Problem{Code: status, Message: fmt.Sprintf(format, args...)})
	if err != nil {
		body = nil // a Problem always marshals
	}
	answer(w, status, body)
}
