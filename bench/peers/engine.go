package peers

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"runtime/pprof"
	"sync"

	"sluice/device/uplink"
	"sluice/provisioning/config"
	"sluice/relay"
)

// Profiled is the product's relay engine inside this program, which writes a
// CPU profile of its whole life to a file: sluiced has no profiler.
func Profiled(self, file string) Relay {
	r := product(self)
	r.Command = func(j Job, _ string) []string {
		job, err := json.Marshal(j)
		if err != nil {
			panic(err) // strings and numbers alone
		}
		return []string{self, "profile", file, string(job)}
	}
	r.Ready = nil
	return r
}

// Profile is the engine that Profiled starts. It ends with ctx.
func Profile(ctx context.Context, file, job string) error {
	var j Job
	if err := json.Unmarshal([]byte(job), &j); err != nil {
		return fmt.Errorf("job: %w", err)
	}
	document, err := config.Parse(Document(j), config.Options{})
	if err != nil {
		return err
	}
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	uplinks := uplink.New(nil, log)
	if err := uplinks.Set(document.State.Uplinks); err != nil {
		return err
	}
	engine := relay.New(relay.Options{Uplink: uplinks.Get, Log: log})
	out, err := os.Create(file)
	if err != nil {
		return err
	}
	if err := pprof.StartCPUProfile(out); err != nil {
		return errors.Join(err, out.Close())
	}
	var parts sync.WaitGroup
	parts.Go(func() { _ = uplinks.Run(ctx) })
	parts.Go(func() { _ = engine.Run(ctx) })
	engine.Apply(document.Engine())
	parts.Wait()
	pprof.StopCPUProfile()
	return out.Close()
}
