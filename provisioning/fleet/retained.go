package fleet

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	mochi "github.com/mochi-mqtt/server/v2"
)

// saveEvery is how often retained messages are written, if they changed: what
// a crash loses is published again by the boxes, but for a document that no
// box has seen yet.
const saveEvery = 2 * time.Second

// retained keeps a broker's retained messages in a file, mode 0600: desired
// documents hold secrets.
type retained struct {
	path    string
	written []byte
}

// load gives the broker what the file holds.
func (r *retained) load(s *mochi.Server) error {
	if err := os.MkdirAll(filepath.Dir(r.path), 0o700); err != nil {
		return err
	}
	body, err := os.ReadFile(r.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	var topics map[string][]byte
	if err := json.Unmarshal(body, &topics); err != nil {
		return fmt.Errorf("%s is damaged: remove it, the boxes will publish again: %w", r.path, err)
	}
	for topic, payload := range topics {
		if err := s.Publish(topic, payload, true, 1); err != nil {
			return err
		}
	}
	r.written = body
	return nil
}

// keep saves now and then, until ctx is done.
func (r *retained) keep(ctx context.Context, s *mochi.Server, log *slog.Logger) {
	ticker := time.NewTicker(saveEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			if err := r.save(s); err != nil {
				log.Error("retained messages are not kept", "error", err)
			}
		}
	}
}

// save writes the retained messages of boxes, if they changed: to another
// file, which then takes the place of the first.
func (r *retained) save(s *mochi.Server) error {
	topics := make(map[string][]byte)
	for _, p := range s.Topics.Messages("sluice/v1/#") {
		topics[p.TopicName] = p.Payload
	}
	body, err := json.Marshal(topics) // sorted by topic
	if err != nil || bytes.Equal(body, r.written) {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(r.path), ".retained-*") // mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.Write(body)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), r.path); err != nil {
		return err
	}
	r.written = body
	return nil
}
