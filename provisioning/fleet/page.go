package fleet

import (
	"bytes"
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"html/template"
	"log/slog"
	"net"
	"net/http"
	"time"

	"sluice/relay"
)

//go:embed page.html
var pageText string

//go:embed page.css
var style []byte

var page = template.Must(template.New("page").Funcs(template.FuncMap{
	"ago": ago, "mood": mood, "presence": presence,
}).Parse(pageText))

// ServeHTTP answers on l until ctx is done, and closes it:
//
//	GET /                    the page
//	GET /api/v1/boxes        every box: id, status, info
//	GET /api/v1/boxes/ID     one box with all its documents
func ServeHTTP(ctx context.Context, l net.Listener, boxes *Boxes, log *slog.Logger) error {
	s := &http.Server{
		Handler: Handler(boxes), ReadTimeout: 10 * time.Second, WriteTimeout: time.Minute, MaxHeaderBytes: 16 << 10,
		ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
	stop := context.AfterFunc(ctx, func() { s.Close() })
	defer stop()
	if err := s.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("page: %w", err)
	}
	return ctx.Err()
}

// Handler serves the page and the API.
func Handler(boxes *Boxes) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, r *http.Request) {
		var b bytes.Buffer // so that what fails half way is not sent half
		if err := page.Execute(&b, boxes.List()); err != nil {
			http.Error(w, "the page cannot be made", http.StatusInternalServerError)
			return
		}
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		w.Write(b.Bytes())
	})
	mux.HandleFunc("GET /page.css", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/css; charset=utf-8")
		w.Write(style)
	})
	mux.HandleFunc("GET /api/v1/boxes", func(w http.ResponseWriter, r *http.Request) {
		all := []boxDocument{}
		for _, b := range boxes.List() {
			all = append(all, boxDocument{ID: b.ID, Status: b.Documents["status"], Info: b.Documents["info"]})
		}
		answer(w, http.StatusOK, all)
	})
	mux.HandleFunc("GET /api/v1/boxes/{id}", func(w http.ResponseWriter, r *http.Request) {
		b, ok := boxes.Get(r.PathValue("id"))
		if !ok {
			answer(w, http.StatusNotFound, map[string]any{"code": 404, "message": "there is no such box"})
			return
		}
		d := b.Documents
		answer(w, http.StatusOK, boxDocument{b.ID, d["status"], d["info"], d["state"], d["reported"], d["telemetry"]})
	})
	return guarded(mux)
}

// A boxDocument is what the API says of a box; what it has not published is
// left out.
type boxDocument struct {
	ID        string          `json:"id"`
	Status    json.RawMessage `json:"status,omitempty"`
	Info      json.RawMessage `json:"info,omitempty"`
	State     json.RawMessage `json:"state,omitempty"`
	Reported  json.RawMessage `json:"reported,omitempty"`
	Telemetry json.RawMessage `json:"telemetry,omitempty"`
}

func answer(w http.ResponseWriter, status int, v any) {
	body, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		http.Error(w, "the answer cannot be made", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	w.Write(append(body, '\n'))
}

// guarded forbids a page to run or load anything that is not served here.
func guarded(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Security-Policy", "default-src 'none'; style-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'")
		w.Header().Set("X-Content-Type-Options", "nosniff")
		w.Header().Set("Referrer-Policy", "no-referrer")
		w.Header().Set("Cache-Control", "no-store")
		h.ServeHTTP(w, r)
	})
}

// ago says how long something has been so.
func ago(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	d := max(time.Since(t), 0)
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%d s", int(d.Seconds()))
	case d < time.Hour:
		return fmt.Sprintf("%d min", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%d h", int(d.Hours()))
	}
	return fmt.Sprintf("%d days", int(d.Hours())/24)
}

// mood is the style of a state: whether there is something to do about it.
func mood(s relay.State) string {
	switch s {
	case relay.Receiving, relay.Connected, relay.Sending:
		return "good"
	case relay.Invalid, relay.UplinkDown, relay.Rejected, relay.Stalled:
		return "bad"
	}
	return "idle"
}

// presence is the style of a box's presence.
func presence(state string) string {
	switch state {
	case "ready":
		return "good"
	case "lost":
		return "bad"
	}
	return "idle"
}
